"""Options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from anoean_cli.choices import FirstIfOpen
from anoean_cli.environment import MOST_THREADS
from anoean_cli.errors import FileFormatError, UsageError
from anoean_cli.wording import split_list

if TYPE_CHECKING:
    from anoean_cli.examples import TableOptions


def complete_datasets(incomplete: str) -> list[str]:
    """Names of data set plugins, or files, that begin as typed."""
    return _or_files(_names("datasets"), incomplete)


def complete_sources(incomplete: str) -> list[str]:
    """What ``--source`` takes, or files, that begin as typed."""
    return _or_files(["auto", "full", "sample"], incomplete)


def complete_encoders() -> list[str]:
    """Names of encoder plugins."""
    return _names("encoders")


def complete_detectors() -> list[str]:
    """Names of detector plugins."""
    return _names("detectors")


def complete_list_of_detectors(incomplete: str) -> list[str]:
    """The name behind the last comma."""
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in _names("detectors") if name.startswith(last)]


def complete_presets() -> list[str]:
    """Those of anoean: to know others', plugins would have to be imported for a key stroke."""
    return ["default", "small", "paper"]


def _names(role: Literal["datasets", "encoders", "detectors"]) -> list[str]:
    from anoean_cli import registry

    return registry.names(role)


def _or_files(words: list[str], incomplete: str) -> list[str]:
    """What an argument that is a word or a path may go on as.

    A shell completes paths itself, and better, but only if it is given no words at all.
    """
    fitting = [word for word in words if word.startswith(incomplete)]
    if not fitting:
        return []
    paths = [f"{path}/" if path.is_dir() else str(path) for path in sorted(Path().iterdir())]
    return fitting + [path for path in paths if incomplete or not path.startswith(".")]


DEFAULT_MODEL = Path("anoean.h5")


