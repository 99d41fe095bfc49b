"""``anoean score``: one output line for each input row, in order."""

from __future__ import annotations

import json as json_module
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from anoean_cli.commands import options, shell
from anoean_cli.commands.options import TableFlags
from anoean_cli.console import Console
from anoean_cli.errors import ExitStatus, UsageError

if TYPE_CHECKING:
    from anoean_cli.data.inputs import Piece, Reading
    from anoean_cli.data.preprocessing import Census
    from anoean_cli.inference.drift import Drift, Incoming
    from anoean_cli.inference.model import Model
    from anoean_cli.storage.embeddings import EmbeddingsWriter

Format = Literal["csv", "jsonl", "parquet"]


@shell.without_pandas()
def run(
    console: Console,
    table: TableFlags,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="Tables (CSV, .gz, .zst, Parquet), images, folders of them, IDX or prepared "
            "files; - is stdin.",
        ),
    ],
    model: options.Model = options.DEFAULT_MODEL,
    out: Annotated[
        str, typer.Option("--out", "-o", metavar="-|FILE", help="Where the lines go.")
    ] = "-",
    format: Annotated[
        Format | None, typer.Option("--format", help="By default what --out ends with, or csv.")
    ] = None,
    keep: Annotated[
        str | None, typer.Option(metavar="COLS", help="Input columns to pass through.")
    ] = None,
    fpr: Annotated[
        float | None, typer.Option(help="Another false-positive rate for this run.")
    ] = None,
    embeddings: Annotated[
        Path | None, typer.Option(metavar="OUT.h5", help="Store the embeddings too.")
    ] = None,
    only_anomalies: Annotated[
        bool, typer.Option("--only-anomalies", help="Leave normal rows out.")
    ] = False,
    fail_on_anomaly: Annotated[
        bool, typer.Option("--fail-on-anomaly", help="Exit with 10 when there are anomalies.")
    ] = False,
    on_error: Annotated[
        Literal["stop", "flag"], typer.Option(help="What to do about unreadable rows.")
    ] = "stop",
    summary: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write counts as JSON.")
    ] = None,
    force: options.Force = False,
) -> ExitStatus:
    """Score rows: file, row, score, p-value, verdict and reason, in the order of the input."""
    from anoean_cli.commands.output import OUR_COLUMNS, opened_output, write_summary
    from anoean_cli.commands.targets import check_outputs
    from anoean_cli.data.inputs import Reading
    from anoean_cli.inference.drift import Incoming, drift_of
    from anoean_cli.inference.model import load_model
    from anoean_cli.storage.embeddings import writing_embeddings

    kept = options.listed(keep)
    for name in kept:
        if name in OUR_COLUMNS:
            raise UsageError(f"--keep {name}: the output has a column of that name; rename yours")
    if inputs.count("-") > 1:
        raise UsageError("stdin (-) can be read only once")
    check_outputs(
        {
            "--out": None if out == "-" else Path(out),
            "--embeddings": embeddings,
            "--summary": summary,
        },
        [("the model", model), *(("an input", source) for source in inputs)],
        force,
    )
    loaded = load_model(model)
    if fpr is not None:
        loaded = _at_rate(loaded, fpr)
    reading = Reading(table.options(trained=loaded.config["dataset"]), keep=kept, on_error=on_error)
    counts, incoming, began = Counts(), Incoming.beside(loaded), time.perf_counter()
    with ExitStack() as stack:
        output = stack.enter_context(opened_output(out, format, force, console.out))
        stored = None
        if embeddings is not None:
            stored = stack.enter_context(
                writing_embeddings(embeddings, loaded.digest, overwrite=force)
            )
        for piece in _pieces(inputs, loaded, reading, console):
            output.write(_scored(piece, loaded, incoming, counts, stored, only_anomalies))
    drift = drift_of(loaded, incoming)
    if summary is not None:
        about = {
            **vars(counts),
            "missing_values": incoming.census.missing,
            "unseen_categories": incoming.census.unseen,
            "drift": drift.to_json(),
            "model": str(model),
            "model_digest": loaded.digest,
            "threshold": loaded.calibration.threshold,
            "seconds": time.perf_counter() - began,
        }
        write_summary(summary, json_module.dumps(about, indent=2) + "\n", force)
    _tell(console, drift, counts, incoming.census)
    if fail_on_anomaly and counts.anomalous:
        return ExitStatus.ANOMALIES
    return ExitStatus.OK


@dataclass
class Counts:
    """How many rows came to what."""

    read: int = 0
    scored: int = 0
    flagged: int = 0
    anomalous: int = 0
    files: dict[str, int] = field(default_factory=dict)


def _at_rate(model: Model, rate: float) -> Model:
    from anoean_cli.inference.recalibration import Rule, recalibrated

    return replace(recalibrated(model, None, Rule(fpr=rate)), digest=model.digest)


def _pieces(inputs: list[str], model: Model, reading: Reading, console: Console) -> Iterator[Piece]:
    from anoean_cli.data.inputs import Expected, pieces

    expected = Expected(model.preprocessor.spec, model.schema)
    told: set[tuple[str, ...]] = set()
    for source in inputs:
        for piece in pieces(source, expected, reading):
            if piece.extras and piece.extras not in told:
                told.add(piece.extras)
                some = ", ".join(piece.extras[:10]) + (", ..." if len(piece.extras) > 10 else "")
                console.note(f"{source}: columns that the model does not know: {some}")
            yield piece


def _scored(
    piece: Piece,
    model: Model,
    incoming: Incoming,
    counts: Counts,
    stored: EmbeddingsWriter | None,
    only_anomalies: bool,
) -> Any:
    """Score one piece and return its output rows."""
    from anoean_cli.commands.output import rows_of

    scored = incoming.score(model, piece.examples)
    if stored is not None:
        stored.append(*piece.identities(), scored.output, scored.scores)
    counts.scored += len(piece.rows)
    counts.flagged += len(piece.flagged)
    counts.read += len(piece.rows) + len(piece.flagged)
    counts.anomalous += int(scored.is_anomaly.sum())
    for name, rows in piece.rows_by_file().items():
        counts.files[name] = counts.files.get(name, 0) + rows
    return rows_of(piece, scored, only_anomalies)


def _tell(console: Console, drift: Drift, counts: Counts, census: Census) -> None:
    if counts.flagged:
        console.warn(f"{counts.flagged:,} of {counts.read:,} rows could not be read")
    for warning in drift.warnings():
        console.warn(warning)
    for name, count in census.unseen.items():
        if (name, "unseen") not in drift.grown:
            console.note(f"column {name!r}: {count:,} values that training did not have")
    console.detail(
        f"{counts.read:,} rows read, {counts.scored:,} scored, {counts.anomalous:,} anomalous"
    )
    for name, count in census.out_of_range.items():
        console.detail(f"column {name!r}: {count:,} values out of the range of training")
    for name, count in census.missing.items():
        console.detail(f"column {name!r}: {count:,} missing values")
