"""Each write of a file failing once in turn: one message, the old file, nothing beside it."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anoean_cli.errors import OutputError
from anoean_cli.storage import hdf5
from anoean_cli.storage.atomic import replacing
from anoean_cli.storage.embeddings import writing_embeddings
from anoean_cli.storage.model import save_model
from anoean_cli.storage.values import Json


def model(path: Path) -> None:
    values: dict[str, hdf5.Value] = {"config": Json({"a": 1}), "x": np.arange(30.0), "y": ["a"]}
    save_model(path, values, overwrite=True, check=lambda content: None)


def embeddings(path: Path) -> None:
    with writing_embeddings(path, "digest", overwrite=True) as writer:
        rows = np.arange(40)
        writer.append(["f"] * 40, rows, np.zeros((40, 2), np.float32), np.zeros(40))


class Disk:
    """Counts the writes to files and fails one of them."""

    def __init__(self, fails_at: int, code: int) -> None:
        self.fails_at, self.code, self.done = fails_at, code, 0

    def count(self) -> None:
        self.done += 1
        if self.done == self.fails_at:
            raise OSError(self.code, os.strerror(self.code))


def sink_on(disk: Disk) -> type:
    class Failing(io.FileIO):
        def write(self, data: Any) -> int:
            disk.count()
            return super().write(data)

        def truncate(self, size: int | None = None) -> int:
            disk.count()
            return super().truncate(size)

    return type("Sink", (hdf5._Sink, Failing), {})


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES])
@pytest.mark.parametrize("write", [model, embeddings])
def test_every_write_failing_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], None], code: int
) -> None:
    target = tmp_path / "out.h5"
    target.write_text("old")
    at, disk = 0, Disk(0, code)
    while at <= disk.done:  # as long as there was such a write
        at += 1
        disk = Disk(at, code)
        monkeypatch.setattr(hdf5, "_Sink", sink_on(disk))
        told = failure(write, target)
        if told:
            assert told.startswith(f"cannot write {target}: {os.strerror(code)}; ")
            assert target.read_text() == "old"
            assert list(tmp_path.iterdir()) == [target]
        else:
            assert at > disk.done
    assert at > 10
    assert target.read_bytes() != b"old"


def failure(write: Callable[[Path], None], target: Path) -> str:
    """What is told when it cannot be written; empty where it is."""
    try:
        write(target)
    except OutputError as error:
        return str(error)
    return ""


def copy(target: Path) -> None:
    with replacing(target, overwrite=target.exists()) as temporary:
        temporary.write_text("new")


@pytest.mark.parametrize("call", ["open", "fsync", "replace", "chmod", "link"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("overwrite", [True, False])
def test_every_other_call_failing_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int, overwrite: bool
) -> None:
    target = tmp_path / "out"
    if overwrite:
        target.write_text("old")
    before = list(tmp_path.iterdir())
    plain, calls = getattr(os, call), []

    def once(*args: Any, **options: Any) -> Any:
        calls.append(args)
        if len(calls) == 1:
            raise OSError(code, os.strerror(code))
        return plain(*args, **options)

    monkeypatch.setattr(os, call, once)
    told = failure(copy, target)
    if told:
        assert os.strerror(code) in told
        assert list(tmp_path.iterdir()) == before
        assert not overwrite or target.read_text() == "old"
    else:
        assert not calls
        assert target.read_text() == "new"
