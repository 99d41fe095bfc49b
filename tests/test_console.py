"""What a person sees of training."""

from __future__ import annotations

import pytest

from anoean_cli.console import Console

EPOCHS = 5


def test_progress_tells_the_best_figure_and_its_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    with Console().training() as progress:
        for epoch, ranking in enumerate([-0.4, -0.1, -0.1, -0.2, -0.3], 1):
            progress.show({"epoch": epoch, "auc_pr": 1.0, "ranking": ranking}, EPOCHS)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("epoch 5 of 5, selection auc_pr 1.0000, selection ranking -0.3000")
    assert "(best -0.1000, epoch 3), at most 0 s left" in last


def test_time_left_of_a_run_that_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 10.0, 20.0])
    monkeypatch.setattr("anoean_cli.console.time.monotonic", lambda: next(clock))
    with Console().training() as progress:
        progress.show({"epoch": 91}, 100)  # 90 were done before, at no cost to this run
        progress.show({"epoch": 92}, 100)
    told = capsys.readouterr().err.splitlines()
    assert told == [
        "epoch 91 of 100, at most 90 s left",
        "epoch 92 of 100, at most 80 s left",
    ]
