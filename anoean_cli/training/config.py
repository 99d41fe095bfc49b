"""The configuration of a training: all that determines its model, as JSON.

A model keeps it, and a checkpoint is resumed under the same one only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from anoean_cli.data.content import digest_of_rows, without_places
from anoean_cli.data.splits import Split
from anoean_cli.inference.contents import ROLES
from anoean_cli.interfaces import Dataset, DetectorPlugin, Encoder
from anoean_cli.training.request import TrainRequest, threads_of

LIBRARIES = ("anoean", "torch", "numpy", "scikit-learn", "onnxruntime")


def config_of(
    dataset: Dataset,
    request: TrainRequest,
    split: Split,
    detector: DetectorPlugin,
    detector_parameters: Any,
    encoder: Encoder | None,
) -> dict[str, Any]:
    """All that determines the model, as JSON; a run may be resumed under the same one only."""
    sizes = {
        role: {
            "normals": int((~split.is_anomaly[getattr(split, role)]).sum()),
            "anomalies": int(split.is_anomaly[getattr(split, role)].sum()),
        }
        for role in ROLES
    }
    return {
        "dataset": {
            **dataset.provenance,
            "name": dataset.name,
            "kind": dataset.kind,
            "content": digest_of_rows(dataset),
        },
        "normal": list(request.split.normal),
        "scheme": request.split.scheme,
        "unlabeled": request.split.unlabeled,
        "apportionment": {k: _whole(v) for k, v in vars(request.split.apportionment).items()},
        "split": sizes,
        "seen_types": list(split.seen),
        "detector": {
            "name": detector.name,
            "preset": request.preset,
            "parameters": vars(detector_parameters),
        },
        "encoder": None
        if encoder is None
        else {
            "name": encoder.plugin.name,
            "latent_dim": encoder.latent_dim,
            "parameters": vars(encoder.parameters),
        },
        "covariance": request.covariance,
        "seed": request.seed,
        "threads": threads_of(request, dataset.kind),
        "notes": list(split.notes),
        "versions": {name: _version(name) for name in LIBRARIES},
    }


def differing(asked: Mapping[str, Any], stored: Mapping[str, Any]) -> list[str]:
    """The keys and parameters of which a stored configuration says something else."""
    asked, stored = _essential(_as_json(asked)), _essential(stored)
    return [key for key in asked if stored.get(key) != asked[key]]


def _essential(config: Mapping[str, Any]) -> dict[str, Any]:
    """Each parameter by a key of its own, and without where the data was found, what it is being
    said by its checksums, and what was told of it, in words that may change."""
    essential = {**config, "dataset": without_places(config["dataset"])}
    essential.pop("notes", None)
    for owner in ("detector", "encoder"):
        part = dict(config.get(owner) or {})
        for name, value in part.pop("parameters", {}).items():
            essential[f"{owner}.{name}"] = value
        essential[owner] = part
    return essential


def _whole(value: Any) -> Any:
    """250.0 → 250: a size is the same however it was given, and so is the digest."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"
