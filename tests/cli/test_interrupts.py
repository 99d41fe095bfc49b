"""Ctrl-C, SIGTERM and SIGKILL: what is left behind, and what ``--resume`` makes of it.

The encoder ``pausing`` sleeps at chosen calls, so that signals arrive at known moments. The toy
data, in batches of ten, make 61 calls an epoch.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from anoean_cli.commands.shell import guarded
from anoean_cli.console import Console
from anoean_cli.errors import PluginError
from anoean_cli.process import ENDINGS, came, mind_signals

from .conftest import (
    COMMAND,
    Run,
    Shared,
    environment,
    run_anoean,
    table_rows,
    words,
    write_csv,
)

TRAIN = (
    "train --dataset toy --encoder pausing --epochs 6 --batch-size 10 --json "
    "--set forest=0 --set distillation=0"
)
Start = Callable[..., subprocess.Popen[bytes]]

SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]


def names() -> set[str]:
    return {path.name for path in Path().iterdir()}


def wait_for(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 300  # a busy machine is slow, not wrong
    while not condition():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.02)


def wait_for_line(process: subprocess.Popen[bytes], text: bytes) -> None:
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if text in line:
            return
    raise AssertionError(f"{text!r} never came: {lines}")


@pytest.fixture
def start(tmp_path: Path, third_party: dict[str, str]) -> Iterator[Start]:
    started = []

    def run(
        *args: str, pauses: str = "", stdout: int | IO[bytes] = subprocess.PIPE
    ) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [*COMMAND, *words(args)],
            env=environment(tmp_path / "cache", {**third_party, "PAUSES": pauses}),
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=subprocess.PIPE,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def uninterrupted(shared: Shared, third_party: dict[str, str]) -> str:
    """The digest of a run that nothing disturbs."""

    def fill(folder: Path) -> None:
        done = run_anoean(TRAIN, cwd=folder, cache=folder / "cache", env=third_party)
        assert done.returncode == 0, done.stderr
        (folder / "digest").write_text(done.json["digest"])

    return (shared("uninterrupted", fill) / "digest").read_text()


@pytest.mark.parametrize(("number", "status"), SIGNALS)
def test_one_signal_leaves_the_best_so_far_and_resume_goes_on(
    anoean: Run,
    start: Start,
    uninterrupted: str,
    third_party: dict[str, str],
    number: signal.Signals,
    status: int,
) -> None:
    process = start(TRAIN, pauses="100:1")
    wait_for_line(process, b"pausing at 100")
    process.send_signal(number)
    stdout, stderr = process.communicate()
    assert process.returncode == status, stderr
    assert stdout == b""
    assert b"--resume" in stderr
    assert names() == {"anoean.h5", "anoean.h5.checkpoint"}
    about = anoean("info", "--json", env=third_party).json
    assert about["detector"]["metadata"]["interrupted"] is True
    assert about["detector"]["metadata"]["epochs"] == 2
    assert anoean("score", "-", input="x,y\n0,0\n").returncode == 0

    other = anoean(TRAIN, "--resume", "--lr", "0.01", env=third_party)
    assert other.returncode == 2
    assert "another detector.learning_rate:" in other.error
    assert names() == {"anoean.h5", "anoean.h5.checkpoint"}
    resumed = anoean(TRAIN, "--resume", env=third_party)
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.json["digest"] == uninterrupted
    assert names() == {"anoean.h5"}
    complete = anoean(TRAIN, "--resume", env=third_party)
    assert complete.returncode == 0
    assert "complete" in complete.stderr
    assert complete.json["digest"] == uninterrupted


def test_a_signal_after_which_no_epoch_comes_ends_with_a_whole_model(
    anoean: Run, start: Start, third_party: dict[str, str]
) -> None:
    process = start("train --dataset toy --detector resting --json")
    wait_for_line(process, b"pausing at fit")
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate()
    assert process.returncode == 130, stderr
    assert b"anoean.h5 is complete" in stderr
    assert json.loads(stdout)["digest"] == anoean("info --json", env=third_party).json["digest"]
    assert names() == {"anoean.h5"}


def test_a_signal_that_is_ignored_stays_so(start: Start) -> None:
    """As Ctrl-C is by what a script starts in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = start("train --dataset toy --detector resting --json")
    finally:
        signal.signal(signal.SIGINT, before)
    wait_for_line(process, b"pausing at fit")
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert b"stopping" not in stderr


def test_a_second_signal_writes_nothing(start: Start) -> None:
    process = start(TRAIN, pauses="100:30")
    wait_for_line(process, b"pausing at 100")
    process.send_signal(signal.SIGINT)
    wait_for_line(process, b"stopping after this epoch")
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate()
    assert process.returncode == 130, stderr
    assert stdout == b""
    assert b"Traceback" not in stderr
    assert names() <= {"anoean.h5.checkpoint"}  # kept every few seconds, perhaps before the signals


