"""What is told of a model: after training and calibrating, and by ``info``."""

from __future__ import annotations

import json as json_module
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anoean_cli.console import Console
from anoean_cli.inference.contents import ROLES
from anoean_cli.inference.model import Model
from anoean_cli.wording import counted, some


def show_model(console: Console, model: Model, path: Path, as_json: bool) -> None:
    """Print a summary of a model on stdout."""
    about = summary(model, path)
    if as_json:
        console.json(about)
        return
    console.table(["model", str(path)], [[name, _cell(v)] for name, v in _lines(about)])


def summary(model: Model, path: Path) -> dict[str, Any]:
    """Everything worth knowing of a model, as JSON."""
    calibration = model.calibration
    history = {
        name: float(values[-1])
        for name, values in model.history.items()
        if len(values) and math.isfinite(values[-1])  # JSON knows no NaN and no ∞
    }
    return {
        "model": str(path),
        "digest": model.digest,
        **model.config,
        "output": model.output,
        "features": list(model.preprocessor.spec.shape),
        "columns": dict(model.schema.columns) if model.schema is not None else None,
        "doubtful": len(model.split.get("doubtful", ())),
        "calibration": {
            "rows": len(calibration.reference),
            "exact": calibration.exact,
            "threshold": calibration.threshold,
            "rule": dict(calibration.rule),
        },
        "last_epoch": history,
        "timing": dict(model.timing),
    }


def data_text(name: str, provenance: Mapping[str, Any]) -> str:
    """Which data a report is of: the full set, its sample, a file, or rows that were generated."""
    source = provenance.get("source")
    kind = source if source in ("file", "array", "generated") else "full"
    return f"{name} ({'sample' if provenance.get('sample') else kind})"


def _lines(about: dict[str, Any]) -> list[tuple[str, Any]]:
    data, detector, encoder = about["dataset"], about["detector"], about["encoder"]
    sizes = {
        role: f"{counted(about['split'][role]['normals'], 'normal')}, "
        f"{counted(about['split'][role]['anomalies'], 'anomaly')}"
        for role in ROLES
    }
    anew = dict(about.get("recalibration", {}))
    source = anew.pop("data", None)
    sizes |= {role: f"{counted(rows, 'normal')} of {source}" for role, rows in anew.items()}
    calibration = about["calibration"]
    lines = [
        ("data", data_text(data["name"], data)),
        ("normal", _normal(about)),
        ("anomalies seen", some(about["seen_types"]) or "none"),
        *sizes.items(),
        *_left_out(about["doubtful"]),
        ("detector", f"{detector['name']}, preset {detector['preset']}"),
    ]
    if encoder is not None:
        lines.append(("encoder", f"{encoder['name']}, {encoder['latent_dim']} dimensions"))
    best = detector["metadata"].get("best_epoch")
    if best is not None:
        lines.append(("epoch taken", f"{best} of {detector['metadata']['epochs']}"))
    rule = dict(calibration["rule"])
    lines += [
        ("threshold", f"{calibration['threshold']:.6g} by {rule.pop('rule')} ({_rule(rule)})"),
        (
            "p-values",
            f"{'exact' if calibration['exact'] else 'approximate'}, "
            f"from {counted(calibration['rows'], 'reference score')}"
            + (", of normals unlike those left out" if about["doubtful"] else ""),
        ),
        ("digest", about["digest"][:16]),
    ]
    if "fit_seconds" in about["timing"]:
        lines.append(("seconds", f"{about['timing']['fit_seconds']:.1f}"))
    return lines


def _left_out(doubtful: int) -> list[tuple[str, str]]:
    if doubtful == 0:
        return []
    return [("left out", f"{counted(doubtful, 'row')} labelled normal, like known anomalies")]


def _normal(about: Mapping[str, Any]) -> str:
    others = ["rows without a label"] if about.get("unlabeled") == "normal" else []
    return some([*about["normal"], *others])


def _rule(rule: dict[str, Any]) -> str:
    """The details of a rule in one order, whatever order a file has kept them in."""
    shown = {k: f"{v:.4g}" if isinstance(v, float) else str(v) for k, v in sorted(rule.items())}
    return ", ".join(f"{name} {value}" for name, value in shown.items())


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else json_module.dumps(value)
