"""A file is written whole or not at all, and every refusal says what to do."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anoean_cli.errors import DataError, FileFormatError, OutputError, Terminated
from anoean_cli.storage.atomic import check_writable, reading_back, replacing


def fill(path: Path, text: str, failure: BaseException | None = None) -> None:
    path.write_text(text)
    if failure is not None:
        raise failure


def failing(code: int) -> Callable[..., Any]:
    def fail(*args: object, **options: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "out.h5"
    path.write_text("old")
    return path


def test_the_new_file_replaces_the_old_one_and_leaves_nothing_beside(target: Path) -> None:
    with replacing(target, overwrite=True) as temporary:
        assert temporary.parent == target.parent
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert list(target.parent.iterdir()) == [target]


def test_a_file_that_was_not_there_is_written(tmp_path: Path) -> None:
    with replacing(tmp_path / "out", overwrite=False) as temporary:
        temporary.write_text("new")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["new"]


@pytest.mark.parametrize("failure", [DataError, ValueError, KeyboardInterrupt, Terminated])
@pytest.mark.parametrize("overwrite", [True, False])
def test_a_failure_leaves_the_folder_as_it_was(
    tmp_path: Path, failure: type[BaseException], overwrite: bool
) -> None:
    target = tmp_path / "out"
    if overwrite:
        target.write_text("old")
    before = list(tmp_path.iterdir())
    with pytest.raises(failure), replacing(target, overwrite=overwrite) as temporary:
        fill(temporary, "half", failure("stop"))
    assert list(tmp_path.iterdir()) == before
    assert not overwrite or target.read_text() == "old"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS])
@pytest.mark.parametrize("call", ["replace", "fsync", "open"])
def test_a_disk_that_refuses_leaves_the_old_file(
    target: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    monkeypatch.setattr(os, call, failing(code))
    with (
        pytest.raises(OutputError, match=f"out.h5: {os.strerror(code)}; .*write elsewhere"),
        replacing(target, overwrite=True) as temporary,
    ):
        temporary.write_text("new")
    monkeypatch.undo()
    assert target.read_text() == "old"
    assert list(target.parent.iterdir()) == [target]


def test_a_full_disk_in_the_body_is_told_in_one_line(target: Path) -> None:
    with pytest.raises(OutputError) as caught, replacing(target, overwrite=True):
        raise OSError("Can't write data\n (file write failed)")
    assert str(caught.value) == (
        f"cannot write {target}: Can't write data (file write failed); write elsewhere"
    )


def test_a_closed_stdout_is_not_blamed_on_the_target(target: Path) -> None:
    with pytest.raises(BrokenPipeError), replacing(target, overwrite=True):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def test_an_existing_file_is_refused_before_the_work(target: Path) -> None:
    with pytest.raises(OutputError, match="--force"), replacing(target, overwrite=False):
        pytest.fail("the work began")
    assert target.read_text() == "old"


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_appears_meanwhile_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", failing(errno.EPERM))
    target = tmp_path / "out"
    with pytest.raises(OutputError, match="--force"), replacing(target, overwrite=False):
        target.write_text("theirs")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["theirs"]


def test_a_file_system_without_hard_links_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", failing(errno.EOPNOTSUPP))
    with replacing(tmp_path / "out", overwrite=False) as temporary:
        temporary.write_text("new")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["new"]


def test_without_hard_links_a_failed_rename_leaves_no_empty_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", failing(errno.EOPNOTSUPP))
    monkeypatch.setattr(os, "replace", failing(errno.EIO))
    with pytest.raises(OutputError), replacing(tmp_path / "out", overwrite=False):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_new_file_follows_the_umask_and_a_replaced_one_keeps_its_mode(tmp_path: Path) -> None:
    target = tmp_path / "out"
    old_umask = os.umask(0o027)
    try:
        with replacing(target, overwrite=False):
            pass
        assert stat.S_IMODE(target.stat().st_mode) == 0o640
        target.chmod(0o604)
        with replacing(target, overwrite=True):
            pass
        assert stat.S_IMODE(target.stat().st_mode) == 0o604
    finally:
        os.umask(old_umask)


def test_a_symbolic_link_stays_and_what_it_points_to_is_replaced(tmp_path: Path) -> None:
    folder, link = tmp_path / "elsewhere", tmp_path / "link"
    folder.mkdir()
    (folder / "real").write_text("old")
    link.symlink_to(folder / "real")
    with replacing(link, overwrite=True) as temporary:
        assert temporary.parent == folder
        temporary.write_text("new")
    assert link.is_symlink()
    assert (folder / "real").read_text() == "new"


def test_a_name_of_the_greatest_length_can_be_written(tmp_path: Path) -> None:
    target = tmp_path / ("ü" * 127)
    with replacing(target, overwrite=False) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "new"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing/out", "no folder .*missing; create the folder"),
        ("file/out", "file is not a folder; name a file"),
        ("folder", "it is a folder; name a file"),
        ("file", "it exists already; give --force"),
        ("pipe", "not a regular file"),
    ],
)
def test_what_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, name: str, reason: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match=reason):
        check_writable(tmp_path / name, force=False)
    with pytest.raises(OutputError, match=reason), replacing(tmp_path / name, overwrite=False):
        pytest.fail("the work began")


def test_force_allows_an_existing_file_but_neither_a_folder_nor_a_device(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    check_writable(tmp_path / "file", force=True)
    check_writable(tmp_path / "new", force=False)
    for path in (tmp_path, Path(os.devnull)):
        with pytest.raises(OutputError, match="name "):
            check_writable(path, force=True)


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(OutputError, match=f"{tmp_path} is not writable"):
        check_writable(tmp_path / "out", force=False)


# --------------------------------------------------------------------------- other processes

KILLED = """
import os, signal, sys
from pathlib import Path
from anoean_cli.storage.atomic import replacing
with replacing(Path(sys.argv[1]), overwrite=True) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_removed_by_the_next_one(target: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(target)], check=False)
    (left,) = [path for path in target.parent.iterdir() if path != target]
    assert left.name.endswith(".tmp")
    assert target.read_text() == "old"
    with replacing(target, overwrite=True) as temporary:
        assert not left.exists()
        temporary.write_text("new")
    assert list(target.parent.iterdir()) == [target]


