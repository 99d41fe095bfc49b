"""What a person sees of training."""

from __future__ import annotations

import io
import json
import sys

import pytest

from anoean_cli.console import Console

EPOCHS = 5


def test_progress_tells_which_epoch_would_be_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with Console().training() as progress:
        for epoch, ranking in enumerate([-0.4, -0.1, -0.1, -0.2, -0.3], 1):
            record = {"epoch": epoch, "auc_pr": 1.0, "ranking": ranking, "best_epoch": 3}
            progress.show(record, EPOCHS)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("epoch 5 of 5, selection auc_pr 1.0000, selection ranking -0.3000")
    assert "(best: 3), at most 0 s left" in last


def test_time_left_of_a_run_that_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 500.0, 510.0, 520.0])
    monkeypatch.setattr("anoean_cli.console.time.monotonic", lambda: next(clock))
    with Console().training() as progress:
        progress.show({"epoch": 91}, 100)  # 90 were done before, at no cost to this run
        progress.show({"epoch": 92}, 100)  # what came before the first epoch was no training
        progress.show({"epoch": 93}, 100)
    told = capsys.readouterr().err.splitlines()
    assert told == [
        "epoch 91 of 100",
        "epoch 92 of 100, at most 80 s left",
        "epoch 93 of 100, at most 70 s left",
    ]


HOSTILE = "evil\x1b[31m\nerror: \u202efake\udcff"
TAME = r"evil\x1b[31m\nerror: \u202efake\udcff"


def test_names_from_files_cannot_speak_in_our_name(capsys: pytest.CaptureFixture[str]) -> None:
    """Nor give commands to a terminal: each message and each cell is one plain line."""
    console = Console()
    for tell in (console.note, console.warn, console.error):
        tell(f"column {HOSTILE}")
    console.table(["label", HOSTILE], [["größe ± 1", HOSTILE]])
    out, err = capsys.readouterr()
    assert err == f"column {TAME}\nwarning: column {TAME}\nerror: column {TAME}\n"
    assert out.splitlines()[0].split() == ["label", *TAME.split()]
    assert out.splitlines()[1].split() == ["größe", "±", "1", *TAME.split()]


def test_what_a_locale_cannot_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """People see it escaped; JSON and TOML are in UTF-8 all the same."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii"))
    console = Console()
    console.data("größe")
    console.json({"größe": "\udcff"})
    people, _, rest = written.getvalue().partition(b"\n")
    assert people == rb"gr\xf6\xdfe"
    assert json.loads(rest.decode("utf-8")) == {"größe": "\udcff"}
