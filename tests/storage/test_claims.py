"""Two writers on one file: the second is told, whether or not there are locks."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from anoean_cli.errors import OutputError
from anoean_cli.storage.atomic import identity
from anoean_cli.storage.claims import claimed

KILLED = """
import os, signal, sys
from pathlib import Path
from anoean_cli.storage.claims import claimed
with claimed(Path(sys.argv[1]), None):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "m.h5"


def test_the_second_is_told_and_the_first_goes_on(target: Path) -> None:
    with claimed(target, None) as check_unchanged:
        with (
            pytest.raises(OutputError, match=r"m\.h5: another process is at work on it; wait"),
            claimed(target, None),
        ):
            pytest.fail("it began")
        check_unchanged()
    assert list(target.parent.iterdir()) == []
    with claimed(target, None):
        pass


@pytest.mark.parametrize("start", ["m", "a-long-name-as-experiments-have-" * 3, "ü" * 120])
def test_another_file_may_be_written_meanwhile(target: Path, start: str) -> None:
    one, other = (target.with_name(f"{start}-{seed}.h5") for seed in (0, 1))
    with claimed(one, None), claimed(other, None):
        with pytest.raises(OutputError), claimed(one, None):
            pytest.fail("it began")
        assert len(list(target.parent.iterdir())) == 2
    assert list(target.parent.iterdir()) == []


def test_a_symbolic_link_and_its_file_are_one(target: Path) -> None:
    link = target.with_name("link")
    link.symlink_to(target)
    with claimed(target, None), pytest.raises(OutputError), claimed(link, None):
        pytest.fail("it began")


def test_a_killed_process_keeps_nobody_away(target: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(target)], check=False)
    assert [path.name for path in target.parent.iterdir()] == [".m.h5.lock"]
    with claimed(target, None):
        pass
    assert list(target.parent.iterdir()) == []


def test_a_file_that_changed_since_it_was_read_is_told(target: Path) -> None:
    target.write_text("read")
    before = identity(target)
    target.write_text("another one")
    with (
        pytest.raises(OutputError, match="another process wrote it meanwhile"),
        claimed(target, before),
    ):
        pytest.fail("it began")
    assert [path.name for path in target.parent.iterdir()] == ["m.h5"]


def test_without_locks_the_check_tells(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with claimed(target, None) as check_first, claimed(target, None) as check_second:
        check_first()
        target.write_text("of the first")
        with pytest.raises(OutputError, match="meanwhile"):
            check_second()


def test_a_link_in_the_place_of_the_lock_is_not_followed(target: Path) -> None:
    target.with_name(".m.h5.lock").symlink_to(target.with_name("elsewhere"))
    with pytest.raises(OutputError, match="cannot write"), claimed(target, None):
        pytest.fail("it began")
    assert not target.with_name("elsewhere").exists()


def test_a_claim_of_somebody_else_that_cannot_be_opened_is_named(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> int:
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(os, "open", refused)
    with (
        pytest.raises(OutputError, match=r"no permission to write .*\.m\.h5\.lock; change"),
        claimed(target, None),
    ):
        pytest.fail("it began")
