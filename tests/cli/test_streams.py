"""Standard streams that are closed, full, or read no further: the right status, no traceback."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import IO

import pytest

from .conftest import COMMAND, environment, words

SHOWN = ["info", "info --json", "plugins", "--help", "train --help", "--version", "score fresh.csv"]


def run(
    args: str,
    *,
    closed: int | None = None,
    stdout: int | IO[bytes] = subprocess.PIPE,
    stderr: int | IO[bytes] = subprocess.PIPE,
) -> tuple[int, list[str]]:
    """Exit status and lines on stderr, with one of the standard descriptors closed."""
    done = subprocess.run(
        [*COMMAND, *words([args])],
        stdout=stdout,
        stderr=stderr,
        check=False,
        env=environment(Path("cache").absolute()),
        preexec_fn=None if closed is None else lambda: os.close(closed),
    )
    return done.returncode, (done.stderr or b"").decode().splitlines()


@pytest.mark.usefixtures("model", "fresh")
@pytest.mark.parametrize("args", SHOWN)
def test_a_reader_that_has_enough_ends_it_quietly(args: str) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    with open(theirs, "wb") as pipe:
        assert run(args, stdout=pipe) == (141, [])


@pytest.mark.usefixtures("model", "fresh")
@pytest.mark.parametrize("args", SHOWN)
def test_a_closed_stdout_is_told(args: str) -> None:
    status, told = run(args, closed=1)
    assert status == 7
    assert len(told) == 1
    assert "cannot write to stdout: it is closed" in told[0]


@pytest.mark.usefixtures("model")
def test_a_closed_stdin_is_told() -> None:
    status, told = run("score -", closed=0)
    assert status == 3
    assert told == ["error: -: stdin is closed; pipe rows into it, or name a file"]


@pytest.mark.usefixtures("model", "fresh")
@pytest.mark.parametrize("closed", [0, 1, 2])
def test_no_file_takes_the_place_of_a_closed_stream(closed: int) -> None:
    before = Path("anoean.h5").read_bytes()
    status, _ = run("score fresh.csv --out o.csv --embeddings e.h5", closed=closed)
    assert status == 0
    assert run("info e.h5 --verify")[0] == 0
    assert Path("anoean.h5").read_bytes() == before


@pytest.mark.parametrize(("args", "status"), [("info nosuch.h5", 4), ("scor", 2), ("", 2)])
def test_the_status_tells_where_stderr_cannot(args: str, status: int) -> None:
    with open("/dev/full", "wb") as full:
        assert run(args, stderr=full)[0] == status
    assert run(args, closed=2)[0] == status
