"""The rows of a data set as a detector gets them: parted, and preprocessed by the training rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anoean_cli.data.fitting import fit_table
from anoean_cli.data.preprocessing import ImagePreprocessor, Preprocessor
from anoean_cli.data.schema import TableSchema, infer_schema
from anoean_cli.data.splits import Split
from anoean_cli.examples import rows_at
from anoean_cli.interfaces import Dataset, DetectorPlugin, Rows
from anoean_cli.training.mislabelled import is_asked_for, without_doubtful
from anoean_cli.training.settings import AUTO_INPUTS


@dataclass(frozen=True)
class Prepared:
    """A data set's rows as a detector gets them: parted, and preprocessed by the training rows.

    Attributes:
        schema: None for images.
    """

    dataset: Dataset
    split: Split
    schema: TableSchema | None
    preprocessor: Preprocessor

    def rows(self, positions: NDArray[np.int64]) -> Rows:
        """Those at the (n,) positions, (n, *shape) float32."""
        examples = self.preprocessor.transform(take(self.dataset, self.schema, positions))
        return Rows(examples, self.split.is_anomaly[positions])


def prepared_rows(
    dataset: Dataset,
    split: Split,
    detector: DetectorPlugin,
    detector_parameters: Any,
    rng: np.random.Generator,
) -> Prepared:
    """Preprocessing of the training rows, without those whose labels look wrong if the detector
    leaves such out."""
    inputs = _inputs(detector_parameters, split)
    prepared = Prepared(dataset, split, *_fit_preprocessing(dataset, split, inputs))
    # Without a calibration base the selection normals give the references, and those that a forest
    # likes would keep no rate.
    if not is_asked_for(detector, detector_parameters, dataset.kind) or not len(split.calibration):
        return prepared
    least_vote, plain = detector_parameters.label_filter, prepared.preprocessor.spec.plain
    split = without_doubtful(split, prepared.rows, plain, least_vote, rng, detector.name)
    if len(split.doubtful) == 0:
        return prepared
    return Prepared(dataset, split, *_fit_preprocessing(dataset, split, inputs))


def _inputs(parameters: Any, split: Split) -> str:
    """What numeric columns become: bins pay where no forest, which needs anomalies, helps E."""
    asked: str = getattr(parameters, "inputs", "quantile")
    if asked != AUTO_INPUTS:
        return asked
    return "quantile" if split.is_anomaly[split.training].any() else "bins"


def _fit_preprocessing(
    dataset: Dataset, split: Split, inputs: str
) -> tuple[TableSchema | None, Preprocessor]:
    if dataset.kind == "image":
        channels, height, width = dataset.examples.shape[1:]
        return None, ImagePreprocessor((channels, height, width))
    training = dataset.examples.take(split.training)
    places = dataset.places()[split.training]
    schema = infer_schema(training, dataset.columns, dataset.label_column, dataset.vouched, places)
    used = training.select(list(schema.columns))
    return schema, fit_table(used, split.is_anomaly[split.training], schema, inputs)


def learns_from(split: Split, detector: DetectorPlugin) -> NDArray[np.int64]:
    """The training rows, and the selection rows where nobody else needs them.

    Without a calibration base the selection normals give the reference scores, which must come
    from rows that training has not seen.
    """
    if uses_selection(detector) or len(split.calibration) == 0:
        return split.training
    return np.sort(np.concatenate([split.training, split.selection]))


def uses_selection(detector: DetectorPlugin) -> bool:
    """Whether it looks at the selection rows; a plugin that does not say does."""
    return bool(getattr(detector, "uses_selection", True))


def take(dataset: Dataset, schema: TableSchema | None, rows: NDArray[np.int64]) -> Any:
    """The examples at those positions, of the schema's columns."""
    examples = dataset.examples if schema is None else dataset.examples.select([*schema.columns])
    return rows_at(examples, rows)
