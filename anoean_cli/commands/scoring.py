"""What ``score`` makes of its inputs, piece by piece, and what it tells of all of them.

A piece is read, scored and encoded in one step, in any thread; what comes of it is written and
counted in the order of the input.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from anoean_cli.choices import OutputFormat
from anoean_cli.commands.output import (
    Output,
    opened_output,
    rows_of,
)
from anoean_cli.console import Console
from anoean_cli.data.inputs import Piece, Reading, UnreadPiece, name_of, unread_pieces
from anoean_cli.data.preprocessing import Census
from anoean_cli.inference.drift import Drift, Incoming, drift_of
from anoean_cli.inference.memory import Bound
from anoean_cli.inference.model import Model, Scored
from anoean_cli.inference.pipeline import in_order
from anoean_cli.storage.atomic import write_whole
from anoean_cli.wording import counted, some

if TYPE_CHECKING:
    from anoean_cli.commands.explaining import HeatMaps, Why
    from anoean_cli.inference.explanation import Explanation
    from anoean_cli.storage.embeddings import EmbeddingsWriter

AHEAD = 3  # pieces a job: one worked on, one read before it is needed, one to be written


class Targets(NamedTuple):
    """What is to be written, and where.

    Attributes:
        out: where the lines go: ``-``, a file or object; with ``scheduler`` a folder.
        format: of the lines; None: what ``out`` ends with says it.
        embeddings, summary: files, if they are wanted.
        pictures: the folder of pictures, if they are wanted.
        only_anomalies: whether normal rows are left out.
        scheduler: of the cluster that scores; None: this process does.
        force: whether existing files are replaced.
    """

    out: str
    format: OutputFormat | None
    embeddings: Path | None
    pictures: Path | None
    summary: Path | None
    only_anomalies: bool
    scheduler: str | None
    force: bool


@dataclass
class Counts:
    """How many rows came to what."""

    read: int = 0
    scored: int = 0
    flagged: int = 0
    anomalous: int = 0
    files: dict[str, int] = field(default_factory=dict)

    def add(self, done: Done) -> None:
        """Count the rows of one more piece."""
        piece = done.piece
        self.scored += len(piece.rows)
        self.flagged += len(piece.flagged)
        self.read += len(piece.rows) + len(piece.flagged)
        self.anomalous += int(done.scored.is_anomaly.sum())
        for name, rows in piece.rows_by_file().items():
            self.files[name] = self.files.get(name, 0) + rows


class Total(NamedTuple):
    """What is known of all rows together."""

    counts: Counts
    incoming: Incoming

    @classmethod
    def of(cls, model: Model) -> Total:
        """Nothing yet, to be told from what the model was calibrated with."""
        return cls(Counts(), Incoming.beside(model))

    def add(self, done: Done) -> None:
        """Take in one more piece."""
        self.counts.add(done)
        self.incoming.merge(done.incoming)


class Done(NamedTuple):
    """A piece, without its examples unless they are to be drawn, and what came of it."""

    piece: Piece
    scored: Scored
    incoming: Incoming
    encoded: Any
    explanation: Explanation | None = None


# --------------------------------------------------------------------------- a piece


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
    piece = unread()
    if piece is None:
        return None
    if name is not None and isinstance(piece.files, str):
        piece = piece._replace(files=name_of(name))
    incoming = Incoming.beside(model)
    found, explanation = _judged(model, piece.examples, incoming, why)
    more = None if why is None or explanation is None else why.columns(explanation)
    encoded = output.encoded(rows_of(piece, found, only_anomalies, more))
    if why is None or not why.draws:
        explanation, piece = None, piece._replace(examples=None)
    return Done(piece._replace(kept=None), found, incoming, encoded, explanation)


def _judged(
    model: Model, examples: Any, incoming: Incoming, why: Why | None
) -> tuple[Scored, Explanation | None]:
    """Score and count examples, and explain them if that is asked for."""
    if why is None:
        return incoming.score(model, examples), None
    found, explanation = why.explainer.score(examples, incoming.census)
    incoming.scores.add(found.scores)
    return found, explanation


# --------------------------------------------------------------------------- all pieces


def score_here(
    console: Console,
    inputs: Sequence[str],
    model: Model,
    reading: Reading,
    to: Targets,
    why: Why | None,
    bound: Bound,
    asked: int | None,
) -> Total:
    """Score all inputs in this process, and write what is asked for.

    Args:
        model: its ``jobs`` are how many threads score, if there is memory for them.
        asked: how many were asked for, which is told where there is none.

    Raises:
        DataError, UsageError: what is wrong with an input.
        OutputError: what cannot be written.
    """
    total = Total.of(model)
    with _opened(to, model.digest, console.out) as files:
        work = partial(
            scored, model=model, output=files.output, only_anomalies=to.only_anomalies, why=why
        )
        told: set[tuple[str, ...]] = set()
        unread = _unread(inputs, model, reading)
        for done in _results(unread, work, model.jobs, bound, console if asked else None):
            _tell_extras(done.piece, told, console)
            total.add(done)
            files.write(done)
    return total


def _unread(inputs: Sequence[str], model: Model, reading: Reading) -> Iterator[UnreadPiece]:
    for source in inputs:
        yield from unread_pieces(source, model.expected, reading)


def _results(
    unread: Iterator[UnreadPiece],
    work: Callable[[UnreadPiece], Done | None],
    jobs: int,
    bound: Bound,
    console: Console | None,
) -> Iterator[Done]:
    """What comes of each piece that has rows, in order; to the console, that memory is short.

    The first one is worked on alone: it loads the graph, and shows what memory a piece takes.
    """
    for piece in unread:
        if (done := work(piece)) is not None:
            yield done
            break
    in_flight = bound.pieces()
    if in_flight < jobs and console is not None:
        console.note(f"--memory {bound} is enough for {in_flight} of {jobs} jobs")
    jobs = min(jobs, in_flight)
    ahead = list(islice(unread, 1))
    if not ahead:  # as of a small file: starting threads takes longer than scoring it
        return
    for done in in_order(chain(ahead, unread), work, jobs, min(in_flight, AHEAD * jobs)):
        if done is not None:
            yield done


class _Files(NamedTuple):
    """What is written while rows are scored."""

    output: Output
    embeddings: EmbeddingsWriter | None
    pictures: HeatMaps | None
    only_anomalies: bool

    def write(self, done: Done) -> None:
        if self.embeddings is not None:
            found = done.scored
            self.embeddings.append(*done.piece.identities(), found.output, found.scores)
        if self.pictures is not None and done.explanation is not None:
            chosen = done.scored.is_anomaly | (not self.only_anomalies)
            self.pictures.add(done.piece, done.explanation, chosen)
        self.output.write(done.encoded)


@contextmanager
def _opened(to: Targets, digest: str, stdout: TextIO) -> Iterator[_Files]:
    """Open all that is to be written; each file and folder appears once all of it is there."""
    with ExitStack() as stack:
        output = stack.enter_context(opened_output(to.out, to.format, to.force, stdout))
        embeddings = pictures = None
        if to.embeddings is not None:
            from anoean_cli.storage.embeddings import writing_embeddings

            writing = writing_embeddings(to.embeddings, digest, overwrite=to.force)
            embeddings = stack.enter_context(writing)
        if to.pictures is not None:
            from anoean_cli.commands.explaining import heat_maps

            pictures = stack.enter_context(heat_maps(to.pictures))
        yield _Files(output, embeddings, pictures, to.only_anomalies)


# --------------------------------------------------------------------------- the end


def finish(
    console: Console, model: Model, path: Path, to: Targets, total: Total, seconds: float
) -> None:
    """Write the summary of all rows, if it is asked for, and tell what there is to be told.

    Args:
        path: of the model.
    """
    census, drift = total.incoming.census, drift_of(model, total.incoming)
    if to.summary is not None:
        about = {
            **vars(total.counts),
            "missing_values": census.missing,
            "unseen_categories": census.unseen,
            "empty_rows": census.empty,
            "hollow_rows": census.hollow,
            "drift": drift.to_json(),
            "model": str(path),
            "model_digest": model.digest,
            "threshold": model.calibration.threshold,
            "seconds": seconds,
        }
        write_whole(to.summary, json.dumps(about, indent=2) + "\n", overwrite=to.force)
    _tell(console, drift, total.counts, census)


def _tell_extras(piece: Piece, told: set[tuple[str, ...]], console: Console) -> None:
    if piece.extras and piece.extras not in told:
        told.add(piece.extras)
        console.note(f"{piece.files}: columns that the model does not know: {some(piece.extras)}")


def _tell(console: Console, drift: Drift, counts: Counts, census: Census) -> None:
    if counts.flagged:
        console.warn(f"{counts.flagged:,} of {counted(counts.read, 'row')} could not be read")
    if census.empty:
        console.warn(
            f"{counted(census.empty, 'row')} without a value in any column that the model knows: "
            "what is filled in is typical, so that the scores say nothing of them"
        )
    if census.hollow:
        console.warn(
            f"{counted(census.hollow, 'row')} without half of the values or more, of numbers and "
            "dates that no training row lacked: what is filled in is typical, so that the scores "
            "say little of them"
        )
    for warning in drift.warnings():
        console.warn(warning)
    for what in drift.unwatched():
        console.note(what)
    for name, count in census.unseen.items():
        if (name, "unseen") not in drift.grown:
            console.note(f"column {name!r}: {counted(count, 'value')} that training did not have")
    console.detail(
        f"{counted(counts.read, 'row')} read, {counts.scored:,} scored, "
        f"{counts.anomalous:,} anomalous"
    )
    for name, count in census.out_of_range.items():
        console.detail(f"column {name!r}: {counted(count, 'value')} out of the range of training")
    for name, count in census.missing.items():
        console.detail(f"column {name!r}: {counted(count, 'missing value')}")
