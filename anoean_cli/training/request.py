"""What is asked for of a training: a detector, its encoder, and the parameters of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from anoean_cli import environment, parameters, registry
from anoean_cli.choices import COVARIANCES
from anoean_cli.data.preprocessing import Preprocessor
from anoean_cli.data.splits import SplitRequest
from anoean_cli.errors import SettingError, UsageError, blaming
from anoean_cli.interfaces import DetectorPlugin, Encoder, Kind
from anoean_cli.training.mislabelled import is_asked_for

DEFAULT_ENCODERS: dict[Kind, str] = {"image": "conv", "table": "mlp"}
LARGEST_LATENT_DIM = 32  # unless a wider one is asked for
WIDEST_LATENT_DIM = 4096


@dataclass(frozen=True)
class TrainRequest:
    """What to train, besides the data.

    Attributes:
        split: which rows play which role.
        detector, encoder: plugin names; None: conv for images, mlp for tables.
        preset: of the detector.
        settings: parameters by name, ``detector.`` or ``encoder.`` before them where both have
            one of that name.
        latent_dim: of the decision space, or of the detector's own latent space where it takes
            no encoder; None: 32, or the number of features besides bins where smaller, but two at
            least.
        covariance: estimator of Σ; None: what the detector finds fitting.
        seed: of everything random.
        threads: of each library; None: for images all cores that are this process's, one for
            tables, whose networks are too small to share.
    """

    split: SplitRequest
    detector: str = "anoean"
    encoder: str | None = None
    preset: str = "default"
    settings: Mapping[str, Any] = field(default_factory=dict)
    latent_dim: int | None = None
    covariance: str | None = None
    seed: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        """Raises UsageError for what no data would make right."""
        if self.covariance not in (None, *COVARIANCES):
            raise UsageError(
                f"no covariance {self.covariance!r}: choose from {', '.join(COVARIANCES)}"
            )
        latent_dim: Any = self.latent_dim
        if latent_dim is not None and not (
            isinstance(latent_dim, int | np.integer) and 1 <= latent_dim <= WIDEST_LATENT_DIM
        ):
            raise UsageError(
                f"latent_dim is {latent_dim!r}; a whole number from 1 to {WIDEST_LATENT_DIM} "
                "is needed"
            )


def encoder_for(detector: DetectorPlugin, asked: str | None, kind: Kind) -> str | None:
    """The name of the encoder that a detector gets for rows of that kind, if it takes one."""
    if not detector.uses_encoder:
        if asked is not None:
            raise SettingError(
                f"the detector {detector.name} takes no encoder: "
                "leave it out, or take a detector that does, such as anoean",
                "encoder",
            )
        return None
    return asked or DEFAULT_ENCODERS[kind]


def parameter_names(detector: DetectorPlugin, encoder: str | None) -> tuple[set[str], set[str]]:
    """The names of the parameters of a detector and of its encoder."""
    of_encoder: set[str] = set()
    if encoder is not None:
        plugin = registry.get("encoders", encoder)
        of_encoder = {entry["name"] for entry in parameters.describe(plugin.Parameters)}
    return {entry["name"] for entry in parameters.describe(detector.Parameters)}, of_encoder


def resolved(request: TrainRequest, kind: Kind) -> dict[str, dict[str, Any] | None]:
    """Every parameter of the detector and of its encoder (None where it takes none), by owner.

    Raises:
        UsageError: settings that they do not take, whatever the rows.
    """
    detector: DetectorPlugin = registry.get("detectors", request.detector)
    encoder = encoder_for(detector, request.encoder, kind)
    of_detector, of_encoder = parameters_of(request, detector, encoder)
    return {
        "detector": vars(of_detector),
        "encoder": None if encoder is None else {"name": encoder, **vars(of_encoder)},
    }


def filters_labels(request: TrainRequest, kind: Kind) -> bool:
    """Whether normals that look like known anomalies would be left out, where rows are enough.

    Raises:
        UsageError: settings that the detector and its encoder do not take.
    """
    detector: DetectorPlugin = registry.get("detectors", request.detector)
    of_detector, _ = parameters_of(request, detector, encoder_for(detector, request.encoder, kind))
    knows_anomalies = request.split.apportionment.anomaly_fraction != 0
    return knows_anomalies and is_asked_for(detector, of_detector, kind)


def parameters_of(
    request: TrainRequest, detector: DetectorPlugin, encoder: str | None
) -> tuple[Any, Any]:
    """The parameters of both, as what their plugins declare; None for no encoder."""
    of_detector, of_encoder = _sort_settings(request, detector, encoder)
    own = parameters.build(f"detector {detector.name}", detector.Parameters, of_detector)
    if encoder is None:
        return own, None
    plugin = registry.get("encoders", encoder)
    return own, parameters.build(f"encoder {encoder}", plugin.Parameters, of_encoder)


def _sort_settings(
    request: TrainRequest, detector: DetectorPlugin, encoder_name: str | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters of the detector and of the encoder, the preset's before the user's."""
    if request.preset not in detector.presets:
        raise UsageError(
            f"the detector {detector.name} has no preset {request.preset!r}; "
            f"it has: {', '.join(detector.presets)}"
        )
    of_detector, of_encoder = parameter_names(detector, encoder_name)
    sorted_settings: dict[str, dict[str, Any]] = {
        "detector": dict(detector.presets[request.preset]),
        "encoder": _encoder_preset(encoder_name, request.preset),
    }
    for name in ("covariance", "latent_dim"):
        if getattr(request, name) is not None and {name, f"detector.{name}"} & {*request.settings}:
            flag = name.replace("_", "-")
            raise SettingError(f"--set {name}= and --{flag} say the same: give one", name)
    if request.covariance is not None and "covariance" in of_detector:
        sorted_settings["detector"]["covariance"] = request.covariance
    if request.latent_dim is not None and encoder_name is None:
        if "latent_dim" not in of_detector:
            raise SettingError(
                f"the detector {detector.name} takes no latent_dim: "
                "leave it out, or take a detector that does, such as anoean",
                "latent_dim",
            )
        sorted_settings["detector"]["latent_dim"] = request.latent_dim
    for key, value in request.settings.items():
        owner, dot, name = key.partition(".")
        if dot and owner in sorted_settings:
            sorted_settings[owner][name] = value
        elif key in of_detector and key in of_encoder:
            raise SettingError(
                f"{key} is a parameter of both: write detector.{key} or encoder.{key}", key
            )
        elif key in of_detector or key in of_encoder:
            sorted_settings["detector" if key in of_detector else "encoder"][key] = value
        else:
            known = ", ".join(sorted(of_detector | of_encoder)) or "none"
            raise SettingError(
                f"{request.detector} and its encoder have no parameter {key!r}; they have: {known}",
                key,
            )
    return sorted_settings["detector"], sorted_settings["encoder"]


