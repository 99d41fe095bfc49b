"""Write ten images, one of each digit, that a MNIST model was not trained on.

python benchmarks/demo_images.py demo/digit-3.h5 demo/images
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from anoean_cli import load_model
from anoean_cli.commands.loading import load_dataset
from anoean_cli.console import Console
from anoean_cli.interfaces import TableOptions


def main(model_path: str, folder: str) -> None:
    model = load_model(model_path)
    source = "sample" if model.config["dataset"]["sample"] else "auto"
    digits = load_dataset("mnist", source, TableOptions(), Console())
    used = np.concatenate([model.split[r] for r in ("training", "selection", "calibration")])
    unused = np.setdiff1d(np.arange(len(digits.labels)), used)
    Path(folder).mkdir(parents=True, exist_ok=True)
    for label in np.unique(digits.labels):
        row = unused[digits.labels[unused] == label][0]
        Image.fromarray(digits.examples[row, 0]).save(Path(folder) / f"digit-{label}.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
