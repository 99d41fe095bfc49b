"""Kills, failing disks, other writers and file systems without locks, as a user meets them.

benchmarks/faults.py does the same some hundred times over.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from anoean_cli.inference.model import load_model
from anoean_cli.storage.atomic import identity
from anoean_cli.storage.claims import claimed

from .conftest import COMMAND, Run, environment, words

SCORE = "score fresh.csv --out o.csv --embeddings e.h5 --summary s.json --force"
CALIBRATE = "calibrate --fpr 0.2"
PREPARE = "prepare fresh.csv --out p.h5 --force"
TRAIN = "train --dataset toy --detector gaussian --force"
OLD = "an older output"


def strace_works() -> bool:
    command = ["strace", "-o", "/dev/null", "-e", "trace=none", "true"]
    return shutil.which("strace") is not None and subprocess.run(command).returncode == 0


needs_strace = pytest.mark.skipif(not strace_works(), reason="this needs strace")


def injected(tmp_path: Path, what: str, args: str) -> tuple[int, str]:
    """Run a command with something happening at a system call; returns status and stderr."""
    order = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={what}"]
    done = subprocess.run(
        [*order, *COMMAND, *words([args])],
        env=environment(tmp_path / "cache"),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


def names() -> set[str]:
    return {path.name for path in Path().iterdir()}


@pytest.fixture
def outputs(model: Path, fresh: Path) -> dict[str, bytes]:
    """What is there before: a model and older outputs."""
    for name in ("o.csv", "e.h5", "s.json", "p.h5"):
        Path(name).write_text(OLD)
    return {path.name: path.read_bytes() for path in Path().iterdir()}


# --------------------------------------------------------------------------- kills and disks


@needs_strace
@pytest.mark.parametrize(
    ("what", "args"),
    [
        ("write:signal=KILL:when=4", SCORE),
        ("rename:signal=KILL:when=2", SCORE),
        ("ftruncate:signal=KILL:when=1", CALIBRATE),
        ("rename:signal=KILL:when=1", CALIBRATE),
        ("fsync:signal=KILL:when=1", PREPARE),
        ("rename:signal=KILL:when=1", TRAIN),
    ],
)
def test_a_kill_leaves_old_or_new_files_and_the_next_run_tidies_up(
    anoean: Run, outputs: dict[str, bytes], tmp_path: Path, what: str, args: str
) -> None:
    injected(tmp_path, what, args)
    left = names() - set(outputs)
    assert left  # it was killed on the way
    assert all(name.endswith((".tmp", ".lock")) for name in left)
    for name in ("o.csv", "s.json"):
        content = Path(name).read_bytes()
        assert content == outputs[name] or len(content.splitlines()) > 3
    assert anoean("info --verify").returncode == 0
    if Path("e.h5").read_text(errors="replace") != OLD:
        assert anoean("info e.h5 --verify").returncode == 0
    assert anoean(args).returncode == 0
    assert names() == set(outputs)


@needs_strace
@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("write:error=ENOSPC:when=3", "No space left on device; free some space"),
        ("ftruncate:error=EIO:when=1", "Input/output error"),
        ("fsync:error=EIO:when=1", "Input/output error"),
        ("rename:error=EACCES:when=1", "Permission denied; change the permissions"),
    ],
)
@pytest.mark.parametrize("args", [SCORE, CALIBRATE])
def test_a_disk_that_fails_is_told_and_the_old_file_stays(
    outputs: dict[str, bytes], tmp_path: Path, what: str, told: str, args: str
) -> None:
    status, stderr = injected(tmp_path, what, args)
    assert status == 7, stderr
    error = stderr.splitlines()[-1]
    assert error.startswith("error: cannot write ")
    assert told in error
    assert {path.name: path.read_bytes() for path in Path().iterdir()} == outputs


@needs_strace
@pytest.mark.parametrize(
    "what", ["ftruncate:error=ENOSPC", "fsync:error=EIO", "rename:error=EACCES"]
)
@pytest.mark.parametrize("args", [PREPARE, TRAIN])
def test_a_disk_that_fails_under_what_writes_one_file(
    outputs: dict[str, bytes], tmp_path: Path, what: str, args: str
) -> None:
    status, stderr = injected(tmp_path, f"{what}:when=1", args)
    assert status == 7, stderr
    assert stderr.splitlines()[-1].startswith("error: cannot write ")
    assert {path.name: path.read_bytes() for path in Path().iterdir()} == outputs


# --------------------------------------------------------------------------- two writers


@pytest.mark.parametrize("args", ["train --dataset toy --epochs 1 --force", CALIBRATE])
def test_the_second_writer_of_a_model_is_told(anoean: Run, model: Path, args: str) -> None:
    before = model.read_bytes()
    with claimed(model, identity(model)):
        found = anoean(args)
    assert found.returncode == 7
    assert "cannot write anoean.h5: another process is at work on it" in found.error
    assert model.read_bytes() == before
    assert names() == {"anoean.h5"}


def test_a_second_comparison_in_one_folder_is_told(anoean: Run) -> None:
    """Before it trains anything; the first goes on, and another folder is another matter."""
    compare = "compare --dataset toy --detectors gaussian --seeds 1 --out"
    whole = Path("found/compare.json")
    whole.parent.mkdir()
    with claimed(whole, None):
        second = anoean(compare, "found")
        assert second.returncode == 7
        assert "cannot write found/compare.json: another process is at work on it" in second.error
        assert "1 of 1" not in second.stderr, "a cell was run"
        assert anoean(compare, "other").returncode == 0
    assert not whole.exists()
    assert anoean(compare, "found").returncode == 0
    assert {path.name for path in whole.parent.iterdir()} == {
        "cells", "compare.json", "results.csv", "summary.csv",
    }  # fmt: skip


NO_LOCKS = """
import errno, fcntl, os, pathlib, shutil

