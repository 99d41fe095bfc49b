"""Which columns of a table hold the pixels of images: a model of images knows only how many."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from anoean_cli.data import text
from anoean_cli.data.header import Columns, column_of, counts_up, names_of
from anoean_cli.data.readers import Wanted
from anoean_cli.data.text import Dialect
from anoean_cli.errors import DataError, UsageError

LABELS = ("label", "class")

_NUMBER = re.compile("[0-9]+")
_BRIGHTEST = 255


@dataclass(frozen=True)
class Pixels:
    """The columns to read from a table of images, a pixel a column: see ``readers.Sought``.

    Attributes:
        count: how many pixels an image has, in all channels.
        label: the label column as the user gave it, None for one of ``LABELS``.
        keep: further columns to pass through.
        required_label: whether the label is to be read too.
        sought_label: whether it is to be read where the file has it.
    """

    count: int
    label: str | None = None
    keep: tuple[str, ...] = ()
    required_label: bool = False
    sought_label: bool = False

    def is_header(self, fields: Sequence[bytes], dialect: Dialect, file: str) -> bool:
        """Whether a first row names columns: one that is asked for, all by number, or by words.

        Raises:
            DataError: it counts the columns in numbers that may be pixels as well.
        """
        names = names_of(fields)
        numbers = [
            name
            for name, value in zip(names, fields, strict=True)
            if text.number(value, dialect.decimal) is not None
        ]
        if {*LABELS, *self.keep, self.label}.intersection(names).difference(numbers):
            return True
        written = [name.encode() for name in numbers]
        # From 0, as pandas has it, or from 1.
        if len(numbers) >= self.count and counts_up(written) and int(numbers[0]) <= 1:
            if len(numbers) == len(names) and int(numbers[-1]) <= _BRIGHTEST:
                raise DataError(
                    f"{file}: its first row counts from {numbers[0]} to {numbers[-1]}; say "
                    "--header yes if these are column names, --header no if they are pixel values"
                )
            return True
        missing = sum(value in dialect.marker_bytes for value in fields)
        return 2 * (len(fields) - len(numbers) - missing) >= len(fields)

    def among(self, columns: Columns) -> Wanted:
        """Return the columns to read.

        Raises:
            DataError: which ones hold the pixels cannot be told, or the labels without a header.
            UsageError: the label column has to be given.
        """
        label = self._label(columns)
        pixels = self._pixels(columns, label)
        return Wanted(
            numeric=pixels,
            source_columns=self._up_to_last(columns, pixels, label) if columns.first else pixels,
            label=label,
            keep=self.keep,
            required_label=self.required_label,
            sought_label=self.sought_label,
        )

    def _up_to_last(
        self, columns: Columns, pixels: tuple[str, ...], label: str | None
    ) -> tuple[str, ...]:
        """The columns of a table without a header, as far as they are needed."""
        needed = {*pixels, label, *self.keep}
        last = max(at for at, name in enumerate(columns.names) if name in needed)
        return columns.names[: last + 1]

    def _label(self, columns: Columns) -> str | None:
        if self.label is not None:
            return column_of(self.label, columns.names) or self.label
        label = next((name for name in LABELS if name in columns.names), None)
        if label is None and self.required_label:
            if columns.first:
                raise DataError(
                    f"{columns.file}: has no header, so its labels cannot be found; add one, or "
                    "count the column with --label"
                )
            raise UsageError("which column holds the labels? Give --label COL")
        return label

    def _pixels(self, columns: Columns, label: str | None) -> tuple[str, ...]:
        """The columns whose names tell it, else all but the label and the kept ones."""
        others = {label, *self.keep}.intersection(columns.names)
        rest = tuple(name for name in columns.names if name not in others)
        pixels = _numbered_alike(columns.names, self.count) or rest
        if columns.first:  # what follows is not needed, as in other tables without a header
            pixels = pixels[: self.count]
        if len(pixels) == self.count:
            return pixels
        beside = " beside the label and those to keep" if others else ""
        remedy = ""
        if len(rest) > self.count:
            remedy = "; which ones these are cannot be told: name them pixel0, pixel1 and so on"
        raise DataError(
            f"{columns.file}: has {len(rest)} column{'s'[: len(rest) != 1]}{beside}; "
            f"the model takes rows of {self.count} pixel values{remedy}"
        )


def _numbered_alike(names: Sequence[str], count: int) -> tuple[str, ...]:
    """The only ``count`` names that differ in nothing but their numbers; () if there are none.

    They come in the order of the numbers, as some writers sort ``pixel10`` before ``pixel2``. With
    several numbers each, such as row and column, they stay in the order of the file.
    """
    groups: dict[tuple[str, ...], list[str]] = {}
    for name in names:
        if _NUMBER.search(name):
            groups.setdefault(tuple(_NUMBER.split(name)), []).append(name)
    fitting = [(around, group) for around, group in groups.items() if len(group) == count]
    if len(fitting) != 1:
        return ()
    ((around, group),) = fitting
    if len(around) == 2:  # what stands before and after a single number
        group.sort(key=lambda name: int(name.removeprefix(around[0]).removesuffix(around[1])))
    return tuple(group)
