"""One big table in ranges of whole rows, each of which can be read by itself.

Where a row of a text ends depends on all quotes before it: a text is looked through once, from its
beginning, which takes far less than parsing it. Ranges of Parquet are row groups.
"""

from __future__ import annotations

import os
from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from anoean_cli.data import text
from anoean_cli.data.columnar import ParquetTable, is_parquet
from anoean_cli.data.streams import Read, decompressed, is_plain_text, open_part, open_raw, peeked
from anoean_cli.data.streams import utf8 as as_utf8
from anoean_cli.data.text import Block
from anoean_cli.examples import TableOptions
from anoean_cli.storage.remote import is_remote, size_of_remote

AT_ONCE = 8 << 20  # bytes that are looked through


@dataclass(frozen=True)
class Range:
    """Consecutive rows of a table.

    Attributes:
        start, stop: its bytes in a text; its row groups in Parquet.
        rows: how many rows are before it, in a text its header among them.
        line: of a text, the physical line that it begins on.
    """

    start: int
    stop: int
    rows: int
    line: int = 1


def ranges(path: str, options: TableOptions, size: int) -> list[Range]:
    """Cut a table into ranges of about ``size`` bytes; none where it is to be read as a whole.

    That is a table that is no larger, a text that is compressed or not in UTF-8, and a Parquet
    file of a single row group.

    Raises:
        DataError: it cannot be read, or a row has no end within bounds.
        UsageError: an unknown encoding, an impossible delimiter or decimal sign.
    """
    whole = size_of_remote(path) if is_remote(path) else os.path.getsize(path)
    if whole <= size:
        return []
    head, stream = peeked(open_raw(path), owned=True)
    with stream:
        if is_parquet(head, path):
            found = list(_of_groups(path, size))
        elif is_plain_text(head, options.encoding):
            found = list(_of_text(decompressed(head, stream, path), path, options, size, whole))
        else:
            return []
    return found if len(found) > 1 else []


def blocks_of(
    path: Path | str, name: str, part: Range, delimiter: str, size: int
) -> Iterator[Block]:
    """Cut a range of a text into blocks, as `text.blocks` does."""
    with open_part(path, part.start, name) as stream:
        yield from text.blocks(
            _limited(stream, part.stop - part.start), delimiter, name, size, part.line
        )


def _limited(stream: BinaryIO, left: int) -> Read:
    def read(size: int) -> bytes:
        nonlocal left
        found = stream.read(min(size, left))
        left -= len(found)
        return found

    return read


def _of_text(
    stream: BinaryIO, path: str, options: TableOptions, size: int, whole: int
) -> Iterator[Range]:
    mark = stream.peek(len(BOM_UTF8)).startswith(BOM_UTF8)  # type: ignore[attr-defined]
    head, read = as_utf8(stream, path, options.encoding)
    delimiter = text.dialect_of(head, options).delimiter
    start = at = len(BOM_UTF8) if mark else 0
    rows = rows_before = 0
    line = line_before = 1
    for block in text.blocks(read, delimiter, path, min(size, AT_ONCE)):
        at += len(block.data)
        rows += text.count_rows(block, delimiter)
        line = block.line + text.line_ends(block.data)
        # Two rows at least: the first one may be a header, and a part has rows of its own.
        if at - start >= size and at < whole and rows - rows_before > 1:
            yield Range(start, at, rows_before, line_before)
            start, rows_before, line_before = at, rows, line
    if start < whole:
        yield Range(start, whole, rows_before, line_before)


def _of_groups(path: str, size: int) -> Iterator[Range]:
    start = rows = rows_before = weight = 0
    with ParquetTable(path) as file:
        groups = file.groups()
    for at, (count, octets) in enumerate(groups, start=1):
        weight += octets
        rows += count
        if rows > rows_before and (weight >= size or at == len(groups)):
            yield Range(start, at, rows_before)
            start, rows_before, weight = at, rows, 0
