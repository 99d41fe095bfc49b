"""A table's columns as TOML: what ``prepare --dry-run`` prints, and ``--schema`` takes back."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anoean_cli.commands.configuration import line_of, text_of
from anoean_cli.errors import DataError, UsageError

if TYPE_CHECKING:
    from anoean_cli.data.header import Columns
    from anoean_cli.data.readers import Wanted
    from anoean_cli.data.text import Dialect
    from anoean_cli.interfaces import Dataset, TableOptions

KINDS = ("numeric", "categorical", "datetime", "label", "dropped")
FIRSTS = ("day", "month")
HEAD = """\
# What anoean takes the columns of {name} for: {kinds}.
# Change a kind, or what is first in dates (day, month), and give this file back with --schema;
# the other figures are there to be read.

[columns]
"""


def described(dataset: Dataset) -> str:
    """The columns of a table, a line each: kind, share of missing values, distinct ones, and why
    a column would be dropped, judged by all rows.

    Raises:
        DataError: images, or no column to learn from.
    """
    import numpy as np
    import pyarrow.compute as pc

    from anoean_cli.data.dates import learned_cycles, named_cycles
    from anoean_cli.data.schema import infer_schema

    if dataset.kind != "table":
        raise DataError(f"{dataset.name} holds images, which have no columns; leave --dry-run out")
    table = dataset.examples
    schema = infer_schema(
        table, dataset.columns, dataset.label_column, dataset.vouched, dataset.places()
    )
    features, dates, lines = set(table.column_names), schema.dates, []
    for name in dataset.columns or table.column_names:
        entry: dict[str, Any]
        if name == dataset.label_column:
            missing = float(np.mean(dataset.labels == ""))
            distinct = len(set(dataset.labels.tolist()) - {""})
            entry = {"kind": "label", "missing": round(missing, 4), "distinct": distinct}
        elif name not in features:
            entry = {"kind": "dropped", "why": "is to be ignored"}
        else:
            column = table.column(name)
            entry = {
                # A zone, or none, is what the dates themselves say.
                "kind": schema.columns.get(name, "dropped").removesuffix("-utc"),
                "missing": round(column.null_count / max(1, len(column)), 4),
                "distinct": len(pc.unique(column.drop_null())),
            }
            if name in schema.dropped:
                entry["why"] = schema.dropped[name]
            elif name in dates:
                if name in schema.firsts:
                    entry["first"] = schema.firsts[name]
                entry["learned"] = named_cycles(learned_cycles(column))
        lines.append(_written(name, entry))
    return HEAD.format(name=dataset.name, kinds=", ".join(KINDS)) + "\n".join(lines)


def _written(name: str, entry: Mapping[str, Any]) -> str:
    """``name = { kind = "numeric", … }``: a line for each column is what people can edit."""
    import tomli_w

    fields = ", ".join(tomli_w.dumps({key: value}).strip() for key, value in entry.items())
    key = tomli_w.dumps({name: 0}).strip().removesuffix(" = 0")
    return f"{key} = {{ {fields} }}"


# --------------------------------------------------------------------------- given back


def applied(path: Path, table: str, options: TableOptions) -> TableOptions:
    """Options for a table whose columns a file describes.

    Args:
        path: the file.
        table: the table, of which the first row is looked at.

    Raises:
        UsageError: no such file, a kind that is none, something else than the day or the month
            first in dates, options that say the same, or columns that are not those of the table.
    """
    given = [n for n in ("label", "ignore", *KINDS[:3]) if getattr(options, n)]
    if given:
        raise UsageError(f"--schema says what columns are: leave --{given[0]} out, or edit {path}")
    text = text_of("--schema", path)
    kinds, firsts = _columns(path, text)
    _check_columns(path, text, kinds, table, options)
    of = {kind: tuple(name for name, each in kinds.items() if each == kind) for kind in KINDS}
    if len(of["label"]) > 1:
        where = line_of(text, "columns", of["label"][1])
        raise UsageError(f"{path}{where}: {of['label'][1]} is a second label column; one can be")
    return replace(
        options,
        label=of["label"][0] if of["label"] else None,
        ignore=of["dropped"],
        numeric=of["numeric"],
        categorical=of["categorical"],
        datetime=of["datetime"],
        day_first=tuple(name for name, first in firsts.items() if first == "day"),
        month_first=tuple(name for name, first in firsts.items() if first == "month"),
    )


def _columns(path: Path, text: str) -> tuple[dict[str, str], dict[str, str]]:
    """The kind of each column, and what is first in those of dates of which it is said."""
    try:
        columns = tomllib.loads(text).get("columns")
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{path}: is no TOML: {error}") from error
    if not isinstance(columns, dict) or not columns:
        raise UsageError(f"{path}: has no table [columns]; anoean prepare TABLE --dry-run gives it")
    kinds, firsts = {}, {}
    for name, entry in columns.items():
        where = f"{path}{line_of(text, 'columns', name)}: column {name}"
        entry = entry if isinstance(entry, dict) else {"kind": entry}
        kind, first = entry.get("kind"), entry.get("first")
        if kind not in KINDS:
            raise UsageError(f"{where}: is of kind {kind!r}; choose from {', '.join(KINDS)}")
        kinds[name] = kind
        if kind != "datetime" or first is None:
            continue
        if first not in FIRSTS:
            raise UsageError(
                f"{where}: its first is {first!r}; choose from {', '.join(FIRSTS)}, "
                "or leave it out where the year comes first"
            )
        firsts[name] = first
    return kinds, firsts


def _check_columns(
    path: Path, text: str, kinds: Mapping[str, str], table: str, options: TableOptions
) -> None:
    from anoean_cli.data.readers import unread

    look = _Look(frozenset(kinds))
    try:
        for _ in unread(table, table, look, options, "stop"):
            break
    except _SeenError as seen:
        for name in kinds:
            if name not in seen.names:
                where = f"{path}{line_of(text, 'columns', name)}: column {name}"
                has = ", ".join(seen.names[:50])
                raise UsageError(f"{where}: {table} has no such column; it has: {has}") from None
        for name in seen.names:
            if name not in kinds:
                raise UsageError(
                    f"{path}: says nothing of the column {name} of {table}; "
                    f"add it, such as {_written(name, {'kind': 'dropped'})}"
                ) from None


class _SeenError(Exception):
    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = names


@dataclass(frozen=True)
class _Look:
    """Wants to see how a table begins, and nothing of its rows."""

    names: frozenset[str]

    def is_header(self, fields: Sequence[bytes], dialect: Dialect, file: str) -> bool:
        from anoean_cli.data.header import names_of

        return not self.names.isdisjoint(names_of(fields))

    def among(self, columns: Columns) -> Wanted:
        raise _SeenError(columns.names)
