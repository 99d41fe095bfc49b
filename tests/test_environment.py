"""How many cores a process takes for its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from anoean_cli import environment


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, None),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "100000 100000\n"}, 1),
        ({"cpu.max": "250000 100000\n"}, 3),
        ({"cpu.max": "5000 100000\n"}, 1),
        ({"cpu.max": "nonsense\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        ({"cpu/cpu.cfs_quota_us": "400000\n"}, None),
    ],
)
def test_a_container_grants_as_many_cores_as_its_limit_rounded_up(
    tmp_path: Path, files: dict[str, str], cores: int | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert environment.quota(tmp_path) == cores


def test_a_limit_counts_where_it_is_lower_than_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "CONTROL_GROUP", tmp_path)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    unlimited = environment.own_cores()
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    assert environment.own_cores() == 1
    (tmp_path / "cpu.max").write_text("102400000 100000\n")
    assert environment.own_cores() == unlimited


def test_a_batch_systems_share_counts_where_it_is_lower(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "CONTROL_GROUP", tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert environment.own_cores() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "1000000")
    assert environment.own_cores() == environment.cores()
