"""Who is told what: stdout is for data, stderr for people.

Importing this module imports no rich: it is needed only for tables and bars.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from anoean_cli.errors import printable
from anoean_cli.process import tell

SECONDS_BETWEEN_LINES = 5.0
BETWEEN_COLUMNS = "  "
SELECTION = ("auc_pr", "ranking")  # figures of an epoch


class Console:
    """One command's way to speak.

    Attributes:
        quiet: no notes and no progress; warnings and errors are still told.
        verbose: more notes.
        debug: tracebacks.
        out: where data goes. While a command runs ``sys.stdout`` leads to stderr, so that what a
            plugin or a library prints does not end up among the data.
    """

    def __init__(self, quiet: bool = False, verbose: bool = False, debug: bool = False) -> None:
        self.quiet = quiet
        self.verbose = verbose
        self.debug = debug
        self.out = sys.stdout

    def note(self, message: str) -> None:
        """Tell it, unless ``--quiet``."""
        if not self.quiet:
            tell(printable(message))

    def detail(self, message: str) -> None:
        """Tell it if ``--verbose``."""
        if self.verbose:
            self.note(message)

    def warn(self, message: str) -> None:
        """Tell a warning, always."""
        tell(f"warning: {printable(message)}")

    def error(self, message: str) -> None:
        """Tell an error, always."""
        tell(f"error: {printable(message)}")

    def data(self, text: str) -> None:
        """Print text for people: characters that the locale does not have are escaped."""
        encoding = self.out.encoding or "utf-8"
        print(text.encode(encoding, "backslashreplace").decode(encoding), file=self.out, flush=True)

    def document(self, text: str) -> None:
        """Print JSON or TOML: in UTF-8, whatever the locale, for so they are read."""
        self.out.flush()
        self.out.buffer.write(f"{text}\n".encode("utf-8", "backslashreplace"))
        self.out.buffer.flush()

    def json(self, value: Any) -> None:
        """Write a document to stdout; NaN is no JSON and raises ValueError."""
        self.document(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))

    def table(
        self, head: Sequence[str], rows: Sequence[Sequence[str]], numbers: bool = False
    ) -> None:
        """Show a table, on a terminal within its width, in a pipe as wide as its cells.

        Args:
            numbers: whether the columns after the first hold numbers, and not text.
        """
        head = [printable(name) for name in head]
        rows = [[printable(cell) for cell in row] for row in rows]
        if not self.out.isatty():
            lines = _aligned([head, *rows], numbers)
            self.data("\n".join(lines))
            return
        from rich import box
        from rich.console import Console as RichConsole
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for index, name in enumerate(head):
            table.add_column(name, justify="right" if numbers and index else "left")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        console = RichConsole(file=self.out)
        with console.capture() as shown:  # rich itself would end the process where stdout is closed
            console.print(table)
        self.data(shown.get().removesuffix("\n"))

    @contextmanager
    def training(self) -> Iterator[TrainingProgress]:
        """Show training: a bar on a terminal, a line every few seconds elsewhere."""
        if self.quiet:
            yield TrainingProgress()
        elif sys.stderr.isatty():
            with _bar() as progress:
                yield progress
        else:
            yield _Lines(self)


def _aligned(rows: Sequence[Sequence[str]], numbers: bool) -> list[str]:
    """The rows as lines in which each column has one width; text left, numbers right."""
    from rich.cells import cell_len

    columns = []
    for index, column in enumerate(zip(*rows, strict=True)):
        widths = [cell_len(cell) for cell in column]
        fill = [" " * (max(widths) - width) for width in widths]
        is_right = numbers and index > 0
        pairs = zip(column, fill, strict=True)
        columns.append([space + cell if is_right else cell + space for cell, space in pairs])
    return [BETWEEN_COLUMNS.join(cells).rstrip() for cells in zip(*columns, strict=True)]


class TrainingProgress:
    """Shows nothing."""

    def show(self, record: Mapping[str, float], epochs: int) -> None:
        """Take one epoch's figures out of at most ``epochs``."""


class _Lines(TrainingProgress):
    def __init__(self, console: Console) -> None:
        self._console = console
        self._told = time.monotonic()
        self._first: tuple[float, float] | None = None  # epoch and time; before it was no training

    def show(self, record: Mapping[str, float], epochs: int) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = record["epoch"], now
        if now - self._told < SECONDS_BETWEEN_LINES and record["epoch"] < epochs:
            return
        self._told = now
        done = record["epoch"] - self._first[0]
        text = _epoch_text(record, epochs)
        if done:
            left = (now - self._first[1]) / done * (epochs - record["epoch"])
            text += f", at most {left:.0f} s left"
        self._console.note(text)


@contextmanager
def _bar() -> Iterator[TrainingProgress]:
    from rich.console import Console as RichConsole
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=RichConsole(stderr=True), transient=True) as progress:
        task = progress.add_task("training", total=None)

        class Bar(TrainingProgress):
            def show(self, record: Mapping[str, float], epochs: int) -> None:
                text = _epoch_text(record, epochs)
                progress.update(task, completed=record["epoch"], total=epochs, description=text)

        yield Bar()


def _epoch_text(record: Mapping[str, float], epochs: int) -> str:
    figures = "".join(
        f", selection {name} {record[name]:.4f}" for name in SELECTION if name in record
    )
    is_chosen = figures and "best_epoch" in record  # not all plugins tell
    best = f" (best: {record['best_epoch']:.0f})" if is_chosen else ""
    return f"epoch {record['epoch']:.0f} of {epochs}{figures}{best}"
