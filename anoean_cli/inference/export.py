"""From a model to an ONNX file that scores raw columns anywhere, checked against the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from anoean_cli.calibration.conformal import p_values
from anoean_cli.data.dates import as_seconds
from anoean_cli.data.preprocessing import (
    DateColumn,
    ImagePreprocessor,
    NumericColumn,
    TablePreprocessor,
)
from anoean_cli.errors import AnoeanError, UsageError, reason_of
from anoean_cli.inference.model import Model, Scored
from anoean_cli.inference.onnx_scorer import (
    IMAGE_INPUT,
    OUTPUTS,
    TIED,
    codes,
    input_names,
    onnx_scorer,
)
from anoean_cli.inference.probes import probes
from anoean_cli.inference.runner import MEMORY, session

BOUND = 1e-5
TOGETHER = 512
ALONE = 8  # rows that are scored one by one as well
Feed: TypeAlias = dict[str, NDArray[Any]]
Run: TypeAlias = Callable[[Feed], list[NDArray[Any]]]


@dataclass(frozen=True)
class Exported:
    """An ONNX model, and what its check found.

    Attributes:
        onnx: its bytes.
        rows: how many made rows were scored by it and by the model.
        difference: the largest between their scores, as a share of the score where that is above 1.
        renamed: inputs that are not called as their columns, by column.
    """

    onnx: bytes
    rows: int
    difference: float
    renamed: dict[str, str]


def exported(model: Model) -> Exported:
    """Return the whole scorer as one ONNX graph, after a check against `Model.score`.

    Raises:
        UsageError: the detector scores by its plugin, not by a graph.
        FileFormatError: the model's graph is refused, or of too old an operator set.
        AnoeanError: the two do not agree.
    """
    if model.graph is None:
        raise UsageError(
            f"the detector {model.config['detector']['name']} scores by its plugin, in a way that "
            "no graph expresses, so there is none to export; train another detector, such as anoean"
        )
    assert isinstance(model.preprocessor, TablePreprocessor | ImagePreprocessor)
    examples = probes(model.preprocessor)
    expected = model.score(examples)  # which checks the stored graph, too
    nulls = model.missing_words
    graph = onnx_scorer(model, nulls)
    whole = feed(model, examples)
    difference = _checked(graph, whole, expected, model)
    names = input_names(list(model.schema.columns)) if model.schema is not None else {}
    renamed = {column: name for column, name in names.items() if name != column}
    return Exported(graph, len(expected.scores), difference, renamed)


def feed(model: Model, examples: Any) -> Feed:
    """Return what the graph takes for an Arrow table of the schema's columns, or uint8 images."""
    if not isinstance(model.preprocessor, TablePreprocessor):
        return {IMAGE_INPUT: examples}
    given: Feed = {}
    nulls = model.missing_words
    for name, column in model.preprocessor.columns.items():
        values = examples.column(name)
        if isinstance(column, NumericColumn):
            array = values.to_numpy().astype(np.float64)
        elif isinstance(column, DateColumn):
            array = as_seconds(values)
        else:
            known = codes(column, nulls)
            last = len(column.categories)
            missing = next((text for text, code in known.items() if code == last), "")
            array = values.fill_null(missing).to_numpy().astype(object)
        given[name] = array[:, None]
    names = input_names(list(given))
    return {names[name]: values for name, values in given.items()}


# --------------------------------------------------------------------------- the check


def _checked(graph: bytes, whole: Feed, expected: Scored, model: Model) -> float:
    """The largest difference between the scores of the graph and of the model.

    Raises:
        AnoeanError: it is beyond the bound, or the rest does not follow from the scores.
    """
    n = len(expected.scores)
    run = _runner(graph)
    together = _joined(run, whole, [slice(at, at + TOGETHER) for at in range(0, n, TOGETHER)])
    some = np.linspace(0, n - 1, ALONE).astype(int)
    alone = _joined(run, whole, [slice(at, at + 1) for at in some])
    worst = 0.0
    for found, scores in ((together, expected.scores), (alone, expected.scores[some])):
        score, p_value, anomaly = found
        if any(part.shape != scores.shape for part in found):
            shapes = ", ".join(str(part.shape) for part in found)
            raise _disagreement(f"it gives shapes {shapes} for {len(scores)} rows")
        gap = np.abs(score - scores) / np.maximum(1, np.abs(scores))
        if not (gap <= BOUND).all():  # NaN is not
            at = int(np.argmax(np.where(np.isnan(gap), np.inf, gap)))
            raise _disagreement(
                f"on made row {at + 1} of {len(scores)} the graph gives the score {score[at]:g}, "
                f"the model {scores[at]:g}: more than {BOUND:g} of it apart"
            )
        lowered = score - np.abs(score) * TIED
        follows = p_value == p_values(model.calibration.reference, lowered)
        follows &= anomaly == (lowered > model.calibration.threshold)
        if not follows.all():
            raise _disagreement("its p-values or verdicts do not follow from its scores")
        worst = max(worst, float(gap.max()))
    return worst


def _runner(graph: bytes) -> Run:
    loaded = session(graph, MEMORY + TOGETHER * len(graph))

    def run(given: Feed) -> list[NDArray[Any]]:
        try:
            return loaded.run(list(OUTPUTS), given)  # type: ignore[no-any-return]
        except Exception as error:
            reason = reason_of(error)
            count = len(next(iter(given.values())))
            raise _disagreement(f"it cannot be run on {count} rows: {reason}") from error

    return run


def _joined(run: Run, whole: Feed, parts: Sequence[slice]) -> list[NDArray[Any]]:
    """The outputs of parts of the rows, one behind the other."""
    found = [run({name: rows[part] for name, rows in whole.items()}) for part in parts]
    return [np.concatenate(outputs) for outputs in zip(*found, strict=True)]


def _disagreement(what: str) -> AnoeanError:
    return AnoeanError(
        f"the exported graph was not written, for it is not what the model is: {what}; "
        "please report it, with the model"
    )