def _encoder_preset(name: str | None, preset: str) -> dict[str, Any]:
    """What an encoder has set for a preset; encoders need not have any."""
    if name is None:
        return {}
    return dict(getattr(registry.get("encoders", name), "presets", {}).get(preset, {}))


def encoder_of(
    name: str | None, built: Any, preprocessor: Preprocessor, request: TrainRequest
) -> Encoder | None:
    """What a detector gets to build its encoder with; None where it takes none.

    Raises:
        UsageError: the plugin does not take rows of that shape.
    """
    if name is None:
        return None
    spec = preprocessor.spec
    plugin = registry.get("encoders", name)
    with blaming(f"encoder plugin {name!r}"):
        is_supported = plugin.supports(spec)
    if not is_supported:
        raise UsageError(
            f"the encoder {name} does not take {spec.kind} rows of shape {spec.shape}; "
            "anoean plugins shows the encoders"
        )
    narrow = min(LARGEST_LATENT_DIM, max(2, len(preprocessor.spec.plain)))
    latent_dim = int(request.latent_dim or narrow)
    return Encoder(plugin, spec, latent_dim, built)


def threads_of(request: TrainRequest, kind: Kind) -> int:
    """How many threads each library may have."""
    return request.threads or (environment.own_cores() if kind == "image" else 1)
