"""The tool as a user runs it: a process of its own, on real files.

Training costs seconds, so a few small models are trained once for all workers of a run; tests
that change one work on a copy.
"""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import warm

COMMAND = [sys.executable, "-m", "anoean_cli"]
WARM = ("train", "compare", "evaluate", "export")
HEADER = ("id", "size", "weight", "colour", "same", "label")


@dataclass(frozen=True)
class Result:
    returncode: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)

    @property
    def rows(self) -> list[dict[str, str]]:
        """The lines of a CSV on stdout."""
        return read_rows(self.stdout)

    @property
    def error(self) -> str:
        """The one line that tells of a failure."""
        errors = [line for line in self.stderr.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, self.stderr
        assert self.stderr.rstrip().endswith(errors[0]), "something follows the error"
        assert "Traceback" not in self.stderr
        return errors[0]


Run = Callable[..., Result]


def read_rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def environment(cache: Path, extra: dict[str, str] | None = None) -> dict[str, str]:
    """Ours without what would leak in from whoever runs the suite."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ANOEAN_")}
    more = dict(extra or {})
    if "PYTHONPATH" in more and "PYTHONPATH" in clean:
        more["PYTHONPATH"] += os.pathsep + clean["PYTHONPATH"]
    return {**clean, "ANOEAN_THREADS": "1", "ANOEAN_CACHE": str(cache), **more}


def words(args: Sequence[object]) -> list[str]:
    """Arguments, of which a string may hold several, as at a shell."""
    return [word for arg in args for word in shlex.split(str(arg))]


def run_anoean(
    *args: object,
    cwd: Path,
    cache: Path,
    input: str | bytes | None = None,
    env: dict[str, str] | None = None,
    cold: bool = False,
    **how: Any,
) -> Result:
    """What a command did; those that load libraries of training find them loaded unless cold."""
    data, given = input.encode() if isinstance(input, str) else input, words(args)
    if given[0] in WARM and not {"--jobs", "--scheduler"} & {*given} and not how and not cold:
        status, *printed = warm.run(given, cwd, environment(cache, env), data, timeout=600)
        return Result(status, *(text.decode() for text in printed))
    done = subprocess.run(
        [*COMMAND, *given],
        cwd=cwd,
        env=environment(cache, env),
        capture_output=True,
        timeout=600,
        check=False,
        **({"stdin": subprocess.DEVNULL} if data is None else {"input": data}),
        **how,
    )
    return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture
def anoean(tmp_path: Path) -> Run:
    """Runs ``anoean`` in an empty folder that is the current one of the test as well."""

    def run(*args: object, cwd: Path = tmp_path, **how: Any) -> Result:
        return run_anoean(*args, cwd=cwd, cache=tmp_path / "cache", **how)

    return run


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# --------------------------------------------------------------------------- data


def table_rows(count: int, seed: int) -> list[list[str]]:
    """Normals (``ok``) and, in every eighth row, one of two kinds of anomaly far from them."""
    rng = np.random.default_rng(seed)
    rows = []
    for at in range(count):
        anomaly = at % 8 == 7
        size = "" if at % 23 == 5 else repr(float(rng.normal(6.0 if anomaly else 0.0)))
        colour = "NA" if at % 31 == 3 else str(rng.choice(["red", "green"]))
        label = ("leak" if at % 16 == 7 else "burst") if anomaly else "ok"
        rows.append([f"r{at}", size, f"{rng.normal():.3f}", colour, "k", label])
    return rows


def write_csv(path: Path, rows: Sequence[Sequence[object]], header: Sequence[str] = HEADER) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows] if header else rows)
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """The rows that the table model was trained from, as ``table.csv``."""
    return write_csv(tmp_path / "table.csv", table_rows(400, seed=1))


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """Other rows of the same kind, as ``fresh.csv``."""
    return write_csv(tmp_path / "fresh.csv", table_rows(160, seed=2))


# --------------------------------------------------------------------------- models


Shared = Callable[[str, Callable[[Path], None]], Path]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """Makes a folder once for all workers of a run."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def make(name: str, fill: Callable[[Path], None]) -> Path:
        folder = base / f"shared-{name}"
        with (base / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / "done").exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                fill(folder)
                (folder / "done").touch()
        return folder

    return make


def trained(*args: object) -> Callable[[Path], None]:
    def fill(folder: Path) -> None:
        done = run_anoean("train", "-m", "model.h5", *args, cwd=folder, cache=folder / "cache")
        assert done.returncode == 0, done.stderr
        (folder / "summary.txt").write_text(done.stdout)
        (folder / "notes.txt").write_text(done.stderr)

    return fill


@pytest.fixture(scope="session")
def table_run(shared: Shared) -> Path:
    """Folder of a model of ``table.csv``: numbers, categories, missing values, test rows."""

    def fill(folder: Path) -> None:
        write_csv(folder / "table.csv", table_rows(400, seed=1))
        options = "--label label --normal ok --test-size 0.25 --epochs 4"
        trained("--dataset table.csv", options)(folder)

    return shared("table", fill)


@pytest.fixture(scope="session")
def toy_run(shared: Shared) -> Path:
    return shared("toy", trained("--dataset toy --epochs 3 --json"))


@pytest.fixture(scope="session")
def image_run(shared: Shared) -> Path:
    sizes = "--train-size 300 --test-size 100 --epochs 2 --set width=0.1 --latent-dim 8"
    return shared(
        "image",
        trained(f"--dataset mnist --source sample --normal 3 {sizes} --json"),
    )


def copied(folder: Path, tmp_path: Path, name: str) -> Path:
    return Path(shutil.copy(folder / "model.h5", tmp_path / name))


@pytest.fixture
def model(table_run: Path, tmp_path: Path) -> Path:
    """A copy of the table model under the default name, so that no ``--model`` is needed."""
    return copied(table_run, tmp_path, "anoean.h5")


@pytest.fixture
def toy(toy_run: Path, tmp_path: Path) -> Path:
    return copied(toy_run, tmp_path, "toy.h5")


@pytest.fixture
def images(image_run: Path, tmp_path: Path) -> Path:
    return copied(image_run, tmp_path, "images.h5")


# --------------------------------------------------------------------------- third parties

PLUGINS = '''
import os
import sys
import time
from dataclasses import dataclass

from anoean_plugins.detectors.knn import KnnDetector

@dataclass(frozen=True)
class Parameters:
    pass

class Encoder:
    summary = "for tests"
    Parameters = Parameters
    def supports(self, spec):
        return True
    def build(self, spec, latent_dim, parameters):
        import torch

        class Module(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.linear = torch.nn.Linear(spec.shape[0], latent_dim)
                self.calls = 0
            forward = type(self).forward

        return Module()

class Constant(Encoder):
    """All rows get one embedding."""
    name = "constant"
    def forward(module, rows):
        return module.linear(rows * 0)

class Exploding(Encoder):
    name = "exploding"
    def forward(module, rows):
        return module.linear(rows) * 1e30

class Crashing(Encoder):
    name = "crashing"
    def build(self, spec, latent_dim, parameters):
        return 1 / 0

class Pausing(Encoder):
    """Sleeps at given calls in training, PAUSES=CALL:SECONDS,..., and says so."""
    name = "pausing"
    def forward(module, rows):
        if module.training:
            module.calls += 1
            for pause in filter(None, os.environ.get("PAUSES", "").split(",")):
                call, seconds = pause.split(":")
                if module.calls == int(call):
                    print(f"pausing at {call}", file=sys.stderr, flush=True)
                    time.sleep(float(seconds))
        return module.linear(rows)

class Untidy(Encoder):
    """Leaves files open and a thread at work, and aborts the process that is taken down."""
    name = "untidy"
    def build(self, spec, latent_dim, parameters):
        import h5py
        import threading

        def write():
            time.sleep(0.5)
            open("late.txt", "w").write("late")

        threading.Thread(target=write).start()
        numbers = h5py.File("numbers.h5", "w")
        numbers["numbers"] = [1, 2, 3]
        notes = open("notes.txt", "w")
        notes.write("noted")
        left.extend([AbortsProcess(), numbers, notes])
        return super().build(spec, latent_dim, parameters)

    def forward(module, rows):
        return module.linear(rows)

class AbortsProcess:
    def __del__(self):
        os.abort()

left = []

class Detector:
    name = "dividing"
    summary = "for tests"
    uses_anomalies = True
    uses_encoder = False
    Parameters = Parameters
    presets = {"default": {}}
    def fit(self, train, selection, encoder, parameters, rng, monitor):
        return 1 / 0

class Resting(KnnDetector):
    """Learns in no epochs, and takes its time."""
    name = "resting"
    def fit(self, *given):
        print("pausing at fit", file=sys.stderr, flush=True)
        time.sleep(1)
        return super().fit(*given)

class Dataset:
    name = "dropping"
    summary = "for tests"
    def load(self, request):
        return {}["rows"]

class Nothing(Dataset):
    name = "nothing"
    def load(self, request):
        return None
'''

ENTRY_POINTS = """
[anoean.encoders]
constant = third_party:Constant
exploding = third_party:Exploding
crashing = third_party:Crashing
pausing = third_party:Pausing
untidy = third_party:Untidy
absent = third_party_that_is_not_there:Encoder

[anoean.detectors]
dividing = third_party:Detector
resting = third_party:Resting

[anoean.datasets]
dropping = third_party:Dataset
nothing = third_party:Nothing
"""


@pytest.fixture(scope="session")
def third_party(shared: Shared) -> dict[str, str]:
    """The environment in which a distribution with plugins that misbehave is installed."""

    def fill(folder: Path) -> None:
        (folder / "third_party.py").write_text(textwrap.dedent(PLUGINS))
        metadata = folder / "third_party-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party\nVersion: 1\n")
        (metadata / "entry_points.txt").write_text(ENTRY_POINTS)

    path = [str(shared("plugins", fill)), os.environ.get("PYTHONPATH")]
    return {"PYTHONPATH": os.pathsep.join(filter(None, path))}
