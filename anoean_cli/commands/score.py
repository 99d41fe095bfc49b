"""``anoean score``: one output line for each input row, in order."""

from __future__ import annotations

import json as json_module
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from anoean_cli.commands import options, shell
from anoean_cli.commands.options import TableFlags
from anoean_cli.console import Console
from anoean_cli.errors import ExitStatus, UsageError

if TYPE_CHECKING:
    from anoean_cli.commands.explaining import Why
    from anoean_cli.commands.output import Output
    from anoean_cli.data.inputs import Piece, Reading, UnreadPiece
    from anoean_cli.data.preprocessing import Census
    from anoean_cli.inference.drift import Drift, Incoming
    from anoean_cli.inference.explanation import Explanation
    from anoean_cli.inference.memory import Bound
    from anoean_cli.inference.model import Model, Scored

DEFAULT_PART = "256MiB"
AHEAD = 3  # pieces a job: one worked on, one read before it is needed, one to be written
Format = Literal["csv", "jsonl", "parquet"]


@shell.without_pandas()
def run(
    console: Console,
    table: TableFlags,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="Tables (CSV, .gz, .zst, Parquet; s3:// and gs:// too), images, folders of "
            "them, IDX or prepared files; - is stdin.",
        ),
    ],
    model: options.Model = options.DEFAULT_MODEL,
    out: Annotated[
        str,
        typer.Option(
            "--out", "-o", metavar="-|FILE", help="Where the lines go; s3:// and gs:// too."
        ),
    ] = "-",
    format: Annotated[
        Format | None, typer.Option("--format", help="By default what --out ends with, or csv.")
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(
            metavar="COLS", help="Input columns to pass through; a name with a comma in quotes."
        ),
    ] = None,
    fpr: Annotated[
        float | None, typer.Option(help="Another false-positive rate for this run.")
    ] = None,
    explain: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="K", help="Add the K columns, or patches, that add most to each score."
        ),
    ] = None,
    explain_images: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Of images: draw what adds to each score, a PNG a row."),
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
    jobs: options.Jobs = 1,
    memory: options.Memory = options.DEFAULT_MEMORY,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="tcp://...", help="A Dask scheduler whose workers score; --out is a folder."
        ),
    ] = None,
    part_size: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="With --scheduler: a larger table has several parts, of about that size.  "
            "[default: 256MiB]",
        ),
    ] = None,
    force: options.Force = False,
) -> ExitStatus:
    """Score rows: file, row, score, p-value, verdict and reason, in the order of the input."""
    from anoean_cli.commands import explaining
    from anoean_cli.commands.output import OUR_COLUMNS, opened_output
    from anoean_cli.commands.targets import check_outputs
    from anoean_cli.data.inputs import Reading, check_there
    from anoean_cli.inference.drift import Incoming
    from anoean_cli.inference.memory import Bound
    from anoean_cli.inference.model import load_model
    from anoean_cli.storage.embeddings import writing_embeddings
    from anoean_cli.storage.remote import check_remote, is_remote

    kept = options.listed(keep)
    for name in kept:
        if name in OUR_COLUMNS:
            raise UsageError(f"--keep {name}: the output has a column of that name; rename yours")
    others = embeddings or jobs > 1 or explain_images
    if scheduler is not None and (out == "-" or others):
        raise UsageError(
            "--scheduler writes parts, and a manifest with their counts: give --out FOLDER, "
            "and leave --embeddings, --explain-images and --jobs out"
        )
    if part_size is not None and scheduler is None:
        raise UsageError("--part-size is of the parts that --scheduler writes; leave it out")
    if inputs.count("-") > 1:
        raise UsageError("stdin (-) can be read only once")
    check_outputs(
        {
            "--out": None if out == "-" or scheduler or is_remote(out) else Path(out),
            "--embeddings": embeddings,
            "--summary": summary,
        },
        [("the model", model), *(("an input", source) for source in inputs)],
        force,
    )
    if is_remote(out) and scheduler is None:
        check_remote(out, force=force)
        if out in inputs:
            raise UsageError(f"--out {out}: that is an input too; write elsewhere")
    if explain_images is not None:
        explaining.check_folder(
            explain_images, [out, *map(str, filter(None, (embeddings, summary)))]
        )
    for source in inputs:  # before any of the others is scored
        check_there(source)
    loaded = replace(load_model(model), jobs=jobs)
    if fpr is not None:
        loaded = _at_rate(loaded, fpr)
    why = explaining.why(loaded, model, explain, explain_images, kept, console)
    bound = Bound(options.size("--memory", memory))
    reading = Reading(
        table.options(trained=loaded.config["dataset"]),
        keep=kept,
        on_error=on_error,
        block_bytes=bound.block_bytes,
    )
    finish = partial(_finish, loaded, model, summary, force, time.perf_counter(), console)
    if scheduler is not None:
        from anoean_cli.commands.cluster import How, score_parts

        size = options.size("--part-size", part_size or DEFAULT_PART)
        how = How(reading, format or "csv", only_anomalies, None if why is None else why.k)
        counts, incoming = score_parts(console, scheduler, inputs, out, loaded, how, size, force)
        finish(counts, incoming)
        return ExitStatus.ANOMALIES if fail_on_anomaly and counts.anomalous else ExitStatus.OK
    counts, incoming = Counts(), Incoming.beside(loaded)
    with ExitStack() as stack:
        output = stack.enter_context(opened_output(out, format, force, console.out))
        stored = None
        if embeddings is not None:
            stored = stack.enter_context(
                writing_embeddings(embeddings, loaded.digest, overwrite=force)
            )
        pictures = None
        if explain_images is not None:
            pictures = stack.enter_context(explaining.heat_maps(explain_images))
        work = partial(scored, model=loaded, output=output, only_anomalies=only_anomalies, why=why)
        told: set[tuple[str, ...]] = set()
        for done in _results(_unread(inputs, loaded, reading), work, jobs, bound, console):
            _tell_extras(done.piece, told, console)
            if stored is not None:
                stored.append(*done.piece.identities(), done.scored.output, done.scored.scores)
            if pictures is not None and done.explanation is not None:
                pictures.add(
                    done.piece, done.explanation, done.scored.is_anomaly | (not only_anomalies)
                )
            counts.add(done)
            incoming.merge(done.incoming)
            output.write(done.encoded)
    finish(counts, incoming)
    return ExitStatus.ANOMALIES if fail_on_anomaly and counts.anomalous else ExitStatus.OK