def write_beside(target: Path, other: Path) -> None:
    with replacing(target, overwrite=True) as temporary:
        assert other.exists()
        temporary.write_text("second")


def test_what_a_living_process_writes_is_not_removed_nor_files_of_others(target: Path) -> None:
    others = [target.with_name(name) for name in (".out.h5.notes.tmp", ".out.h5.0123.tmp")]
    for path in others:
        path.touch()
    with (
        pytest.raises(OutputError, match="another process wrote it meanwhile"),
        replacing(target, overwrite=True) as first,
    ):
        write_beside(target, first)
    assert target.read_text() == "second"
    assert set(target.parent.iterdir()) == {target, *others}


def test_without_locks_nothing_is_taken_for_abandoned(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", failing(errno.ENOLCK))
    subprocess.run([sys.executable, "-c", KILLED, str(target)], check=False)
    with replacing(target, overwrite=True) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "new"
    assert len(list(target.parent.iterdir())) == 2


def test_a_pipe_among_the_temporary_files_is_not_waited_for(target: Path) -> None:
    os.mkfifo(target.with_name(".out.h5.0123456789abcdef.tmp"))
    with replacing(target, overwrite=True) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "new"


def test_what_cannot_be_read_back_is_the_fault_of_the_disk(target: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"out\.h5: what was written cannot be read back"),
        replacing(target, overwrite=True),
        reading_back(target),
    ):
        raise FileFormatError("damaged")
    assert target.read_text() == "old"
