"""What a detector's ``fit`` gives, checked before a model is made of it.

A model that no command can load would be told much later, and to somebody else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Real
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from anoean_cli.choices import COVARIANCES, Output
from anoean_cli.errors import FileFormatError, PluginError
from anoean_cli.inference.runner import GraphRunner
from anoean_cli.interfaces import Fitted, FloatRows
from anoean_cli.parameters import is_json
from anoean_cli.storage.values import storable

OUTPUTS = get_args(Output)
# Last bits may differ by where a row stands, on processors whose kernels the suite never ran on;
# what the other rows are must make no difference at all.
NEGLIGIBLE = 1e-4


def checked(fitted: object, culprit: str) -> Fitted:
    """Return what ``fit`` gave, if it is what the contract says.

    Args:
        culprit: who is to blame, for the message (``"detector plugin 'centre'"``).

    Raises:
        PluginError: it is not.
    """
    if not isinstance(fitted, Fitted):
        breaches = [f"its fit returns a {type(fitted).__name__}, not a Fitted"]
    elif not (breaches := list(_breaches(fitted))):
        return fitted
    raise PluginError(f"{culprit} breaks its contract: {'; '.join(breaches)}")


@contextmanager
def blaming_for_graph(culprit: str) -> Iterator[None]:
    """A graph that cannot be run is no damaged file here: the detector has just made it."""
    try:
        yield
    except FileFormatError as error:
        raise PluginError(f"{culprit} breaks its contract: {error}") from error


def try_graph(runner: GraphRunner, rows: FloatRows, output: str) -> None:
    """Run a graph on some rows, together and alone.

    Raises:
        FileFormatError: what it gives is no such output, or depends on the other rows.
    """
    rows = rows[: runner.block]
    together = runner(rows)
    if output == "score" and together.shape[1:] not in ((), (1,)):
        raise FileFormatError(f"the graph gives {together.shape[1:]} numbers a row, not one score")
    if output == "embedding" and together.ndim != 2:
        raise FileFormatError("the graph gives one number a row, not an embedding")
    if not np.isfinite(together).all():
        raise FileFormatError("the graph gives numbers that are not finite")
    some = sorted({0, len(rows) // 2, len(rows) - 1})
    alone = np.concatenate([runner(rows[[at]]) for at in some])
    if not np.abs(alone - together[some]).max() <= NEGLIGIBLE * np.abs(together).max():  # NaN too
        raise FileFormatError("the graph gives a row alone another result than among others")


def check_held_out(held_out: object, normals: NDArray[np.float32]) -> None:
    """Look whether embeddings can stand for those that the graph gives of the selection normals.

    Raises:
        FileFormatError: they cannot.
    """
    if not isinstance(held_out, np.ndarray) or held_out.shape != normals.shape:
        told = getattr(held_out, "shape", type(held_out).__name__)
        raise FileFormatError(f"its held_out is {told}, not the {normals.shape} of the graph")
    if not np.issubdtype(held_out.dtype, np.floating) or not np.isfinite(held_out).all():
        raise FileFormatError("its held_out has what are not finite floating-point numbers")


def _breaches(fitted: Any) -> Iterator[str]:
    """What is wrong with a `Fitted`, as far as that shows without running the graph."""
    if not isinstance(fitted.graph, bytes | None):
        yield f"its graph is a {type(fitted.graph).__name__}, not bytes"
    if not _are_arrays(fitted.arrays):
        yield "its arrays are no mapping from names to arrays of numbers"
    if fitted.output not in OUTPUTS:
        yield f"its output is {fitted.output!r}, not one of {', '.join(OUTPUTS)}"
    if fitted.covariance not in COVARIANCES:
        yield f"its covariance is {fitted.covariance!r}, not one of {', '.join(COVARIANCES)}"
    if not isinstance(fitted.metadata, Mapping) or not is_json(dict(fitted.metadata)):
        yield "its metadata is no JSON object"
    if not _are_records(fitted.history):
        yield "its history is no list of mappings from names to numbers"
    if not _are_arrays(fitted.weights):
        yield "its weights are no mapping from names to arrays of numbers"


def _are_records(history: object) -> bool:
    return isinstance(history, Sequence) and all(
        isinstance(record, Mapping)
        and all(_is_name(name) and isinstance(value, Real) for name, value in record.items())
        for record in history
    )


def _are_arrays(weights: object) -> bool:
    return isinstance(weights, Mapping) and all(
        _is_name(name) and isinstance(array, np.ndarray) and storable(array.dtype)
        for name, array in weights.items()
    )


def _is_name(name: object) -> bool:
    """Whether it can name one value of a file, below no other: there a slash parts groups."""
    return (
        isinstance(name, str)
        and name.isprintable()
        and "/" not in name
        and bool(name.replace(".", ""))
    )