def flock(*_):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

fcntl.flock = flock
"""


def test_all_goes_well_where_there_are_no_locks(anoean: Run, model: Path, fresh: Path) -> None:
    Path("sitecustomize.py").write_text(NO_LOCKS)
    env = {"PYTHONPATH": ".", "HDF5_USE_FILE_LOCKING": "TRUE"}
    compare = "compare --dataset toy --detectors gaussian --seeds 1 --out found"
    for args in (SCORE, CALIBRATE, PREPARE, "info p.h5 --verify", TRAIN, compare):
        assert anoean(args, env=env, cold=True).returncode == 0
    outputs = {"o.csv", "e.h5", "s.json", "p.h5", "anoean.h5", "fresh.csv", "found"}
    assert names() - {"sitecustomize.py", "__pycache__"} == outputs


def test_without_locks_a_model_that_changed_meanwhile_is_told(anoean: Run, model: Path) -> None:
    """As if another one had written it after this one read it."""
    another = """
import anoean_cli.inference.recalibration as room
plain = room.recalibrated

def slow(*args):
    path = pathlib.Path("anoean.h5")
    shutil.copy(path, "copy.h5")
    os.replace("copy.h5", path)
    return plain(*args)

room.recalibrated = slow
"""
    Path("sitecustomize.py").write_text(NO_LOCKS + another)
    found = anoean(CALIBRATE, env={"PYTHONPATH": "."})
    assert found.returncode == 7
    assert "another process wrote it meanwhile" in found.error
    assert load_model(model).calibration.rule != {"rule": "fpr", "fpr": 0.2}


def test_without_locks_a_comparison_that_changed_meanwhile_is_told(anoean: Run) -> None:
    another = """
import anoean_cli.evaluation.comparison as room
plain = room.summarise

def slow(results):
    pathlib.Path("found/compare.json").write_text("of another one")
    return plain(results)

room.summarise = slow
"""
    Path("sitecustomize.py").write_text(NO_LOCKS + another)
    compare = "compare --dataset toy --detectors gaussian --seeds 1 --out found"
    found = anoean(compare, env={"PYTHONPATH": "."}, cold=True)
    assert found.returncode == 7
    assert "another process wrote it meanwhile" in found.error
    assert Path("found/compare.json").read_text() == "of another one"
