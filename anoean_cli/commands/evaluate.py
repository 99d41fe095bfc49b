"""``anoean evaluate``: figures on labelled rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anoean_cli.commands import options, shell
from anoean_cli.commands.options import TableFlags
from anoean_cli.console import Console
from anoean_cli.errors import UsageError
from anoean_cli.wording import counted

if TYPE_CHECKING:
    from anoean_cli.data.inputs import Piece
    from anoean_cli.evaluation.examples import Examples
    from anoean_cli.evaluation.run import Labelled
    from anoean_cli.inference.model import Model

FEW_ANOMALIES = 10
UNLIKELY = 0.05  # 1 − 95 %


def run(
    console: Console,
    table: TableFlags,
    model: options.Model = options.DEFAULT_MODEL,
    data: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Labelled rows; by default those training set aside."),
    ] = None,
    label: options.Label = None,
    normal: options.Normal = None,
    source: Annotated[
        str | None, typer.Option(help="Where the training data is, if it has moved.")
    ] = None,
    report: options.Report = None,
    force: options.Force = False,
    json: options.AsJson = False,
) -> None:
    """Print figures of a model on labelled rows, with 95 % intervals."""
    from anoean_cli.evaluation.run import figures
    from anoean_cli.inference.model import load_model

    if data is None:
        table.refuse_without_data(label=label, normal=normal)
    elif source is not None:
        raise UsageError("--source says where the training data is: leave it out beside --data")
    loaded = load_model(model)
    if report is not None:
        rows = data or source or loaded.config["dataset"].get("reload", {}).get("source", "")
        options.check_report(report, [("the model", model), ("the data", rows)], force)
    labelled, origin, examples = (
        _test_rows(loaded, source, console, report is not None)
        if data is None
        else _given_rows(loaded, data, label, normal, table, console, report is not None)
    )
    about = {"model": str(model), "model_digest": loaded.digest, **origin}
    found = figures(loaded, labelled)
    count, distinct = len(labelled.scores), labelled.distinct()
    if distinct < count / 2:
        console.note(
            f"{count:,} rows hold {distinct:,} distinct ones: intervals draw equal rows together"
        )
    anomalies = int(labelled.is_anomaly.sum())
    if anomalies < FEW_ANOMALIES:
        console.warn(
            f"{counted(anomalies, 'anomaly')} to be found: the figures hang on so few, and "
            "intervals, which draw them again and again, are too narrow"
        )
    if report is not None:
        from anoean_cli.evaluation.report import evaluation, page

        content = evaluation.content(
            loaded, labelled, found, about, shell.command_line(), examples=examples
        )
        page.write_page(report, "evaluate.html", content, overwrite=force)
        console.note(f"report: {report}")
    if json:
        console.json({**about, **found})
        return
    _tell_of_no_width(found, labelled, console)
    console.table(["model", str(model)], _lines(about))
    console.data("")
    _show(console, found)


def _test_rows(
    model: Model, source: str | None, console: Console, details: bool
) -> tuple[Labelled, dict[str, Any], Examples | None]:
    """The rows that training set aside, scored, what a report says of their origin, and what
    fetches some of them once more."""
    from anoean_cli.commands.loading import load_again
    from anoean_cli.evaluation.examples import of_test_rows
    from anoean_cli.evaluation.run import rows_set_aside, score_test_rows

    rows_set_aside(model)  # to be told that there are none before any data is looked for
    dataset = load_again(model.config["dataset"], source, console)
    origin = _origin(dataset.name, dataset.provenance, model.config["notes"])
    return score_test_rows(model, dataset, details), origin, of_test_rows(model, dataset)


@shell.without_pandas()
def _given_rows(
    model: Model,
    data: str,
    label: str | None,
    normal: str | None,
    table: TableFlags,
    console: Console,
    details: bool,
) -> tuple[Labelled, dict[str, Any], Examples | None]:
    """The same for the rows of a file; those of a pipe cannot be fetched again."""
    from anoean_cli.commands.loading import are_of_training, origin_of
    from anoean_cli.data.inputs import STDIN, Reading, pieces
    from anoean_cli.data.labels import as_trained
    from anoean_cli.data.text import nulls_of
    from anoean_cli.evaluation.examples import of_pieces
    from anoean_cli.evaluation.run import score_pieces

    trained = model.config["dataset"]
    ending = trained.get("label_ending", "")
    reading = Reading(table.options(label, trained=trained), labels=True, label_ending=ending)

    def read() -> Iterator[Piece]:
        return pieces(data, model.expected, reading)

    scored = score_pieces(model, read(), details)
    nulls = nulls_of(reading.options)
    is_anomaly, known = as_trained(normal, model.config, scored.labels, data, nulls, console.warn)
    labelled = scored.labelled(is_anomaly, known)
    _warn_of_other_names(data, labelled, model.config["seen_types"], console)
    about = origin_of(data)
    if are_of_training(about["files"], model.config):
        remedy = (
            "without --data they are of the rows that training set aside"
            if len(model.split.get("test", ()))
            else "train with --test-size to set rows aside for them"
        )
        console.warn(
            f"{data}: the model learned from this file, so the figures are better than on new "
            f"rows; {remedy}"
        )
    is_pipe = data == STDIN or Path(data).is_fifo()
    return labelled, _origin(data, about), None if is_pipe else of_pieces(read, labelled)


def _warn_of_other_names(
    data: str, labelled: Labelled, seen: Sequence[str], console: Console
) -> None:
    """Types that go by other names than in training would all count as unseen."""
    from anoean_cli.data.labels import label_list, spelled

    anomalies = sorted(set(labelled.types[labelled.is_anomaly].tolist()))
    if seen and anomalies and not spelled(seen, anomalies):
        console.warn(
            f"{data}: none of its anomalies is of a type that training showed "
            f"({label_list(seen)}); its anomalies are: {label_list(anomalies)}"
        )


def _origin(name: str, provenance: Mapping[str, Any], notes: Sequence[str] = ()) -> dict[str, Any]:
    """Which data was used, the same in every report."""
    return {
        "data": name,
        "sample": bool(provenance.get("sample")),
        "source": provenance.get("source"),
        "files": provenance.get("files", {}),
        "notes": list(notes),
    }


def _lines(about: Mapping[str, Any]) -> list[list[str]]:
    from anoean_cli.commands.summary import data_text

    return [
        ["digest", about["model_digest"][:16]],
        ["data", data_text(about["data"], about)],
        *(["note", note] for note in about["notes"]),
    ]


def _show(console: Console, found: Mapping[str, Any]) -> None:
    from anoean_cli.evaluation.metrics import FIGURES, parts_of

    parts = parts_of(found)
    rows = [
        [name, *(_cell(part, name) for part in parts.values())] for name in FIGURES if name in found
    ]
    for name in ("n_normals", "n_anomalies"):
        rows.append([name, *(f"{part[name]:,}" for part in parts.values())])
    console.table(["figure", *parts], rows, numbers=True)


def _tell_of_no_width(found: Mapping[str, Any], labelled: Labelled, console: Console) -> None:
    """Figures that no resample of the rows changes look certain."""
    from anoean_cli.evaluation.metrics import FIGURES

    alike = [name for name in FIGURES if f"{name}_low" in found and _has_no_width(found, name)]
    if alike:
        fewest = labelled.fewest_distinct()
        console.note(
            f"{', '.join(alike)}: no resample differs, yet what befell none of {fewest:,} distinct "
            f"rows may befall {1 - UNLIKELY ** (1 / fewest):.1%} of new ones (95 %)"
        )


def _has_no_width(part: Mapping[str, float], name: str) -> bool:
    return math.isclose(part[f"{name}_low"], part[f"{name}_high"])


def _cell(part: Mapping[str, float], name: str) -> str:
    value = f"{part[name]:.4f}"
    if f"{name}_low" in part:
        value += f" ({part[f'{name}_low']:.4f} to {part[f'{name}_high']:.4f})"
    return value