def finite(value: float | None) -> float | None:
    """Callback of an option: NaN passes every range, and infinity those without an end."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number")
    return value


def flag(name: str, *short: str, help: str) -> Any:
    """A switch such as ``--force``, which ``--no-force`` turns off where a file turned it on."""
    opposite = "--no-" + name.removeprefix("--")
    return typer.Option(f"{name}/{opposite}", *short, show_default=False, help=help)


Model = Annotated[
    Path, typer.Option("--model", "-m", envvar="ANOEAN_MODEL", help="The model file.")
]
AsJson = Annotated[bool, flag("--json", help="Print JSON on stdout.")]
Force = Annotated[bool, flag("--force", help="Replace an existing output.")]
Report = Annotated[
    Path | None,
    typer.Option(
        "--report",
        metavar="OUT.html",
        help="Write a page with figures and curves; needs the extra report.",
    ),
]


def check_report(report: Path, inputs: Sequence[tuple[str, str | Path]], force: bool) -> None:
    """Refuse a report that cannot be made or written, before any work.

    Raises:
        UsageError: what makes pages is not installed, or the file is an input.
        OutputError: it exists, or could not be written.
    """
    from anoean_cli.commands.targets import check_outputs
    from anoean_cli.evaluation.report import page

    page.check_available()
    check_outputs({"--report": report}, inputs, force)


Source = Annotated[
    str,
    typer.Option(
        "--source",
        metavar="auto|full|sample|PATH|URL",
        autocompletion=complete_sources,
        help="Where the data set comes from.",
    ),
]
DatasetName = Annotated[
    str,
    typer.Option(
        "--dataset",
        "-d",
        metavar="NAME|FILE",
        autocompletion=complete_datasets,
        help="A data set plugin, a table (CSV, Parquet), a folder of images or a prepared file.",
    ),
]
ImageSize = Annotated[
    int | None,
    typer.Option(
        "--image-size",
        metavar="N",
        min=8,  # the least that the encoder conv takes
        max=1024,
        help="Resize the images of a folder to N x N; by default 64, or as they are if all are "
        "smaller and of one size.",
    ),
]
Label = Annotated[
    str | None,
    typer.Option("--label", metavar="COL", help="The label column: name, or position from 1."),
]
Ignore = Annotated[
    str | None, typer.Option("--ignore", metavar="COLS", help="Columns that are no features.")
]
Numeric = Annotated[
    str | None, typer.Option("--numeric", metavar="COLS", help="Columns to take as numbers.")
]
Categorical = Annotated[
    str | None, typer.Option("--categorical", metavar="COLS", help="Columns to take as categories.")
]
Datetime = Annotated[
    str | None, typer.Option("--datetime", metavar="COLS", help="Columns to take as dates.")
]
Normal = Annotated[
    str | None,
    typer.Option("--normal", metavar="V[,V...]", help="The label values that are normal."),
]

MaxRows = Annotated[
    str | None,
    typer.Option(
        "--max-rows",
        metavar="N|all",
        help="Rows of a table to load; of a larger one as many are drawn, of every label.  "
        "[default: 1000000]",
    ),
]

Schema = Annotated[
    Path | None,
    typer.Option(
        "--schema", metavar="FILE.toml", help="What the columns are, as prepare --dry-run prints."
    ),
]

Dates = Annotated[
    FirstIfOpen | None,
    typer.Option(
        "--dates",
        help="What stands first in dates such as 03/04/2026 where a column leaves it open.",
    ),
]


@dataclass(frozen=True)
class TableFlags:
    """How text tables are read."""

    header: Annotated[
        Literal["yes", "no"] | None, typer.Option(help="Whether the first line names the columns.")
    ] = None
    delimiter: Annotated[
        str | None, typer.Option(help="What stands between fields; by default found out.")
    ] = None
    decimal: Annotated[
        str | None,
        typer.Option(help="The decimal mark, . or , and by default . or as in training."),
    ] = None
    encoding: Annotated[str | None, typer.Option(help="By default utf-8, or as in training.")] = (
        None
    )
    null_values: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated markers of missing values beside empty fields; by default as in "
            "training."
        ),
    ] = None

    def refuse_without_data(self, **others: str | None) -> None:
        """Raise UsageError where something says how rows of ``--data`` are read, and there is none.

        Args:
            others: what else says so, by the names of options.
        """
        given = {**vars(self), **others}
        named = [
            f"--{name.replace('_', '-')}" for name, value in given.items() if value is not None
        ]
        if named:
            raise UsageError(
                f"{', '.join(named)}: this says what the rows of a file are; name it with --data"
            )

    def options(
        self,
        label: str | None = None,
        ignore: str | None = None,
        numeric: str | None = None,
        categorical: str | None = None,
        datetime: str | None = None,
        dates: FirstIfOpen | None = None,
        trained: Mapping[str, Any] | None = None,
    ) -> TableOptions:
        """The options for one table.

        Args:
            trained: ``config["dataset"]`` of the model that the rows are for. How its text was
                written holds for what is not given: a marker of missing values that is forgotten
                would become a number, and no one would notice.

        Raises:
            UsageError: a mark that is not one character.
            FileFormatError: what the model says cannot be.
        """
        from anoean_cli.examples import TableOptions

        reading = reading_of(trained or {})
        decimal = reading.get("decimal", ".") if self.decimal is None else self.decimal
        encoding = reading.get("encoding", "utf-8") if self.encoding is None else self.encoding
        null_values = self.null_values
        nulls = (
            reading.get("null_values")
            if null_values is None
            else dict.fromkeys(["", *null_values.split(",")])
        )
        return TableOptions(
            header=None if self.header is None else self.header == "yes",
            delimiter=self.delimiter,
            decimal=decimal,
            encoding=encoding,
            null_values=None if nulls is None else tuple(nulls),
            label=label,
            ignore=split_list(ignore),
            numeric=split_list(numeric),
            categorical=split_list(categorical),
            datetime=split_list(datetime),
            dates=dates,
        )


def reading_of(trained: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options that the text of a training was read with, checked like the user's.

    Raises:
        FileFormatError: some cannot be.
    """
    reading: Mapping[str, Any] = trained.get("reload", {}).get("reading", {})
    try:
        "".encode(reading.get("encoding", "utf-8"))
        if reading.get("decimal", ".") not in (".", ","):
            raise ValueError(reading["decimal"])
    except (LookupError, ValueError) as error:
        raise FileFormatError(f"the model's reading of text cannot be: {error}") from error
    return reading


DEFAULT_MEMORY = "512MiB"
UNITS = {"k": 10, "m": 20, "g": 30, "t": 40}

Jobs = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=MOST_THREADS,
        metavar="N",
        help="How many cores to use.  [default: those meant for this process, at most 8]",
    ),
]
Memory = Annotated[
    str, typer.Option(metavar="SIZE", help="How much memory to take, such as 512MiB or 2GiB.")
]


def size(option: str, text: str) -> int:
    """Return a size in bytes; units are powers of 1024, with or without ``iB``.

    Raises:
        UsageError: no size.
    """
    number, unit = text.strip().lower().removesuffix("b").removesuffix("i"), ""
    number, unit = number[:-1], number[-1:]
    try:
        found = float(number) * (1 << UNITS[unit])
        if 1 <= found < math.inf:
            return int(found)
    except (KeyError, ValueError):
        pass
    raise UsageError(f"{option} {text}: is no size; give one such as 512MiB or 2GiB")
