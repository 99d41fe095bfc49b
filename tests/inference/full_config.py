"""The JSON of a model, no more than a model file must hold."""

from dataclasses import asdict

from anoean_cli.inference.contents import ROLES
from anoean_cli.interfaces import TableOptions

READING = {
    name: list(value) if isinstance(value, tuple) else value
    for name, value in asdict(TableOptions(True, ",", null_values=("NA",), label="label")).items()
}
CONFIG = {
    "dataset": {
        "name": "table.csv",
        "label_ending": ".",
        "reload": {"plugin": "table", "source": "table.csv", "seed": 0, "reading": READING},
    },
    "normal": ["n"],
    "unlabeled": "drop",
    "split": {role: {"normals": 3, "anomalies": 0} for role in ROLES},
    "seen_types": ["bad"],
    "detector": {
        "name": "anoean",
        "preset": "default",
        "parameters": {},
        "metadata": {"epochs": 1, "interrupted": False},
    },
    "encoder": {"name": "mlp", "latent_dim": 2, "parameters": {}},
    "notes": ["few rows"],
    "versions": {"torch": "2.13.0"},
    "recalibration": {"data": "new.csv", "selection": 3, "calibration": 3},
}
