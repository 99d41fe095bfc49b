"""Files of an attacker: status 4, one message that names the file, and no other file opened.

benchmarks/hostile.py goes through all mutations and measures time and memory as well.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from anoean_cli.errors import FileFormatError
from anoean_cli.inference.model import load_model
from anoean_cli.storage.embeddings import describe
from anoean_cli.storage.prepared import read_prepared

from .conftest import Run

sys.path.insert(0, str(Path(__file__).parents[1]))
from attacks import CONTENTS, STRUCTURES, restructured, rewritten

SOUND = Path(__file__).parents[1] / "compatibility" / "v1"
OPENED: list[str] = []
sys.addaudithook(lambda event, args: OPENED.append(str(args[0])) if event == "open" else None)


def model(path: Path) -> Any:
    loaded = load_model(path)
    rows = np.ones((3, *loaded.preprocessor.spec.shape), np.float32)
    return loaded.digest, loaded.score_rows(rows).scores.tolist()


def prepared(path: Path) -> Any:
    found = read_prepared(path)
    return found.examples, found.labels.tolist()


def embeddings(path: Path) -> Any:
    return describe(path, verify=True)


READERS = [model, prepared, embeddings]


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Path]:
    """A path to read from; nothing beside it may be opened."""
    path, secret = tmp_path / "hostile.h5", tmp_path / "secret"
    secret.write_bytes(bytes(4096))
    shutil.copy(SOUND / "model.h5", tmp_path / "secret.h5")
    OPENED.clear()
    yield path
    assert not [name for name in OPENED if "secret" in name]


def refusal(read: Callable[[Path], Any], path: Path) -> str:
    with pytest.raises(FileFormatError) as caught:
        read(path)
    message = str(caught.value)
    assert str(path) in message
    assert len(message.splitlines()) == 1
    return message


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
@pytest.mark.parametrize("attack", STRUCTURES, ids=lambda attack: attack.__name__)
def test_a_hostile_structure_is_refused(
    alone: Path, attack: Callable[[h5py.File], None], read: Callable[[Path], Any]
) -> None:
    restructured(SOUND / f"{read.__name__}.h5", alone, attack)
    assert "damaged or altered" in refusal(read, alone)


@pytest.mark.parametrize("name", CONTENTS)
def test_hostile_values_of_a_model_are_refused(alone: Path, name: str) -> None:
    rewritten(SOUND / "model.h5", alone, CONTENTS[name])
    refusal(model, alone)


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
@pytest.mark.parametrize("change", ["cut", "flipped"])
def test_damage_is_refused_or_means_nothing(
    alone: Path, change: str, read: Callable[[Path], Any]
) -> None:
    data = (SOUND / f"{read.__name__}.h5").read_bytes()
    expected = read(SOUND / f"{read.__name__}.h5")
    for at in np.random.default_rng(0).integers(len(data), size=80).tolist():
        rest = b"" if change == "cut" else bytes([data[at] ^ 0xFF]) + data[at + 1 :]
        alone.write_bytes(data[:at] + rest)
        with suppress(FileFormatError):
            assert read(alone) == expected


@pytest.mark.parametrize(
    "name",
    [
        "detector from outside the registry",
        "graph with an endless loop",
        "covariance that is not positive definite",
        "JSON of 100,000 brackets",
    ],
)
def test_at_a_shell_it_is_status_4_and_one_message(anoean: Run, fresh: Path, name: str) -> None:
    rewritten(SOUND / "model.h5", Path("m.h5"), CONTENTS[name])
    shutil.copy(SOUND / "rows.csv", "rows.csv")
    for args in ("score rows.csv -m m.h5", "calibrate --data rows.csv -m m.h5"):
        found = anoean(args)
        assert (found.returncode, found.stdout) == (4, "")
        assert found.error.startswith("error: m.h5: ")


def test_info_verify_tries_the_graph(anoean: Run) -> None:
    rewritten(SOUND / "model.h5", Path("m.h5"), CONTENTS["graph that asks for 400 GB"])
    assert anoean("info m.h5").returncode == 0
    found = anoean("info m.h5 --verify")
    assert found.returncode == 4
    assert "m.h5: the graph cannot be run" in found.error
