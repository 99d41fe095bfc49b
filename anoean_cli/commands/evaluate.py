"""``anoean evaluate``: figures on labelled rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anoean_cli.commands import options
from anoean_cli.commands.options import TableFlags
from anoean_cli.console import Console

if TYPE_CHECKING:
    from anoean_cli.evaluation.run import Labelled
    from anoean_cli.inference.model import Model

FIGURES = (
    "auc_pr",
    "auc_pr_trapezoid",
    "roc_auc",
    "f1_best",
    "accuracy_at_f1_best",
    "recall_at_fpr_0.01",
    "threshold",
    "precision",
    "recall",
    "f1",
    "accuracy",
    "fpr",
)


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
    json: options.AsJson = False,
) -> None:
    """Print a model's figures, with 95 % intervals, on labelled rows."""
    from anoean_cli.evaluation.run import figures
    from anoean_cli.inference.model import load_model

    loaded = load_model(model)
    labelled = (
        _test_rows(loaded, source, console)
        if data is None
        else _given_rows(loaded, data, label, normal, table)
    )
    found = figures(loaded, labelled)
    if json:
        about = loaded.config["dataset"]
        origin = {
            "data": data or about["name"],
            "sample": bool(about.get("sample")) if data is None else False,
        }
        console.json({"model": str(model), **origin, **found})
        return
    _show(console, found)


def _test_rows(model: Model, source: str | None, console: Console) -> Labelled:
    from anoean_cli.commands.loading import load_dataset
    from anoean_cli.evaluation.run import score_test_rows
    from anoean_cli.interfaces import TableOptions

    about = model.config["dataset"]
    reading = about.get("reading")
    if reading is not None:  # a table of the user's
        as_tuples: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in reading.items()
        }
        path = source or about["path"]
        dataset = load_dataset(path, "auto", TableOptions(**as_tuples), console)
    else:
        where = source or ("sample" if about.get("sample") else "auto")
        dataset = load_dataset(
            about["name"], where, TableOptions(), console, seed=model.config["seed"]
        )
    return score_test_rows(model, dataset)


def _given_rows(
    model: Model, data: str, label: str | None, normal: str | None, table: TableFlags
) -> Labelled:
    from anoean_cli.data.inputs import Expected, Reading, pieces
    from anoean_cli.data.labels import among, normal_labels
    from anoean_cli.data.text import nulls_of
    from anoean_cli.evaluation.run import Labelled, score_pieces

    reading = Reading(table.options(label), labels=True)
    expected = Expected(model.preprocessor.spec, model.schema)
    scores, labels = score_pieces(model, pieces(data, expected, reading))
    nulls = nulls_of(reading.options)
    normals = normal_labels(normal, model.config["normal"], labels, data, nulls)
    return Labelled(scores, ~among(labels, normals), labels)


def _show(console: Console, found: Mapping[str, Any]) -> None:
    parts = {"all": found} | {
        name: found[name] for name in ("seen", "unseen", "with_duplicates") if name in found
    }
    rows = [
        [name, *(_cell(part, name) for part in parts.values())] for name in FIGURES if name in found
    ]
    for name in ("n_normals", "n_anomalies"):
        rows.append([name, *(f"{part[name]:,}" for part in parts.values())])
    console.table("", ["figure", *parts], rows)


def _cell(part: Mapping[str, float], name: str) -> str:
    value = f"{part[name]:.4f}"
    if f"{name}_low" in part:
        value += f" ({part[f'{name}_low']:.4f} to {part[f'{name}_high']:.4f})"
    return value
