"""A model's figures on labelled rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anoean_cli.data.content import digest_of_rows
from anoean_cli.data.inputs import Piece
from anoean_cli.data.schema import TableSchema
from anoean_cli.data.splits import is_anomaly
from anoean_cli.errors import DataError, FileFormatError, UsageError
from anoean_cli.evaluation.metrics import evaluate_scores, evaluate_with_types
from anoean_cli.inference.model import Model
from anoean_cli.interfaces import Dataset, Json, Scores
from anoean_cli.training.run import take

ROWS_AT_ONCE = 16_384


@dataclass(frozen=True)
class Labelled:
    """Scored rows with what is known of them.

    Attributes:
        scores: (n,).
        is_anomaly: (n,) bool.
        types: (n,) labels.
        multiplicity: (n,) how often each row stands in the data, where duplicates were dropped.
    """

    scores: Scores
    is_anomaly: NDArray[np.bool_]
    types: NDArray[np.str_]
    multiplicity: NDArray[np.int64] | None = None


def rows_set_aside(model: Model) -> NDArray[np.int64]:
    """(n,) positions of the rows that training set aside.

    Raises:
        UsageError: there are none.
    """
    rows: NDArray[np.int64] = model.split.get("test", np.empty(0, np.int64))
    if len(rows) == 0:
        raise UsageError(
            "training set no test rows aside: give --data FILE with labels, "
            "or train with --test-size"
        )
    return rows


def score_test_rows(model: Model, dataset: Dataset) -> Labelled:
    """Score the rows that training set aside.

    Raises:
        UsageError: it set none aside.
        DataError: the dataset is not the one that the model was trained from.
        FileFormatError: it is, but the model names rows or columns that it has not.
    """
    rows = rows_set_aside(model)
    if digest_of_rows(dataset) != model.config["dataset"].get("content"):
        raise DataError(
            f"{dataset.name} is not the data that the model was trained from: its content has "
            "changed; give that data with --source, or other labelled data with --data"
        )
    if rows.max() >= len(dataset.labels) or not _has_columns(dataset, model.schema):
        raise FileFormatError(
            f"the model names rows or columns that {dataset.name}, from which it says to be "
            "trained, has not; train it anew"
        )
    return score_rows_set_aside(model, dataset)


def score_rows_set_aside(model: Model, dataset: Dataset) -> Labelled:
    """The same for a data set that is known to be that of the training.

    Raises:
        UsageError: it set none aside.
    """
    rows = rows_set_aside(model)
    scores = np.concatenate(
        [
            model.score(take(dataset, model.schema, rows[at : at + ROWS_AT_ONCE])).scores
            for at in range(0, len(rows), ROWS_AT_ONCE)
        ]
    )
    anomalous = is_anomaly(dataset, model.config["normal"])
    return Labelled(
        scores, anomalous[rows], dataset.labels[rows], model.split.get("test_multiplicity")
    )


def _has_columns(dataset: Dataset, schema: TableSchema | None) -> bool:
    """Whether a dataset has the columns of a model, of their kinds, or images where it has none."""
    if schema is None or dataset.kind == "image":
        return (schema is None) == (dataset.kind == "image")
    kinds = {
        field.name: "categorical" if str(field.type) == "string" else "numeric"
        for field in dataset.examples.schema
    }
    return schema.columns.items() <= kinds.items()


def score_pieces(model: Model, pieces: Iterable[Piece]) -> tuple[Scores, NDArray[np.str_]]:
    """Score labelled input; returns (n,) scores and (n,) labels, ``""`` for rows that have none.

    Raises:
        DataError: no row has a label.
    """
    scores, found = [], []
    for piece in pieces:
        scores.append(model.score(piece.examples).scores)
        found.append(np.array(piece.labels or [], dtype=np.str_))
    labels = np.concatenate(found)
    if not (labels != "").any():
        raise DataError("no row has a label; --label names the column that holds them")
    return np.concatenate(scores), labels


def figures(model: Model, labelled: Labelled, bootstrap: int = 1000) -> dict[str, Json]:
    """All figures of section 3's list, with intervals, and the same for seen and unseen types.

    Args:
        bootstrap: resamples for the intervals; 0 gives none.

    Raises:
        DataError: rows of one class only.
    """
    threshold = model.calibration.threshold
    seen = model.config["seen_types"]
    found: dict[str, Json] = evaluate_with_types(
        labelled.scores, labelled.is_anomaly, labelled.types, seen, threshold, bootstrap=bootstrap
    )
    times, anomalous = labelled.multiplicity, labelled.is_anomaly
    if times is not None and (times != 1).any():
        repeated = evaluate_scores(
            labelled.scores, anomalous, threshold, weights=times, bootstrap=bootstrap
        )
        counts = {"n_normals": times[~anomalous].sum(), "n_anomalies": times[anomalous].sum()}
        found["with_duplicates"] = repeated | {name: int(n) for name, n in counts.items()}
    return found