def _finish(
    model: Model,
    path: Path,
    summary: Path | None,
    force: bool,
    began: float,
    console: Console,
    counts: Counts,
    incoming: Incoming,
) -> None:
    """Write the summary of all rows, if it is asked for, and tell what there is to be told."""
    from anoean_cli.commands.output import write_summary
    from anoean_cli.inference.drift import drift_of

    drift = drift_of(model, incoming)
    if summary is not None:
        about = {
            **vars(counts),
            "missing_values": incoming.census.missing,
            "unseen_categories": incoming.census.unseen,
            "drift": drift.to_json(),
            "model": str(path),
            "model_digest": model.digest,
            "threshold": model.calibration.threshold,
            "seconds": time.perf_counter() - began,
        }
        write_summary(summary, json_module.dumps(about, indent=2) + "\n", force)
    _tell(console, drift, counts, incoming.census)


@dataclass
class Counts:
    """How many rows came to what."""

    read: int = 0
    scored: int = 0
    flagged: int = 0
    anomalous: int = 0
    files: dict[str, int] = field(default_factory=dict)

    def add(self, done: Done) -> None:
        piece = done.piece
        self.scored += len(piece.rows)
        self.flagged += len(piece.flagged)
        self.read += len(piece.rows) + len(piece.flagged)
        self.anomalous += int(done.scored.is_anomaly.sum())
        for name, rows in piece.rows_by_file().items():
            self.files[name] = self.files.get(name, 0) + rows


@dataclass(frozen=True)
class Done:
    """A piece, without its examples unless they are to be drawn, and what came of it."""

    piece: Piece
    scored: Scored
    incoming: Incoming
    encoded: Any
    explanation: Explanation | None = None


def _at_rate(model: Model, rate: float) -> Model:
    from anoean_cli.inference.recalibration import Rule, recalibrated

    return replace(recalibrated(model, None, Rule(fpr=rate)), digest=model.digest)


def _unread(inputs: list[str], model: Model, reading: Reading) -> Iterator[UnreadPiece]:
    from anoean_cli.data.inputs import unread_pieces

    for source in inputs:
        yield from unread_pieces(source, model.expected, reading)


def _results(
    unread: Iterator[UnreadPiece],
    work: Callable[[UnreadPiece], Done | None],
    jobs: int,
    bound: Bound,
    console: Console,
) -> Iterator[Done]:
    """What comes of each piece that has rows, in order.

    The first one is worked on alone: it loads the graph, and shows what memory a piece takes.
    """
    from anoean_cli.inference.pipeline import in_order

    for first in islice(unread, 1):
        if (done := work(first)) is not None:
            yield done
    in_flight = bound.pieces()
    if in_flight < jobs:
        console.note(f"--memory {bound} is enough for {in_flight} of {jobs} jobs")
        jobs = in_flight
    for done in in_order(unread, work, jobs, min(in_flight, AHEAD * jobs)):
        if done is not None:
            yield done


def scored(
    unread: UnreadPiece,
    model: Model,
    output: Output,
    only_anomalies: bool,
    name: str | None = None,
    why: Why | None = None,
) -> Done | None:
    """Parse and score one piece and encode its rows, in any thread; None where it has no rows.

    Args:
        name: what the output calls the file, if not as the piece does.
        why: what explains the scores, if anything.
    """
    from anoean_cli.commands.output import rows_of
    from anoean_cli.data.inputs import name_of
    from anoean_cli.inference.drift import Incoming

    piece = unread()
    if piece is None:
        return None
    if name is not None and isinstance(piece.files, str):
        piece = replace(piece, files=name_of(name))
    incoming = Incoming.beside(model)
    found = incoming.score(model, piece.examples)
    explanation, more = None, None
    if why is not None:
        explanation = why.explainer.explain(piece.examples, found.scores)
        more = why.columns(explanation)
    encoded = output.encoded(rows_of(piece, found, only_anomalies, more))
    if why is None or not why.draws:
        explanation, piece = None, replace(piece, examples=None)
    return Done(replace(piece, kept=None), found, incoming, encoded, explanation)


def _tell_extras(piece: Piece, told: set[tuple[str, ...]], console: Console) -> None:
    if piece.extras and piece.extras not in told:
        told.add(piece.extras)
        some = ", ".join(piece.extras[:10]) + (", ..." if len(piece.extras) > 10 else "")
        console.note(f"{piece.files}: columns that the model does not know: {some}")


def _tell(console: Console, drift: Drift, counts: Counts, census: Census) -> None:
    if counts.flagged:
        console.warn(f"{counts.flagged:,} of {counts.read:,} rows could not be read")
    for warning in drift.warnings():
        console.warn(warning)
    for what in drift.unwatched():
        console.note(what)
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
