"""A trained model: everything that scoring needs, and nothing that only training needs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anoean_cli.calibration.conformal import Calibration, p_values
from anoean_cli.calibration.gaussian import Gaussian
from anoean_cli.choices import Output
from anoean_cli.data.inputs import Expected
from anoean_cli.data.preprocessing import (
    Census,
    ImagePreprocessor,
    Preprocessor,
    TablePreprocessor,
)
from anoean_cli.data.schema import TableSchema
from anoean_cli.errors import FileFormatError
from anoean_cli.examples import ExampleSpec, FloatRows, Json, Scores, State
from anoean_cli.inference.contents import ROLES, Config, Settings, Timing
from anoean_cli.inference.inputs import as_examples
from anoean_cli.inference.runner import BLOCK, GraphRunner, PluginRunner, Runner
from anoean_cli.storage import model as model_file
from anoean_cli.storage.hdf5 import Content, Value
from anoean_cli.storage.remote import address_of
from anoean_cli.storage.typed_json import check_json
from anoean_cli.storage.values import Json as JsonValue

FEATURE_BYTES = 8 << 20


class KeptRows(NamedTuple):
    """Rows of one role as the graph gives them: for calibrating anew, and for pictures.

    Attributes:
        output: (n, d) embeddings, or (n, 1) raw scores of a detector that has none.
        labels: (n,) labels of the dataset.
        is_anomaly: (n,) bool.
        rows: (n,) positions in the dataset; where it was calibrated anew, among the normals of that
            file, of which all labels are "normal".
    """

    output: NDArray[np.float32]
    labels: list[str]
    is_anomaly: NDArray[np.bool_]
    rows: NDArray[np.int64]


class Scored(NamedTuple):
    """What is said of each row: raw score, p-value, verdict, and the embedding behind them."""

    scores: Scores
    p_values: Scores
    is_anomaly: NDArray[np.bool_]
    output: NDArray[np.float32]


@dataclass(frozen=True, repr=False)
class Model:
    """A detector ready to score.

    Attributes:
        config: JSON: detector, encoder, parameters, seeds, provenance, versions.
        schema: the columns of a table, or None for images.
        preprocessor: from examples to the graph's rows.
        graph: ONNX bytes from preprocessed rows to an embedding or a raw score; None where the
            detector's plugin is needed for that.
        output: which of the two.
        gaussian: μ and Σ of normal embeddings; None where the graph gives raw scores.
        calibration: reference scores and threshold.
        kept: selection and calibration rows by role.
        split: positions of rows by role.
        typical: the selection normal of the lowest score, preprocessed, which explanations start
            from; None in files of older versions.
        arrays: what the detector's plugin scores by, where there is no graph.
        weights, history, timing: for reuse and inspection.
        jobs: how many threads score by it at once; the graph gets memory for so many runs.
        path: the file that it was read from, for messages; empty where there is none.
    """

    config: Mapping[str, Json]
    schema: TableSchema | None
    preprocessor: Preprocessor
    graph: bytes | None
    output: Output
    gaussian: Gaussian | None
    calibration: Calibration
    kept: Mapping[str, KeptRows] = field(default_factory=dict)
    split: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    typical: FloatRows | None = None
    arrays: State = field(default_factory=dict)
    weights: State = field(default_factory=dict)
    history: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    timing: Mapping[str, float] = field(default_factory=dict)
    digest: str = ""
    jobs: int = 1
    path: str = ""

    @cached_property
    def runner(self) -> Runner:
        """What maps (n, *shape) float32 rows to (n, d) embeddings or (n,) raw scores.

        Made at first use, by one thread.

        Raises:
            FileFormatError: the graph is refused.
            PluginError: a plugin that scores by itself is not installed, or fails.
        """
        if self.graph is not None:
            return GraphRunner(self.graph, self.preprocessor.spec, self.jobs)
        return PluginRunner(self.config["detector"]["name"], self.arrays, self.preprocessor.spec)

    @property
    def expected(self) -> Expected:
        """What inputs are to hold for this model."""
        resizes = bool(self.config["dataset"].get("resized"))
        return Expected(self.preprocessor.spec, self.schema, resizes)

    def __getstate__(self) -> dict[str, Any]:
        # A session of ONNX Runtime cannot be pickled or copied; it is built from the graph again.
        return {name: value for name, value in vars(self).items() if name != "runner"}

    def __repr__(self) -> str:
        detector = self.config.get("detector", {}).get("name")
        return f"<Model of {detector!r}, threshold {self.calibration.threshold:g}>"

    def anomaly_score(self, X: Any) -> Scores:
        """Return how anomalous each row is, (n,) float64, high for anomalies.

        Args:
            X: for tables an Arrow table, a data frame, or an array of the training columns in
                their order; for images bytes 0..255 of shape (n, height, width),
                (n, channels, height, width) or (n, pixels).

        Raises:
            DataError: X does not fit the model.
        """
        return self.score(self._examples(X)).scores

    def p_value(self, X: Any) -> Scores:
        """Return the share of normals at least as anomalous as each row, (n,) in (0, 1]."""
        return self.score(self._examples(X)).p_values

    def _examples(self, X: Any) -> Any:
        # What the file of training meant by these words a data frame means too.
        return as_examples(X, self.schema, self.preprocessor.spec, self.missing_words)

    @property
    def missing_words(self) -> Sequence[str]:
        """What stood for a missing value in the file of training; nothing where there was none."""
        from anoean_cli.data.text import NULL_VALUES

        reading = self.config.get("dataset", {}).get("reload", {}).get("reading")
        if reading is None:
            return ()
        nulls = reading.get("null_values")
        return NULL_VALUES if nulls is None else tuple(nulls)

    def score(self, examples: Any, census: Census | None = None) -> Scored:
        """Score examples: an Arrow table with the schema's columns, or uint8 images."""
        return joined([self.score_rows(rows) for rows in self.preprocessed(examples, census)])

    def preprocessed(self, examples: Any, census: Census | None = None) -> Iterator[FloatRows]:
        """Yield the rows of the graph, some at a time, and of no examples none once.

        At once, the features of a wide model would take far more than the examples.
        """
        at_once = rows_at_once(self.preprocessor.spec)
        for at in range(0, max(1, len(examples)), at_once):
            yield self.preprocessor.transform(examples[at : at + at_once], census)

    def score_rows(self, rows: FloatRows) -> Scored:
        """Score preprocessed rows.

        Raises:
            FileFormatError: the graph is refused, or gives no scores.
        """
        try:
            output = as_columns(self.runner(rows))
            scores = raw_scores(output, self.gaussian)
        except FileFormatError as error:
            raise _blamed(error, self.path) from error
        return Scored(
            scores,
            p_values(self.calibration.reference, scores),
            scores > self.calibration.threshold,
            output,
        )

    def try_graph(self) -> None:
        """Score one made-up row, if that needs no plugin.

        Raises:
            FileFormatError: the graph is refused, or gives no scores.
        """
        if self.graph is not None:
            self.score_rows(np.zeros((1, *self.preprocessor.spec.shape), np.float32))

    def save(self, path: Path | str, *, overwrite: bool = False) -> str:
        """Write the model file, whole or not at all; returns the digest of its content.

        Raises:
            OutputError: the file exists and ``overwrite`` is false, or cannot be written.
            FileFormatError: what was written could not be loaded again.
        """
        values = _to_values(self)
        return model_file.save_model(Path(path), values, overwrite=overwrite, check=_from_content)