def test_a_killed_run_goes_on_from_its_checkpoint(
    anoean: Run, start: Start, uninterrupted: str, third_party: dict[str, str]
) -> None:
    process = start(TRAIN, pauses="100:5.5,300:300")
    wait_for(Path("anoean.h5.checkpoint").exists)
    process.kill()
    process.communicate()
    assert names() == {"anoean.h5.checkpoint", ".anoean.h5.lock"}  # a lock that nobody holds
    resumed = anoean(TRAIN, "--resume", env=third_party)
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.json["digest"] == uninterrupted
    assert names() == {"anoean.h5"}


def test_nothing_to_resume_starts_anew(
    anoean: Run, uninterrupted: str, third_party: dict[str, str]
) -> None:
    found = anoean(TRAIN, "--resume", env=third_party)
    assert found.returncode == 0, found.stderr
    assert found.json["digest"] == uninterrupted


def test_without_a_checkpoint_another_model_is_not_taken_for_the_one_asked_for(
    anoean: Run,
) -> None:
    """As when ``train --force`` over an old model is killed before its first checkpoint."""
    old = "train --dataset toy --epochs 1 --set width=0.1"
    assert anoean(old).returncode == 0
    content = Path("anoean.h5").read_bytes()
    refused = anoean(old, "--seed 1 --resume")
    assert refused.returncode == 2
    assert "another dataset, seed" in refused.error
    assert "--force" in refused.error
    assert Path("anoean.h5").read_bytes() == content
    assert "complete" in anoean(old, "--resume").stderr
    assert Path("anoean.h5").read_bytes() == content
    assert anoean(old, "--seed 1 --resume --force").returncode == 0
    assert anoean("info --json").json["seed"] == 1


def test_a_damaged_checkpoint_is_told(anoean: Run) -> None:
    Path("anoean.h5.checkpoint").write_bytes(b"nonsense")
    found = anoean(*["train", "--dataset", "toy", "--epochs", "1", "--resume"])
    assert found.returncode == 4
    assert "anoean.h5.checkpoint" in found.error
    assert found.error.endswith("; delete it, or leave --resume out, to train anew")


@pytest.mark.parametrize(("number", "status"), SIGNALS)
@pytest.mark.parametrize("to_file", [True, False])
@pytest.mark.usefixtures("model")
def test_scoring_leaves_no_half_file(
    start: Start, number: signal.Signals, status: int, to_file: bool
) -> None:
    out = "--out o.csv --embeddings e.h5 --summary s.json" if to_file else ""
    write_csv(Path("rows.csv"), table_rows(60_000, seed=3))
    with open("stdout.csv", "wb") as stdout:
        process = start("score", "-", out, stdout=stdout)
    assert process.stdin is not None
    # More rows may follow: it waits for them with some of these already written.
    process.stdin.write(Path("rows.csv").read_bytes())
    process.stdin.flush()
    if to_file:
        wait_for(lambda: {"o.csv", "e.h5"} <= {name[1:6].rstrip(".") for name in names()})
    else:
        wait_for(lambda: Path("stdout.csv").stat().st_size)
    process.send_signal(number)
    assert process.wait(timeout=300) == status
    assert process.stderr is not None
    stderr = process.stderr.read().decode()
    assert "Traceback" not in stderr
    assert len(stderr.splitlines()) == 1
    assert names() == {"anoean.h5", "rows.csv", "stdout.csv"}


# --------------------------------------------------------------------------- at any other time


SLOW_IMPORT = """
import sys, time

class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "typer":
            print("importing", file=sys.stderr, flush=True)
            time.sleep(300)

sys.meta_path.insert(0, Finder)
"""


@pytest.mark.parametrize(("number", "status"), SIGNALS)
def test_a_signal_while_libraries_are_imported(
    tmp_path: Path, number: signal.Signals, status: int
) -> None:
    Path("sitecustomize.py").write_text(SLOW_IMPORT)
    running = subprocess.Popen(
        [*COMMAND, "--help"],
        env=environment(tmp_path / "cache", {"PYTHONPATH": str(tmp_path)}),
        stderr=subprocess.PIPE,
    )
    wait_for_line(running, b"importing")
    running.send_signal(number)
    assert running.wait(timeout=300) == status
    assert running.stderr is not None
    assert running.stderr.read().startswith(f"error: {ENDINGS[number]}".encode())


@pytest.fixture
def minded() -> Iterator[None]:
    """Signals as the command minds them."""
    before = {number: signal.getsignal(number) for number in ENDINGS}
    mind_signals()
    yield
    came.clear()
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("minded")
@pytest.mark.parametrize(("number", "status"), SIGNALS)
@pytest.mark.parametrize("failure", [ImportError("initialization failed"), PluginError("it broke")])
def test_what_a_signal_makes_fail_is_no_failure_of_its_own(
    number: signal.Signals, status: int, failure: Exception
) -> None:
    def action() -> None:
        try:
            os.kill(os.getpid(), number)
            time.sleep(300)
        except BaseException:
            raise failure from None

    assert guarded(Console(), action) == status
