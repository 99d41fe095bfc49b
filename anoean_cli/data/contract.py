"""What a data set plugin's ``load`` gives, checked before anything is made of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

import numpy as np

from anoean_cli.errors import PluginError
from anoean_cli.interfaces import Apportionment, ColumnKind, Dataset, column_type
from anoean_cli.parameters import is_json


def checked(dataset: object, plugin: str) -> Dataset:
    """Return what ``load`` gave, if it is what the contract says.

    Args:
        plugin: the name of the plugin.

    Raises:
        PluginError: it is not.
    """
    if not isinstance(dataset, Dataset):
        breaches = [f"its load returns a {type(dataset).__name__}, not a Dataset"]
    elif not (breaches := list(_breaches(dataset, plugin))):
        return dataset
    raise PluginError(f"dataset plugin {plugin!r} breaks its contract: {'; '.join(breaches)}")


def _breaches(dataset: Any, plugin: str) -> Iterator[str]:
    """What is wrong with a `Dataset`, of whose fields nobody has checked the types."""
    unfit = _unfit(dataset.examples)
    if unfit is not None:
        yield unfit
        return
    rows = len(dataset.examples)
    for name in ("labels", "partition", "family"):
        values = getattr(dataset, name)
        if values is None and name != "labels":
            continue
        if not isinstance(values, np.ndarray) or values.dtype.kind != "U":
            yield f"its {name} are {_kind(values)}, not an array of numpy.str_"
        elif values.shape != (rows,):
            yield f"its {name} have shape {values.shape} for {rows} rows"
    places = dataset.positions
    if places is not None and not (
        isinstance(places, np.ndarray) and places.dtype == np.int64 and places.shape == (rows,)
    ):
        yield f"its positions are {_kind(places)}, not an array of {rows} numpy.int64"
    if not isinstance(dataset.apportionment, Apportionment):
        yield f"its apportionment is {_kind(dataset.apportionment)}"
    yield from _provenance(dataset, plugin)
    yield from _names(dataset)


def _unfit(examples: Any) -> str | None:
    """What keeps examples from being preprocessed."""
    import pyarrow as pa

    if isinstance(examples, np.ndarray):
        if examples.dtype == np.uint8 and examples.ndim == 4 and 0 not in examples.shape[1:]:
            return None
        found = f"{examples.dtype} of shape {examples.shape}"
        return f"its images are {found}, not uint8 of (n, channels, height, width)"
    if not isinstance(examples, pa.Table):
        return f"its examples are {_kind(examples)}, neither an Arrow table nor a numpy array"
    names = examples.column_names
    if len(set(names)) < len(names):
        return f"it has two columns of one name among {', '.join(names)}"
    for field in examples.schema:
        if field.type not in map(column_type, get_args(ColumnKind)):
            return (
                f"its column {field.name!r} is {field.type}, neither double nor string nor "
                "timestamp[us] without a time zone or of UTC"
            )
        column = examples.column(field.name)
        if pa.types.is_floating(field.type) and np.isinf(column.to_numpy()).any():
            return f"its column {field.name!r} holds an infinite number"
    return None


def _provenance(dataset: Any, plugin: str) -> Iterator[str]:
    provenance = dataset.provenance
    if not isinstance(provenance, Mapping) or not is_json(dict(provenance)):
        yield "its provenance is no JSON object"
        return
    if not isinstance(provenance.get("files"), Mapping):
        yield "its provenance lacks 'files': names and checksums, {} where there are none"
    # A file of the user's is called by its own name, all other data by that of its plugin.
    if dataset.name != plugin and provenance.get("source") != "file":
        yield f"its name is {dataset.name!r}, not that of the plugin"


def _names(dataset: Any) -> Iterator[str]:
    for name in ("columns", "normal", "vouched"):
        values = getattr(dataset, name)
        if not isinstance(values, tuple) or not all(isinstance(value, str) for value in values):
            yield f"its {name} is no tuple of strings"
            return
    if dataset.kind == "table" and dataset.columns:
        known = set(dataset.columns)
        missing = [name for name in dataset.examples.column_names if name not in known]
        if missing:
            yield f"its columns lack the features {', '.join(missing)}"


def _kind(value: object) -> str:
    dtype = f" of {value.dtype}" if isinstance(value, np.ndarray) else ""
    return type(value).__name__ + dtype