def load_model(path: Path | str) -> Model:
    """Read a model file.

    Raises:
        FileFormatError: no model, or one that is damaged, altered or too new.
    """
    if address := address_of(Path(path)):
        raise FileFormatError(f"{address}: a model is a file of this machine; fetch it first")
    try:
        Path(path).stat()
    except FileNotFoundError:
        raise FileFormatError(
            f"{path}: there is no such model; anoean train makes one, --model names another"
        ) from None
    except OSError:
        pass  # what else is wrong the reader tells
    content = model_file.read_model(Path(path))
    try:
        return replace(_from_content(content), path=str(path))
    except FileFormatError as error:
        raise _blamed(error, path) from error


def _blamed(error: FileFormatError, path: Path | str) -> FileFormatError:
    """The error with the file's name, if there is one, and a remedy."""
    where = f"{path}: " if path else ""
    return FileFormatError(f"{where}{error}; get a fresh copy, or train the model anew")


def rows_at_once(spec: ExampleSpec) -> int:
    """How many rows are preprocessed at once: whole blocks of the graph, some MiB of features."""
    block = BLOCK[spec.kind]
    return max(1, FEATURE_BYTES // (4 * math.prod(spec.shape) * block)) * block


def joined(parts: Sequence[Scored]) -> Scored:
    """What is said of rows in parts, at least one, as one."""
    if len(parts) == 1:
        return parts[0]
    return Scored(*map(np.concatenate, zip(*parts, strict=True)))


def as_columns(output: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n,) → (n, 1): raw scores are kept as embeddings of one dimension are."""
    return output[:, None] if output.ndim == 1 else output


def raw_scores(output: NDArray[np.float32], gaussian: Gaussian | None) -> Scores:
    """(n, d) embeddings → Mahalanobis distances, Eq. (3); (n, 1) raw scores → themselves.

    Raises:
        FileFormatError: a result that is not finite, which no valid model gives for valid rows.
    """
    if gaussian is None:
        scores = output[:, 0].astype(np.float64)
    elif output.shape[1] != len(gaussian.mean):
        raise FileFormatError(
            f"the graph gives {output.shape[1]} dimensions, the Gaussian has {len(gaussian.mean)}"
        )
    else:
        scores = gaussian.mahalanobis(output)
    if not np.isfinite(scores).all():
        raise FileFormatError("the model gives scores that are not finite")
    return scores


# --------------------------------------------------------------------------- as stored


def _to_values(model: Model) -> dict[str, Value]:
    spec = model.preprocessor.spec
    schema = (
        model.schema.to_json()
        if model.schema is not None
        else {"kind": "image", "shape": list(spec.shape)}
    )
    calibration = model.calibration
    values: dict[str, Value] = {
        "config": JsonValue(dict(model.config)),
        "schema": JsonValue(schema),
        "calibration/reference": calibration.reference,
        "calibration/settings": JsonValue(
            {
                "threshold": calibration.threshold,
                "rule": dict(calibration.rule),
                "exact": calibration.exact,
                "output": model.output,
            }
        ),
        "timing": JsonValue(dict(model.timing)),
    }
    values |= {f"preprocessing/{k}": v for k, v in model.preprocessor.arrays().items()}
    if model.graph is not None:
        values["graph"] = model.graph
    if model.typical is not None:
        values["explanation/typical"] = model.typical
    values |= {f"detector/{k}": v for k, v in model.arrays.items()}
    values |= {f"encoder/{k}": v for k, v in model.weights.items()}
    values |= {f"history/{k}": v for k, v in model.history.items()}
    values |= {f"split/{k}": v for k, v in model.split.items()}
    for role, kept in model.kept.items():
        values[f"embeddings/{role}/embedding"] = kept.output
        values[f"embeddings/{role}/label"] = kept.labels
        values[f"embeddings/{role}/is_anomaly"] = kept.is_anomaly
        values[f"embeddings/{role}/row"] = kept.rows
    if model.gaussian is not None:
        values["gaussian/mean"] = model.gaussian.mean
        values["gaussian/covariance"] = model.gaussian.covariance
    return values


def _from_content(content: Content) -> Model:
    values = content.values
    try:
        config, settings = values["config"], values["calibration/settings"]
        check_json(config, Config, "config")
        check_json(settings, Settings, "calibration")
        check_json(values["timing"], Timing, "timing")
        schema, preprocessor = _preprocessing(values)
        gaussian = None
        if settings["output"] == "embedding":
            gaussian = Gaussian.from_arrays(values["gaussian/mean"], values["gaussian/covariance"])
        return Model(
            config=config,
            schema=schema,
            preprocessor=preprocessor,
            graph=_graph(values, settings["output"]),
            output=settings["output"],
            gaussian=gaussian,
            calibration=_calibration(values["calibration/reference"], settings),
            kept=_kept(values, gaussian),
            split=_split(values),
            typical=_typical(values.get("explanation/typical"), preprocessor),
            arrays=_arrays(values),
            weights=_under("encoder", values),
            history={
                name: _array(f"history/{name}", value, "biuf", 1)
                for name, value in _under("history", values).items()
            },
            timing=values["timing"],
            digest=content.digest,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileFormatError(f"the model lacks or garbles {error}") from error


def _preprocessing(values: Mapping[str, Any]) -> tuple[TableSchema | None, Preprocessor]:
    schema = values["schema"]
    check_json(schema, dict[str, Any], "schema")
    if schema["kind"] == "image":
        channels, height, width = (int(side) for side in schema["shape"])
        if min(channels, height, width) < 1 or channels * height * width > 2**28:
            raise FileFormatError(f"images of shape {schema['shape']} are not plausible")
        return None, ImagePreprocessor((channels, height, width))
    table = TableSchema.from_json(schema)
    return table, TablePreprocessor.from_arrays(table, _under("preprocessing", values))


def _calibration(reference: Any, settings: Mapping[str, Any]) -> Calibration:
    if reference.dtype != np.float64 or reference.ndim != 1 or len(reference) == 0:
        raise FileFormatError("the reference scores are not a list of numbers")
    if not np.isfinite(reference).all() or (np.diff(reference) < 0).any():
        raise FileFormatError("the reference scores are not finite and sorted")
    return Calibration(reference, float(settings["threshold"]), settings["rule"], settings["exact"])


def _kept(values: Mapping[str, Any], gaussian: Gaussian | None) -> dict[str, KeptRows]:
    kept = {}
    width = 1 if gaussian is None else len(gaussian.mean)
    for role in ROLES:
        part = _under(f"embeddings/{role}", values)
        if not part:
            continue
        check_json(part["label"], list[str], f"embeddings/{role}/label")
        rows = KeptRows(
            _array(f"embeddings/{role}/embedding", part["embedding"], "f", 2),
            part["label"],
            _array(f"embeddings/{role}/is_anomaly", part["is_anomaly"], "b", 1),
            _positions(f"embeddings/{role}/row", part["row"]),
        )
        lengths = {len(rows.output), len(rows.labels), len(rows.is_anomaly), len(rows.rows)}
        if len(lengths) != 1 or rows.output.shape[1] != width:
            raise FileFormatError(f"the embeddings of {role} rows do not fit together")
        if not np.isfinite(rows.output).all():
            raise FileFormatError(f"the embeddings of {role} rows are not finite")
        kept[role] = rows
    if gaussian is not None and "selection" not in kept:
        raise FileFormatError("the embeddings of selection rows are not there")
    return kept


def _typical(value: Any, preprocessor: Preprocessor) -> FloatRows | None:
    if value is None:
        return None
    row = _array("explanation/typical", value, "f", len(preprocessor.spec.shape))
    if row.dtype != np.float32 or row.shape != preprocessor.spec.shape:
        raise FileFormatError("its explanation/typical is no row that the graph takes")
    if not np.isfinite(row).all():
        raise FileFormatError("its explanation/typical is not finite")
    return row


def _split(values: Mapping[str, Any]) -> dict[str, NDArray[np.int64]]:
    split = {
        name: _positions(f"split/{name}", value) for name, value in _under("split", values).items()
    }
    counts = split.get("test_multiplicity")
    if counts is not None and (counts.shape != split["test"].shape or (counts < 1).any()):
        raise FileFormatError("its split/test_multiplicity is not one count a test row")
    return split


def _positions(name: str, value: Any) -> NDArray[np.int64]:
    positions = _array(name, value, "i", 1)
    if (positions < 0).any():
        raise FileFormatError(f"its {name} holds negative positions")
    return positions


def _array(name: str, value: Any, kinds: str, dimensions: int) -> NDArray[Any]:
    """The value, if it is an array of one of these kinds, by NumPy's letters."""
    if isinstance(value, np.ndarray) and value.dtype.kind in kinds and value.ndim == dimensions:
        return value
    raise FileFormatError(f"its {name} is no array of its kind")


def _under(group: str, values: Mapping[str, Any]) -> dict[str, Any]:
    start = group + "/"
    return {key[len(start) :]: value for key, value in values.items() if key.startswith(start)}


def _graph(values: Mapping[str, Any], output: Output) -> bytes | None:
    graph = values.get("graph")
    if graph is None:
        if output != "score" or not _under("detector", values):
            raise FileFormatError("the model has no graph")
    elif not isinstance(graph, bytes):
        raise FileFormatError("the graph is not bytes")
    return graph


def _arrays(values: Mapping[str, Any]) -> State:
    arrays = _under("detector", values)
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise FileFormatError(f"{name} of the detector is no array of numbers")
    return arrays
