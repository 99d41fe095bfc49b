"""``anoean calibrate``: a new threshold, or a new Gaussian and reference scores as well."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from anoean_cli.commands import options
from anoean_cli.commands.options import TableFlags
from anoean_cli.console import Console

if TYPE_CHECKING:
    from anoean_cli.inference.model import Model
    from anoean_cli.inference.recalibration import Observed


def run(
    console: Console,
    table: TableFlags,
    model: options.Model = options.DEFAULT_MODEL,
    data: Annotated[
        str | None, typer.Option(metavar="FILE", help="New rows to calibrate with.")
    ] = None,
    label: options.Label = None,
    normal: options.Normal = None,
    fpr: Annotated[float | None, typer.Option(help="The rate of false positives.")] = None,
    contamination: Annotated[
        float | None, typer.Option(help="The share of anomalies in an unlabelled --data.")
    ] = None,
    maximize_f1: Annotated[
        bool, typer.Option("--maximize-f1", help="The best F1 on labelled --data.")
    ] = False,
    threshold: Annotated[float | None, typer.Option(help="The threshold itself.")] = None,
    covariance: Annotated[
        Literal["empirical", "ledoit-wolf", "mcd"] | None,
        typer.Option(help="Estimator of the covariance of normal embeddings."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="By default the model is replaced.")
    ] = None,
    force: options.Force = False,
    json: options.AsJson = False,
) -> None:
    """Choose the threshold anew; with --data also renew the Gaussian and reference scores."""
    from dataclasses import replace

    from anoean_cli.commands.summary import show_model
    from anoean_cli.inference.model import load_model
    from anoean_cli.inference.recalibration import Rule, recalibrated
    from anoean_cli.storage.atomic import check_writable

    rule = Rule(fpr, contamination, maximize_f1, threshold)
    target = out or model
    # The model itself is there to be replaced; another file is not.
    force = force or target == model
    loaded = load_model(model)
    check_writable(target, force=force)
    observed = None
    if data is not None:
        is_mixture = contamination is not None and label is None
        observed = _observed(loaded, data, label, normal, table, is_mixture)
    renewed = recalibrated(loaded, observed, rule, covariance, console.warn)
    digest = renewed.save(target, overwrite=force)
    show_model(console, replace(renewed, digest=digest), target, json)


def _observed(
    model: Model,
    data: str,
    label: str | None,
    normal: str | None,
    table: TableFlags,
    is_mixture: bool,
) -> Observed:
    """What the graph gives for the rows of a file; without labels all of them are normal."""
    import numpy as np

    from anoean_cli.data.inputs import Expected, Reading, pieces
    from anoean_cli.errors import DataError
    from anoean_cli.inference.recalibration import Observed

    is_labelled = not is_mixture and (label is not None or normal is not None)
    expected = Expected(model.preprocessor.spec, model.schema)
    ending = model.config["dataset"].get("label_ending", "")
    reading = Reading(table.options(label), labels=is_labelled, label_ending=ending)
    outputs, labels = [], []
    for piece in pieces(data, expected, reading):
        outputs.append(model.score(piece.examples).output)
        labels += piece.labels or []
    output = np.concatenate(outputs)
    if not is_labelled:
        return Observed(output, None)
    names = np.array(labels)
    known = names != ""
    wanted = options.listed(normal) or tuple(model.config["normal"])
    is_anomaly = ~np.isin(names, wanted)
    if is_anomaly.all():
        raise DataError(f"{data}: no row has a label among {', '.join(wanted)} (--normal)")
    return Observed(output[known], is_anomaly[known])
