"""``anoean calibrate``: a new threshold, or a new Gaussian and reference scores as well."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anoean_cli.choices import Covariance
from anoean_cli.commands import options, shell
from anoean_cli.commands.options import TableFlags
from anoean_cli.console import Console
from anoean_cli.wording import counted

if TYPE_CHECKING:
    from anoean_cli.inference.model import Model
    from anoean_cli.inference.recalibration import Observed


@shell.without_pandas()
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
    confidence: Annotated[
        float | None,
        typer.Option(
            help="Keep the rate in this calibration with that probability, not on average."
        ),
    ] = None,
    contamination: Annotated[
        float | None, typer.Option(help="The share of anomalies in an unlabelled --data.")
    ] = None,
    maximize_f1: Annotated[
        bool, options.flag("--maximize-f1", help="The best F1 on labelled --data.")
    ] = False,
    threshold: Annotated[float | None, typer.Option(help="The threshold itself.")] = None,
    covariance: Annotated[
        Covariance | None,
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
    from anoean_cli.commands.targets import check_outputs
    from anoean_cli.inference.model import load_model
    from anoean_cli.inference.recalibration import Rule, recalibrated
    from anoean_cli.storage.atomic import identity
    from anoean_cli.storage.claims import claimed

    rule = Rule(fpr, contamination, maximize_f1, threshold, confidence)
    target = out or model
    # The model itself is there to be replaced; another file is not.
    force = force or target == model
    before = identity(target)
    loaded = load_model(model)
    inputs = [] if data is None else [("--data", data)]
    check_outputs({"--out" if out else "--model": target}, inputs, force)
    observed = None
    if data is None:
        table.refuse_without_data(label=label, normal=normal)
    else:
        is_mixture = contamination is not None
        observed = _observed(loaded, data, label, normal, table, is_mixture, console)
        console.note(_described(observed))
        if not observed.are_new:
            console.warn(
                f"{data}: the model learned from this file, and new rows score otherwise: "
                "p-values are approximate; calibrate with rows that it has not seen"
            )
    with claimed(target, before) as check_unchanged:
        renewed = recalibrated(loaded, observed, rule, covariance, console.warn)
        _warn_of_rate(loaded, renewed, console)
        check_unchanged()
        digest = renewed.save(target, overwrite=force)
    show_model(console, replace(renewed, digest=digest), target, json)


def _warn_of_rate(before: Model, after: Model, console: Console) -> None:
    """Few rows have no fine rate; who relied on the default is not to get a coarser one unaware."""
    from anoean_cli.calibration.conformal import default_rate

    usual, rate = (
        default_rate(len(each.calibration.reference), each.calibration.rule.get("confidence"))
        for each in (before, after)
    )
    rates = [each.calibration.rule.get("fpr") for each in (before, after)]
    if rates == [usual, rate] and rate > usual:
        count = counted(len(after.calibration.reference), "calibration row")
        console.warn(
            f"{count} can give no finer rate of false positives than {rate:.2%}, which it is now "
            f"({usual:.2%} before); give more normal rows"
        )


def _observed(
    model: Model,
    data: str,
    label: str | None,
    normal: str | None,
    table: TableFlags,
    is_mixture: bool,
    console: Console,
) -> Observed:
    """What the graph gives for the rows of a file.

    Labels are those of the column that is named, or of the model's where the file has it; without
    any all rows are normal, or of a mixture nothing is known. Rows without a label among others
    are what they were in training. What normals lack is usual from then on, not what anomalies do.
    """
    from collections import defaultdict

    import numpy as np

    from anoean_cli.commands.loading import are_of_training, origin_of
    from anoean_cli.data.inputs import Reading, pieces
    from anoean_cli.data.labels import as_trained
    from anoean_cli.data.preprocessing import Census
    from anoean_cli.data.text import nulls_of
    from anoean_cli.examples import rows_at
    from anoean_cli.inference.recalibration import Observed

    is_labelled = label is not None or normal is not None
    reading = Reading(
        table.options(label, trained=model.config["dataset"]),
        labels=is_labelled,
        seek_labels=not is_mixture,
        label_ending=model.config["dataset"].get("label_ending", ""),
    )
    censuses: defaultdict[str, Census] = defaultdict(Census)
    outputs = []
    labels: list[str] = []
    for piece in pieces(data, model.expected, reading):
        if not piece.labels:
            outputs.append(model.score(piece.examples, censuses[""]).output)
            continue
        outputs.append(model.score(piece.examples).output)
        own = np.array(piece.labels)
        for each in dict.fromkeys(piece.labels):  # which ones are normal is known once all are
            of_label = rows_at(piece.examples, np.flatnonzero(own == each))
            for _ in model.preprocessed(of_label, censuses[each]):
                pass  # counted
        labels += piece.labels
    output = np.concatenate(outputs)
    are_new = not are_of_training(origin_of(data)["files"], model.config)
    if not is_labelled and not any(labels):
        return Observed(output, None, data, are_new, censuses[""])
    nulls = nulls_of(reading.options)
    is_anomaly, known = as_trained(normal, model.config, labels, data, nulls, console.warn)
    usual = Census()
    for each in np.unique(np.array(labels)[known & ~is_anomaly]).tolist():
        usual.merge(censuses[each])
    return Observed(output[known], is_anomaly[known], data, are_new, usual)


def _described(observed: Observed) -> str:
    rows, flags = len(observed.output), observed.is_anomaly
    if flags is None:
        return f"{observed.source}: {counted(rows, 'row')}, no labels looked at"
    anomalies = int(flags.sum())
    normals, others = counted(rows - anomalies, "normal"), counted(anomalies, "anomaly")
    return f"{observed.source}: {normals} and {others} by label"
