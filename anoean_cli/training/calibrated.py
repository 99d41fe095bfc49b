"""From what a detector has fitted to a model: the Gaussian, reference scores, a threshold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anoean_cli import registry
from anoean_cli.calibration.gaussian import fitting_estimator
from anoean_cli.data.splits import Split
from anoean_cli.errors import PluginError, TrainingError
from anoean_cli.examples import differ
from anoean_cli.inference.contents import ROLES
from anoean_cli.inference.model import KeptRows, Model, as_columns, raw_scores
from anoean_cli.inference.recalibration import by_rate, gaussian_and_references
from anoean_cli.inference.runner import GraphRunner, PluginRunner, Runner
from anoean_cli.interfaces import ExampleSpec, Fitted, FloatRows, Rows
from anoean_cli.training.contract import check_held_out, try_graph
from anoean_cli.training.preparation import Prepared
from anoean_cli.training.request import TrainRequest


def calibrated_model(
    fitted: Fitted, prepared: Prepared, request: TrainRequest, warn: Callable[[str], None]
) -> Model:
    """Score with what was fitted: μ, Σ from selection normals, references from calibration."""
    split = prepared.split
    runner = _runner(fitted, request.detector, prepared.preprocessor.spec)
    rows = prepared.rows(split.selection)
    if isinstance(runner, GraphRunner):
        try_graph(runner, rows.examples, fitted.output)
    selection = _selection(fitted, prepared, rows, runner)
    normals = selection.output[~selection.is_anomaly]
    kept = {"selection": selection}
    if len(split.calibration):
        kept["calibration"] = _kept(
            prepared, prepared.rows(split.calibration), split.calibration, runner
        )
    calibration, gaussian = kept.get("calibration"), None
    about: dict[str, Any] = {}
    if fitted.output == "embedding":
        estimator = request.covariance or _chosen_estimator(normals, fitted, warn)
        about = {"covariance": estimator}
        equal = estimator == "spherical" and not differ(rows.normals)
        gaussian, reference = gaussian_and_references(
            normals, calibration, estimator, may_coincide=equal
        )
    elif calibration is not None:
        reference = raw_scores(calibration.output, None)
    else:
        reference = raw_scores(normals, None)
        if np.isin(split.selection, split.training).any():
            warn(
                f"p-values go by scores of rows that {request.detector} has learned from: of new "
                "normals far more may be flagged; give 30 normals, or take the detector anoean"
            )
    scores = raw_scores(selection.output, gaussian)
    if len(np.unique(scores)) == 1 and differ(rows.examples):
        raise TrainingError(_collapse(request.detector, scores, bool(fitted.history)))
    return Model(
        config={},
        schema=prepared.schema,
        preprocessor=prepared.preprocessor,
        graph=fitted.graph,
        output=fitted.output,
        gaussian=gaussian,
        calibration=by_rate(np.sort(reference), "calibration" in kept, **about),
        kept=kept,
        split=_positions(split),
        typical=_typical(rows, scores),
        arrays=fitted.arrays,
        weights=fitted.weights,
        history=_columns(fitted.history),
    )


def _selection(fitted: Fitted, prepared: Prepared, rows: Rows, runner: Runner) -> KeptRows:
    """What the selection rows get; its normals as they would, had nobody learnt from them."""
    kept = _kept(prepared, rows, prepared.split.selection, runner)
    if fitted.held_out is None:
        return kept
    normal = ~kept.is_anomaly
    check_held_out(fitted.held_out, kept.output[normal])
    output = kept.output.copy()
    output[normal] = fitted.held_out
    return kept._replace(output=output)


def _runner(fitted: Fitted, detector: str, spec: ExampleSpec) -> Runner:
    if fitted.graph is not None:
        return GraphRunner(fitted.graph, spec)
    if fitted.output != "score" or not getattr(
        registry.get("detectors", detector), "needs_plugin", False
    ):
        raise PluginError(f"detector plugin {detector!r} breaks its contract: it gives no graph")
    return PluginRunner(detector, fitted.arrays, spec)


def _kept(prepared: Prepared, rows: Rows, positions: NDArray[np.int64], runner: Runner) -> KeptRows:
    return KeptRows(
        as_columns(runner(rows.examples)),
        prepared.dataset.labels[positions].tolist(),
        rows.is_anomaly,
        positions,
    )


def _chosen_estimator(
    normals: NDArray[np.float32], fitted: Fitted, warn: Callable[[str], None]
) -> str:
    estimator = fitting_estimator(normals, fitted.covariance)
    if estimator != fitted.covariance:
        rows, dimensions = normals.shape
        warn(
            f"{rows} normals for a covariance in {dimensions} dimensions: "
            f"it is shrunk ({estimator})"
        )
    return estimator


def _collapse(detector: str, scores: NDArray[np.float64], learns_in_steps: bool) -> str:
    what = f"all {len(scores)} selection rows get the score {scores[0]:g}"
    if learns_in_steps:
        return f"training collapsed: {what}; try another seed or a smaller learning rate"
    return f"{detector} cannot tell these rows apart: {what}; take another detector"


def _positions(split: Split) -> dict[str, NDArray[np.int64]]:
    positions = {role: getattr(split, role) for role in ROLES}
    if split.multiplicity is not None:
        positions["test_multiplicity"] = split.multiplicity[split.test]
    if len(split.doubtful):
        positions["doubtful"] = split.doubtful
    return positions


def _typical(selection: Rows, scores: NDArray[np.float64]) -> FloatRows:
    """The normal that is least anomalous, which explanations start from."""
    normals = np.flatnonzero(~selection.is_anomaly)
    row: FloatRows = selection.examples[normals[np.argmin(scores[normals])]].copy()
    return row


def _columns(history: Any) -> dict[str, NDArray[np.float64]]:
    names = sorted({name for record in history for name in record})
    return {n: np.array([record.get(n, np.nan) for record in history]) for n in names}
