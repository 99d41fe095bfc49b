"""``anoean compare``: several detectors on the same splits and seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anoean_cli.commands import options
from anoean_cli.commands.options import TableFlags
from anoean_cli.commands.train import FLAGS, DataFlags, LearningFlags
from anoean_cli.console import Console
from anoean_cli.errors import (
    DataError,
    ExitStatus,
    PluginError,
    SettingError,
    TrainingError,
    UsageError,
)
from anoean_cli.wording import split_list

if TYPE_CHECKING:
    from anoean_cli.data.splits import SplitRequest
    from anoean_cli.evaluation.comparison import Cell, Result
    from anoean_cli.interfaces import Dataset, Kind
    from anoean_cli.training.request import TrainRequest

DEFAULT_FOLDER = Path("anoean-compare")
FILES = ("compare.json", "results.csv", "summary.csv")
TEST_SHARE = 0.3
SHOWN = ("auc_pr", "roc_auc", "f1_best", "accuracy_at_f1_best", "seen.auc_pr", "unseen.auc_pr")


def run(
    console: Console,
    data: DataFlags,
    learning: LearningFlags,
    table: TableFlags,
    dataset: options.DatasetName,
    detectors: Annotated[
        str,
        typer.Option(
            metavar="NAME[:PRESET],...|all",
            autocompletion=options.complete_list_of_detectors,
            help="What to compare, such as anoean,anoean:paper,knn.",
        ),
    ] = "all",
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, from --seed on.")] = 3,
    jobs: Annotated[int, typer.Option(min=1, help="Processes at once.")] = 1,
    scheduler: Annotated[
        str | None, typer.Option(metavar="tcp://...", help="A Dask scheduler to run on.")
    ] = None,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="DIR", help="Finished cells, results and summary."),
    ] = DEFAULT_FOLDER,
    report: options.Report = None,
    force: options.Force = False,
    json: options.AsJson = False,
) -> ExitStatus:
    """Train several detectors on the same splits and seeds, and print how they do.

    Finished cells are kept in --out: the same command goes on where an interrupted one stopped.
    One command at a time works in a folder: a second one is told.
    """
    from anoean_cli.data.text import nulls_of
    from anoean_cli.evaluation import comparison
    from anoean_cli.storage.atomic import identity
    from anoean_cli.storage.claims import claimed

    if jobs > 1 and scheduler is not None:
        raise UsageError("give --jobs or --scheduler, not both")
    if report is not None:
        options.check_report(report, data.inputs(dataset), force)
        if report.resolve() in {out.resolve() / name for name in ("", *FILES)}:
            raise UsageError(f"--report {report}: that is written by --out {out}; write elsewhere")
    before = identity(out / FILES[0])
    contenders = contenders_of(detectors)
    table_options = data.table_options(table, dataset)
    rows = data.load(dataset, table_options, console, learning.seed)
    split = _split(rows, data, nulls_of(table_options), console)
    _check_anomalies(rows, split)
    about = {"dataset": {"name": rows.name, **rows.provenance}, "split": asdict(split)}
    _usable_folder(out, about, force)
    requests = requests_of(contenders, split, learning, rows.kind)
    cells = comparison.cells_of(requests, learning.seed, seeds)
    if jobs > 1:
        _tell_threads(cells, jobs, console)
    with claimed(out / FILES[0], before) as check_unchanged:
        results = compare(console, rows, cells, out / "cells", jobs, scheduler)
        summary = comparison.summarise(results)
        found = {"about": about, "results": [_plain(each) for each in results], "summary": summary}
        check_unchanged()
        _write(out, found)
    if report is not None:
        _write_report(report, about, results, summary, force)
        console.note(f"report: {report}")
    if json:
        console.json(found)
    else:
        _show(console, summary)
    for row in summary:
        for error in row["errors"]:
            console.warn(f"{row['detector']} failed: {error}")
    if not any(row["seeds"] for row in summary):
        raise TrainingError("no detector could be trained and tested")
    return ExitStatus.OK


# --------------------------------------------------------------------------- what to compare


def contenders_of(text: str) -> dict[str, tuple[str, str]]:
    """Labels, and the detector and preset of each.

    Raises:
        UsageError: none, one named twice, or an unknown preset.
        PluginError: an unknown detector, or one that cannot be loaded.
    """
    from anoean_cli import registry

    if text == "all":
        return {name: (name, "default") for name in _loadable()}
    found: dict[str, tuple[str, str]] = {}
    for label in split_list(text):
        name, _, preset = label.partition(":")
        if label in found:
            raise UsageError(f"--detectors names {label} twice")
        plugin = registry.get("detectors", name)
        preset = preset or "default"
        if preset not in plugin.presets:
            raise UsageError(
                f"--detectors {label}: {name} has no preset {preset!r}; "
                f"it has: {', '.join(plugin.presets)}"
            )
        found[label] = (name, preset)
    if not found:
        raise UsageError(f"--detectors {text!r} names no detector")
    return found


def _loadable() -> list[str]:
    """Every detector that loads; the others are told by ``anoean plugins``."""
    from anoean_cli import registry

    names = []
    for name in registry.names("detectors"):
        try:
            registry.get("detectors", name)
        except PluginError:
            continue
        names.append(name)
    return names


def _split(rows: Dataset, data: DataFlags, nulls: Sequence[str], console: Console) -> SplitRequest:
    """As ``train`` splits, but there must be test rows."""
    from anoean_cli.commands.train import split_request

    split = split_request(rows, data, nulls)
    sizes = split.apportionment
    if split.scheme == "publisher" or sizes.test_size:
        return split
    if data.test_size is not None:
        raise UsageError("--test-size 0 leaves nothing to compare on; give a share such as 0.3")
    console.note(f"{TEST_SHARE:.0%} of the rows are set aside to test on (--test-size)")
    return replace(split, apportionment=replace(sizes, test_size=TEST_SHARE))


def _check_anomalies(rows: Dataset, split: SplitRequest) -> None:
    """Raises DataError where no row could be an anomaly of the test."""
    from anoean_cli.data.splits import is_anomaly

    count = int(is_anomaly(rows, split.normal).sum())
    if count == 1 and split.scheme == "drawn":
        raise DataError(
            f"{rows.name} has one anomaly: compare needs two at least, one of them to test on"
        )
    if not count:
        raise DataError(
            f"{rows.name} has no anomalies to test on: compare needs labelled ones "
            "(--label names the column of labels, --normal those that are normal)"
        )


def _tell_threads(cells: Sequence[Cell], jobs: int, console: Console) -> None:
    from anoean_cli.evaluation.workers import threads_each

    share, asked = threads_each(jobs), cells[0].request.threads
    if asked is not None and asked > share:
        console.warn(f"{asked} threads were asked for: each of {jobs} processes gets {share}")


def requests_of(
    contenders: Mapping[str, tuple[str, str]],
    split: SplitRequest,
    learning: LearningFlags,
    kind: Kind,
) -> dict[str, TrainRequest]:
    """One request a contender; a setting goes to those that have a parameter of that name, the
    encoder and its dimension to those that take one.

    Raises:
        UsageError: a setting that none of them has, an option that none of them takes, a value
            that one of them does not.
    """
    from anoean_cli import environment, registry
    from anoean_cli.training.request import TrainRequest, encoder_for, parameter_names, resolved

    settings = learning.settings()
    requests: dict[str, TrainRequest] = {}
    taken: set[str] = set()
    options_taken: set[str] = set()
    for label, (name, preset) in contenders.items():
        plugin = registry.get("detectors", name)
        encoder = learning.encoder if plugin.uses_encoder else None
        of_detector, of_encoder = parameter_names(plugin, encoder_for(plugin, encoder, kind))
        has_dimension = plugin.uses_encoder or "latent_dim" in of_detector
        options_taken |= {"--encoder"} if plugin.uses_encoder else set()
        options_taken |= {"--latent-dim"} if has_dimension else set()
        own = _own_settings(settings, name, of_detector, of_encoder)
        taken |= own.keys()
        requests[label] = TrainRequest(
            split=split,
            detector=name,
            encoder=encoder,
            preset=preset,
            settings={key.removeprefix(f"{name}."): value for key, value in own.items()},
            latent_dim=learning.latent_dim if has_dimension else None,
            covariance=learning.covariance,
            threads=environment.threads(learning.threads),
        )
    none = f"none of {', '.join(contenders)}"
    for option, value in (("--encoder", learning.encoder), ("--latent-dim", learning.latent_dim)):
        if value is not None and option not in options_taken:
            raise UsageError(f"{none} takes {option}")
    for key in settings:
        if key not in taken:
            spelled = f"for --{FLAGS[key].replace('_', '-')}" if key in FLAGS else repr(key)
            raise SettingError(f"{none} has a parameter {spelled}", key)
    for request in requests.values():
        resolved(request, kind)
    return requests


def _own_settings(
    settings: Mapping[str, Any], name: str, of_detector: Set[str], of_encoder: Set[str]
) -> dict[str, Any]:
    """Those that a detector takes, by the names of its parameters and its encoder's. Its own name
    may stand before these, as `knn.n_neighbors`, which is for knn alone."""
    known = of_detector | of_encoder
    known |= {f"detector.{each}" for each in of_detector}
    known |= {f"encoder.{each}" for each in of_encoder}
    return {key: value for key, value in settings.items() if key.removeprefix(f"{name}.") in known}


def _usable_folder(folder: Path, about: Mapping[str, Any], force: bool) -> None:
    """Make the folder if need be.

    Raises:
        OutputError: nothing could be written there, or it holds another comparison.
    """
    import json

    from anoean_cli.errors import OutputError
    from anoean_cli.storage.atomic import check_writable, make_folder

    make_folder(folder / "cells")
    for name in FILES:
        check_writable(folder / name, force=True)
    try:
        before = json.loads((folder / FILES[0]).read_text(encoding="utf-8"))["about"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if _essential(before) != _essential(json.loads(json.dumps(about))) and not force:
        raise OutputError(
            f"{folder} holds a comparison on other data or another split; "
            "name another --out, or give --force to replace its results"
        )


def _essential(about: Any) -> Any:
    """What tells comparisons apart, not where the data was; what is none of ours as it is."""
    from anoean_cli.data.content import without_places

    try:
        return {**about, "dataset": without_places(about["dataset"])}
    except (AttributeError, KeyError, TypeError):
        return about


# --------------------------------------------------------------------------- running


def compare(
    console: Console,
    rows: Dataset,
    cells: Sequence[Any],
    folder: Path,
    jobs: int = 1,
    scheduler: str | None = None,
) -> list[Result]:
    """Run the cells that the folder does not hold yet; returns the results of all, in order."""
    from anoean_cli.evaluation import comparison

    store = comparison.CellStore(folder, rows)
    results: dict[tuple[str, int], Result] = {
        (kept["detector"], kept["seed"]): kept for kept in store.finished(cells)
    }
    missing = [cell for cell in cells if (cell.label, cell.seed) not in results]
    if results:
        console.note(f"{len(results)} of {len(cells)} cells were finished before")
    told = {note for result in results.values() for note in result.get("notes", ())}

    def finished(cell: comparison.Cell, result: Result) -> None:
        results[cell.label, cell.seed] = result
        missing.remove(cell)
        if "metrics" in result:
            store.keep(cell, result)
        for note in result.get("notes", ()):
            if note not in told:
                told.add(note)
                console.warn(note)
        left = None  # of a cluster: how many cells it works at is for it to say
        if scheduler is None:
            left = comparison.seconds_left(results.values(), missing, jobs)
        console.note(_progress(cell, result, len(results), len(cells), left))

    comparison.run_cells(rows, list(missing), finished, jobs=jobs, scheduler=scheduler)
    return comparison.ordered(cells, results)


def _progress(cell: Any, result: Result, done: int, total: int, left: float | None) -> str:
    if "metrics" in result:
        what = f"auc_pr {result['metrics']['auc_pr']:.4f} in {result['fit_seconds']:.0f} s"
    else:
        what = f"failed: {result['error']}"
    rest = "" if left is None or done == total else f", about {_duration(left)} left"
    return f"{done} of {total}: {cell.label}, seed {cell.seed}: {what}{rest}"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


# --------------------------------------------------------------------------- telling


def _write(folder: Path, found: Mapping[str, Any]) -> None:
    import json

    import pyarrow as pa
    from pyarrow import csv

    from anoean_cli.evaluation import comparison
    from anoean_cli.storage.atomic import replacing, write_whole

    whole, *names = FILES
    write_whole(folder / whole, json.dumps(found, indent=2, allow_nan=False) + "\n", overwrite=True)
    tables = comparison.as_table(found["results"]), comparison.summary_table(found["summary"])
    for name, columns in zip(names, tables, strict=True):
        with replacing(folder / name, overwrite=True) as temporary:
            csv.write_csv(pa.table(columns), temporary)


def _plain(result: Result) -> Result:
    """A result without its curves, which only a report shows."""
    return {name: value for name, value in result.items() if name != "curves"}


def _write_report(
    path: Path,
    about: Mapping[str, Any],
    results: Sequence[Result],
    summary: Sequence[Result],
    force: bool,
) -> None:
    from anoean_cli.commands import shell
    from anoean_cli.evaluation.report import page, table

    content = table.content(about, results, summary, SHOWN, shell.command_line())
    page.write_page(path, "compare.html", content, overwrite=force)


def _show(console: Console, summary: Sequence[Result]) -> None:
    """Best first: figures as mean ± sd over seeds, and how far each is behind the best."""
    figures = [name for name in SHOWN if any(name in row["metrics"] for row in summary)]
    head = ["detector", *figures, "rank", "behind the best", "fit s", "score s", "MB"]
    console.table(head, [_cells(row, figures) for row in summary], numbers=True)


def _cells(row: Result, figures: Sequence[str]) -> list[str]:
    if not row["seeds"]:
        return [row["detector"], "failed", *[""] * (len(figures) + 4)]
    return [
        row["detector"],
        *(_figure(row["metrics"].get(name)) for name in figures),
        f"{row['rank']:.1f}",
        _behind(row),
        f"{row['fit_seconds']:.1f}",
        f"{row['score_seconds']:.2f}",
        f"{row['model_bytes'] / 1e6:.2f}",
    ]


def _figure(spread: Mapping[str, float | None] | None) -> str:
    if spread is None:
        return ""
    sd = "" if spread["sd"] is None else f" ± {spread['sd']:.4f}"
    return f"{spread['mean']:.4f}{sd}"


def _behind(row: Result) -> str:
    from anoean_cli.evaluation.comparison import is_noise

    deficit = row["deficit"]
    if deficit is None:
        return "best"
    noise = is_noise(row)
    return f"{deficit['mean']:.4f}" + {True: ", noise", False: ", more than noise", None: ""}[noise]
