"""Make the files of a folder such as v1/2026-11 with the program that is installed.

    python tests/compatibility/make.py tests/compatibility/v1/2026-11

Each folder in it gets a model, rows, and what the model says of them. Never make files anew that
stand there already: they are to be those of their time.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

TABLE = "--dataset train.csv --label label --normal ok --test-size 0"
IMAGES = "--dataset images --source train --image-size 16 --normal plain --test-size 0"
SMALL = "--epochs 1 --latent-dim 2 --set width=0.1"
MODELS = {
    "default": f"{TABLE} {SMALL}",
    "one-class": f"{TABLE} {SMALL} --anomaly-fraction 0",
    "dates": f"{TABLE} --detector gaussian --ignore size,weight",
    "forest-knn": f"{TABLE} --detector forest-knn --ignore at --set n_estimators=5",
    "images": f"{IMAGES} {SMALL}",
}
WITH_EMBEDDINGS = "default"
PREPARED = "dates"


def main() -> None:
    target = Path(sys.argv[1]).resolve()
    for name, options in MODELS.items():
        folder = target / name
        folder.mkdir(parents=True)
        with tempfile.TemporaryDirectory() as place:
            make(Path(place), folder, name, options)


def make(place: Path, folder: Path, name: str, options: str) -> None:
    if name == "images":
        write_images(place / "train", 110, seed=0)
        pixels = [image.ravel() for image, _ in images(12, seed=1)]
        rows = "".join(",".join(map(str, row)) + "\n" for row in pixels)
    else:
        (place / "train.csv").write_text(table(150, seed=0))
        rows = table(24, seed=1)
    (folder / "rows.csv").write_text(rows)
    anoean(place, f"train {options} -m {folder}/model.h5")
    more = "--embeddings embeddings.h5" if name == WITH_EMBEDDINGS else ""
    anoean(folder, f"score rows.csv -m model.h5 --out scores.csv {more}")
    if name == PREPARED:
        anoean(folder, "prepare rows.csv --label label --out prepared.h5")


def anoean(place: Path, line: str) -> None:
    command = [sys.executable, "-m", "anoean_cli", *line.split()]
    subprocess.run(command, cwd=place, check=True)


def table(count: int, seed: int) -> str:
    """Numbers, categories and dates, some missing; every tenth row is anomalous."""
    rng = np.random.default_rng(seed)
    lines = ["at,size,colour,weight,label"]
    for row in range(count):
        odd = row % 10 == 9
        hour = int(rng.integers(0, 5) if odd else rng.integers(9, 18))
        size = "" if row % 13 == 4 else f"{rng.normal(4 if odd else 0):.3f}"
        colour = "" if row % 17 == 6 else rng.choice(["red", "green"])
        day = f"2026-03-{1 + row % 28:02}T{hour:02}:{row % 60:02}:00"
        lines.append(f"{day},{size},{colour},{rng.normal():.3f},{'leak' if odd else 'ok'}")
    return "\n".join(lines) + "\n"


def images(count: int, seed: int) -> list[tuple[np.ndarray, str]]:
    """Noise of 16 x 16 grey values, and in every tenth one a bright square."""
    rng = np.random.default_rng(seed)
    found = []
    for at in range(count):
        image = rng.integers(0, 60, size=(16, 16), dtype=np.uint8)
        if at % 10 == 9:
            image[4:10, 4:10] += 150
        found.append((image, "square" if at % 10 == 9 else "plain"))
    return found


def write_images(folder: Path, count: int, seed: int) -> None:
    for at, (image, label) in enumerate(images(count, seed)):
        path = folder / label / f"{at}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)


if __name__ == "__main__":
    main()
