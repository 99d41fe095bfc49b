"""What the JSON of a model file must hold: no less than what is read of it anywhere."""

# No `from __future__ import annotations`: a TypedDict does not see NotRequired in a string.

from dataclasses import dataclass
from typing import Any, NotRequired, TypeAlias, TypedDict

from anoean_cli.choices import Covariance, Output, Unlabelled
from anoean_cli.examples import Drawing, TableOptions

ROLES = ("training", "selection", "calibration", "test")


class Reload(TypedDict):
    """What it takes to load the data again."""

    plugin: str
    source: str
    seed: int
    reading: TableOptions
    image_size: NotRequired[int | None]
    drawing: NotRequired[Drawing]


class Dataset(TypedDict):
    """What the model was trained on."""

    name: str
    files: NotRequired[dict[str, Any]]
    label_ending: NotRequired[str]
    resized: NotRequired[bool]
    reload: NotRequired[Reload]


class Size(TypedDict):
    """Rows of one role."""

    normals: int
    anomalies: int


class Sizes(TypedDict):
    """Rows of each role."""

    training: Size
    selection: Size
    calibration: Size
    test: Size


class Metadata(TypedDict):
    """What any detector tells of its training; plugins add to it."""

    epochs: int
    interrupted: bool


class Detector(TypedDict):
    """Who trained the model, and how."""

    name: str
    preset: str
    parameters: dict[str, Any]
    metadata: Metadata


class Encoder(TypedDict):
    """Of which plugin the encoder is."""

    name: str
    latent_dim: int
    parameters: dict[str, Any]


@dataclass
class Recalibration:
    """With what ``calibrate`` has replaced the references of training, in rows."""

    data: str
    selection: int
    calibration: int


class Config(TypedDict):
    """All that a model file tells in words: /config."""

    dataset: Dataset
    normal: list[str]
    unlabeled: NotRequired[Unlabelled]
    split: Sizes
    seen_types: list[str]
    detector: Detector
    encoder: Encoder | None
    notes: list[str]
    versions: NotRequired[dict[str, str]]
    recalibration: NotRequired[Recalibration]


class Rule(TypedDict):
    """How the threshold was chosen."""

    rule: str
    fpr: NotRequired[float]
    confidence: NotRequired[float]
    covariance: NotRequired[Covariance]


class Settings(TypedDict):
    """What calibration sets beside arrays."""

    threshold: float
    rule: Rule
    exact: bool
    output: Output


Timing: TypeAlias = dict[str, float]
