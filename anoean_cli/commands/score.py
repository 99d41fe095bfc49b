"""``anoean score``: one output line for each input row, in order."""

from __future__ import annotations

import json as json_module
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from anoean_cli.commands import options, shell
from anoean_cli.commands.options import TableFlags
from anoean_cli.console import Console
from anoean_cli.errors import ExitStatus, FileFormatError, UsageError

if TYPE_CHECKING:
    from anoean_cli.commands.explaining import HeatMaps
    from anoean_cli.data.inputs import Piece, Reading
    from anoean_cli.data.preprocessing import Census
    from anoean_cli.inference.explanation import Explainer, Explanation
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
    force: options.Force = False,
) -> ExitStatus:
    """Score rows: file, row, score, p-value, verdict and reason, in the order of the input."""
    from anoean_cli.commands.explaining import check_folder, heat_maps
    from anoean_cli.commands.output import OUR_COLUMNS, opened_output, write_summary
    from anoean_cli.commands.targets import check_outputs
    from anoean_cli.data.inputs import Reading
    from anoean_cli.data.preprocessing import Census
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
    if explain_images is not None:
        check_folder(explain_images)
    loaded = load_model(model)
    if fpr is not None:
        loaded = _at_rate(loaded, fpr)
    why = _why(loaded, model, explain, explain_images, kept, console)
    reading = Reading(table.options(trained=loaded.config["dataset"]), keep=kept, on_error=on_error)
    counts, census, began = Counts(), Census(), time.perf_counter()
    with ExitStack() as stack:
        output = stack.enter_context(opened_output(out, format, force, console.out))
        stored = None
        if embeddings is not None:
            stored = stack.enter_context(
                writing_embeddings(embeddings, loaded.digest, overwrite=force)
            )
        pictures = None
        if explain_images is not None:
            pictures = stack.enter_context(heat_maps(explain_images))
        for piece in _pieces(inputs, loaded, reading, console):
            output.write(
                _scored(piece, loaded, census, counts, stored, only_anomalies, why, pictures)
            )
    if summary is not None:
        about = {
            **vars(counts),
            "missing_values": census.missing,
            "unseen_categories": census.unseen,
            "model": str(model),
            "model_digest": loaded.digest,
            "threshold": loaded.calibration.threshold,
            "seconds": time.perf_counter() - began,
        }
        write_summary(summary, json_module.dumps(about, indent=2) + "\n", force)
    _tell(console, loaded, counts, census)
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


@dataclass(frozen=True)
class Why:
    """What explains scores, and how many columns a row is to be explained by."""

    explainer: Explainer
    k: int

    def columns(self, explanation: Explanation) -> Mapping[str, Any]:
        from anoean_cli.commands.explaining import explained_columns

        named = self.explainer.named(explanation)
        return explained_columns(named, self.explainer.columns, self.k)


def _why(
    model: Model,
    path: Path,
    explain: int | None,
    folder: Path | None,
    kept: Sequence[str],
    console: Console,
) -> Why | None:
    """What `--explain` and `--explain-images` ask for.

    Raises:
        UsageError: pictures of a table, or a kept column of the name of one that is added.
        FileFormatError: the model is too old.
    """
    if explain is None and folder is None:
        return None
    from anoean_cli.commands.explaining import explained_names
    from anoean_cli.inference.explanation import Explainer

    if folder is not None and model.schema is not None:
        raise UsageError("--explain-images: the model takes tables; --explain K names columns")
    try:
        explainer = Explainer(model)
    except FileFormatError as error:
        raise FileFormatError(f"{path}: {error}") from error
    k = min(explain or 0, len(explainer.columns))
    if explain is not None and k < explain:
        what = "columns" if model.schema is not None else "patches"
        console.note(f"--explain {explain}: the model has {k} {what}, all of which are given")
    for name in set(kept) & set(explained_names(k)):
        raise UsageError(f"--keep {name}: the output has a column of that name; rename yours")
    return Why(explainer, k)


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
    census: Census,
    counts: Counts,
    stored: EmbeddingsWriter | None,
    only_anomalies: bool,
    why: Why | None,
    pictures: HeatMaps | None,
) -> Any:
    """Score one piece and return its output rows."""
    from anoean_cli.commands.output import rows_of

    rows = model.preprocessor.transform(piece.examples, census)
    scored, more = model.score_rows(rows), None
    if why is not None:
        explanation = why.explainer.explain(rows, scored.scores)
        more = why.columns(explanation)
        if pictures is not None:
            chosen = scored.is_anomaly | (not only_anomalies)
            pictures.add(piece, explanation, chosen)
    if stored is not None:
        stored.append(*piece.identities(), scored.output, scored.scores)
    counts.scored += len(piece.rows)
    counts.flagged += len(piece.flagged)
    counts.read += len(piece.rows) + len(piece.flagged)
    counts.anomalous += int(scored.is_anomaly.sum())
    for name, number in piece.rows_by_file().items():
        counts.files[name] = counts.files.get(name, 0) + number
    return rows_of(piece, scored, only_anomalies, more)


def _tell(console: Console, model: Model, counts: Counts, census: Census) -> None:
    if counts.flagged:
        console.warn(f"{counts.flagged:,} of {counts.read:,} rows could not be read")
    surprises = model.preprocessor.surprises(census)
    for name, why in surprises:
        console.warn(f"column {name!r}: {why}")
    warned = dict(surprises)
    for name, count in census.unseen.items():
        if name not in warned:
            console.note(f"column {name!r}: {count:,} values that training did not have")
    console.detail(
        f"{counts.read:,} rows read, {counts.scored:,} scored, {counts.anomalous:,} anomalous"
    )
    for name, count in census.missing.items():
        console.detail(f"column {name!r}: {count:,} missing values")
