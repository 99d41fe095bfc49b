"""A model's figures on labelled rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from anoean_cli.data.content import digest_of_rows, row_hashes
from anoean_cli.data.inputs import Piece
from anoean_cli.data.schema import TableSchema
from anoean_cli.data.splits import is_anomaly
from anoean_cli.errors import DataError, FileFormatError, UsageError
from anoean_cli.evaluation.metrics import evaluate_scores, evaluate_with_types
from anoean_cli.inference.model import Model
from anoean_cli.interfaces import Dataset, Json, Scores, column_kind
from anoean_cli.training.preparation import take

ROWS_AT_ONCE = 16_384


@dataclass(frozen=True)
class Labelled:
    """Scored rows with what is known of them.

    Attributes:
        scores: (n,).
        is_anomaly: (n,) bool.
        types: (n,) labels.
        multiplicity: (n,) how often each row stands in the data, where duplicates were dropped.
        rows: (n,) their numbers, from 1, in their file or data set.
        files: (n,) the file of each, where rows were given in files.
        output: (n, d) embeddings, or (n, 1) raw scores, where they were asked for.
        positions: (n,) rising, among all rows of an input, of which some may have no label.
        hashes: (n,) the same for rows that are equal, which intervals draw together; None: all
            rows are distinct.
    """

    scores: Scores
    is_anomaly: NDArray[np.bool_]
    types: NDArray[np.str_]
    multiplicity: NDArray[np.int64] | None = None
    rows: NDArray[np.int64] | None = None
    files: Sequence[str] | None = None
    output: NDArray[np.float32] | None = None
    positions: NDArray[np.intp] | None = None
    hashes: NDArray[np.uint64] | None = None

    def distinct(self) -> int:
        """How many rows there are without those that equal another one."""
        return len(self.scores) if self.hashes is None else len(np.unique(self.hashes))

    def fewest_distinct(self) -> int:
        """The same of normals or of anomalies, of which there are fewer."""
        kinds = (self.is_anomaly, ~self.is_anomaly)
        if self.hashes is None:
            return min(int(kind.sum()) for kind in kinds)
        return min(len(np.unique(self.hashes[kind])) for kind in kinds)


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


def score_test_rows(model: Model, dataset: Dataset, with_output: bool = False) -> Labelled:
    """Score the rows that training set aside.

    Args:
        with_output: whether embeddings are wanted too.

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
    return score_rows_set_aside(model, dataset, with_output)


def score_rows_set_aside(
    model: Model, dataset: Dataset, with_output: bool = False, with_hashes: bool = True
) -> Labelled:
    """The same for a data set that is known to be that of the training.

    Args:
        with_hashes: for intervals.

    Raises:
        UsageError: it set none aside.
    """
    rows = rows_set_aside(model)
    scores, hashes, output = [], [], []
    for at in range(0, len(rows), ROWS_AT_ONCE):
        examples = take(dataset, model.schema, rows[at : at + ROWS_AT_ONCE])
        scored = model.score(examples)
        scores.append(scored.scores)
        hashes += [row_hashes(examples)] if with_hashes else []
        output += [scored.output] if with_output else []
    anomalous = is_anomaly(dataset, model.config["normal"])
    return Labelled(
        np.concatenate(scores),
        anomalous[rows],
        dataset.labels[rows],
        model.split.get("test_multiplicity"),
        rows=dataset.places()[rows] + 1,
        output=np.concatenate(output) if output else None,
        hashes=np.concatenate(hashes) if hashes else None,
    )


def _has_columns(dataset: Dataset, schema: TableSchema | None) -> bool:
    """Whether a dataset has the columns of a model, of their kinds, or images where it has none."""
    if schema is None or dataset.kind == "image":
        return (schema is None) == (dataset.kind == "image")
    kinds = {field.name: column_kind(field.type) for field in dataset.examples.schema}
    return schema.columns.items() <= kinds.items()


@dataclass(frozen=True)
class ScoredInput:
    """Scored rows of an input whose labels are still to be understood.

    Attributes:
        scores, labels, hashes: (n,), as of `Labelled`; a row without a label has ``""``.
        rows: (n,) their numbers, from 1, in their file.
        files, output: (n,) and (n, d), where details were asked for.
    """

    scores: Scores
    labels: NDArray[np.str_]
    hashes: NDArray[np.uint64]
    rows: NDArray[np.int64]
    files: list[str] | None
    output: NDArray[np.float32] | None

    def labelled(self, is_anomaly: NDArray[np.bool_], known: NDArray[np.bool_]) -> Labelled:
        """Those rows of which something is known, with what (n,) ``is_anomaly`` says."""
        return Labelled(
            self.scores[known],
            is_anomaly[known],
            self.labels[known],
            rows=self.rows[known],
            files=None if self.files is None else list(compress(self.files, known.tolist())),
            output=None if self.output is None else self.output[known],
            positions=np.flatnonzero(known),
            hashes=self.hashes[known],
        )


def score_pieces(model: Model, pieces: Iterable[Piece], details: bool = False) -> ScoredInput:
    """Score labelled input.

    Args:
        details: whether the file of each row and its embedding are wanted too.

    Raises:
        DataError: no row has a label.
    """
    scores, found, hashes, rows, output = [], [], [], [], []
    files: list[str] = []
    for piece in pieces:
        scored = model.score(piece.examples)
        scores.append(scored.scores)
        found.append(np.array(piece.labels or [], dtype=np.str_))
        hashes.append(row_hashes(piece.examples))
        names, numbers = piece.identities()
        rows.append(numbers)
        if details:
            files += [names] * len(numbers) if isinstance(names, str) else names
            output.append(scored.output)
    labels = np.concatenate(found)
    if not (labels != "").any():
        raise DataError("no row has a label; --label names the column that holds them")
    return ScoredInput(
        np.concatenate(scores),
        labels,
        np.concatenate(hashes),
        np.concatenate(rows),
        files if details else None,
        np.concatenate(output) if details else None,
    )


def figures(model: Model, labelled: Labelled, bootstrap: int = 1000) -> dict[str, Json]:
    """All figures of section 3's list, with intervals, and the same for seen and unseen types.

    Args:
        bootstrap: resamples for the intervals; 0 gives none.

    Raises:
        DataError: rows of one class only.
    """
    threshold = model.calibration.threshold
    seen = model.config["seen_types"]
    times, anomalous = labelled.multiplicity, labelled.is_anomaly
    found: dict[str, Json] = evaluate_with_types(
        labelled.scores,
        anomalous,
        labelled.types,
        seen,
        threshold,
        groups=labelled.hashes,
        bootstrap=bootstrap,
    )
    if times is not None and (times != 1).any():
        repeated = evaluate_scores(
            labelled.scores,
            anomalous,
            threshold,
            groups=labelled.hashes,
            weights=times,
            bootstrap=bootstrap,
        )
        counts = {"n_normals": times[~anomalous].sum(), "n_anomalies": times[anomalous].sum()}
        found["with_duplicates"] = repeated | {name: int(n) for name, n in counts.items()}
    return found
