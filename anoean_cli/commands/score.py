"""``anoean score``: one output line for each input row, in order."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anoean_cli.choices import OnError, OutputFormat
from anoean_cli.commands import options, shell
from anoean_cli.commands.options import TableFlags
from anoean_cli.console import Console
from anoean_cli.environment import own_cores
from anoean_cli.errors import ExitStatus, UsageError
from anoean_cli.wording import split_list

if TYPE_CHECKING:
    from anoean_cli.commands.scoring import Targets
    from anoean_cli.inference.model import Model

DEFAULT_PART = "256MiB"
MOST_JOBS_UNASKED = 8  # more cores wait for the one that reads and writes


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
        OutputFormat | None,
        typer.Option("--format", help="By default what --out ends with, or csv."),
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
        bool, options.flag("--only-anomalies", help="Leave normal rows out.")
    ] = False,
    fail_on_anomaly: Annotated[
        bool,
        options.flag("--fail-on-anomaly", help="Exit with 10 when there are anomalies."),
    ] = False,
    on_error: Annotated[OnError, typer.Option(help="What to do about unreadable rows.")] = "stop",
    summary: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write counts as JSON.")
    ] = None,
    jobs: options.Jobs = None,
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
    _import_numpy()
    from anoean_cli.commands import scoring
    from anoean_cli.data.inputs import Reading, check_there
    from anoean_cli.inference.memory import Bound
    from anoean_cli.inference.model import load_model

    kept = split_list(keep)
    to = scoring.Targets(
        out, format, embeddings, explain_images, summary, only_anomalies, scheduler, force
    )
    _check_options(kept, inputs, to, jobs, part_size)
    _check_targets(to, inputs, model)
    for source in inputs:  # before any of the others is scored
        check_there(source)
    loaded = replace(load_model(model), jobs=jobs or min(own_cores(), MOST_JOBS_UNASKED))
    if fpr is not None:
        loaded = _at_rate(loaded, fpr)
    why = None
    if explain is not None or explain_images is not None:
        from anoean_cli.commands import explaining

        why = explaining.why(loaded, model, explain, explain_images, kept, console)
    bound = Bound(options.size("--memory", memory))
    reading = Reading(
        table.options(trained=loaded.config["dataset"]),
        keep=kept,
        on_error=on_error,
        block_bytes=bound.block_bytes,
    )
    began = time.perf_counter()
    if scheduler is None:
        total = scoring.score_here(console, inputs, loaded, reading, to, why, bound, asked=jobs)
    else:
        from anoean_cli.commands.cluster import How, score_parts

        size = options.size("--part-size", part_size or DEFAULT_PART)
        how = How(reading, format or "csv", only_anomalies, None if why is None else why.k)
        total = score_parts(console, scheduler, inputs, out, loaded, how, size, force)
    scoring.finish(console, loaded, model, to, total, time.perf_counter() - began)
    is_alarm = fail_on_anomaly and total.counts.anomalous
    return ExitStatus.ANOMALIES if is_alarm else ExitStatus.OK


def _import_numpy() -> None:
    """Import numpy, which takes less here than where our modules need it.

    Its imports are nested: begun within ours, so deep that Python takes memory for its stack, and
    gives it back, a thousand times over. And OpenBLAS starts a thread a core, which stay awake for
    a while in case that there is work; here is none.
    """
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")  # 2⁴ cycles, the least there is
    import numpy  # noqa: F401


def _check_options(
    kept: Sequence[str], inputs: Sequence[str], to: Targets, jobs: int | None, part_size: str | None
) -> None:
    """Raises UsageError where options do not go together."""
    from anoean_cli.commands.output import OUR_COLUMNS

    for name in kept:
        if name in OUR_COLUMNS:
            raise UsageError(f"--keep {name}: the output has a column of that name; rename yours")
    others = to.embeddings or jobs is not None or to.pictures
    if to.scheduler is not None and (to.out == "-" or others):
        raise UsageError(
            "--scheduler writes parts, and a manifest with their counts: give --out FOLDER, "
            "and leave --embeddings, --explain-images and --jobs out"
        )
    if part_size is not None and to.scheduler is None:
        raise UsageError("--part-size is of the parts that --scheduler writes; leave it out")
    if inputs.count("-") > 1:
        raise UsageError("stdin (-) can be read only once")


def _check_targets(to: Targets, inputs: Sequence[str], model: Path) -> None:
    """Refuse outputs that are inputs, are there already, or could not be written.

    Raises:
        UsageError, OutputError: as `check_outputs`.
    """
    from anoean_cli.commands.targets import check_outputs
    from anoean_cli.storage.remote import check_remote, is_remote

    is_file = to.scheduler is None and to.out != "-" and not is_remote(to.out)
    check_outputs(
        {
            "--out": Path(to.out) if is_file else None,
            "--embeddings": to.embeddings,
            "--summary": to.summary,
        },
        [("the model", model), *(("an input", source) for source in inputs)],
        to.force,
    )
    if is_remote(to.out) and to.scheduler is None:
        check_remote(to.out, force=to.force)
        if to.out in inputs:
            raise UsageError(f"--out {to.out}: that is an input too; write elsewhere")
    if to.pictures is not None:
        from anoean_cli.commands.explaining import check_folder

        others = [to.out, *map(str, filter(None, (to.embeddings, to.summary)))]
        check_folder(to.pictures, others, inputs)


def _at_rate(model: Model, rate: float) -> Model:
    from anoean_cli.inference.recalibration import Rule, recalibrated

    return replace(recalibrated(model, None, Rule(fpr=rate)), digest=model.digest)
