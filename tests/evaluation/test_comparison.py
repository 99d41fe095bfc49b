"""Cells: how they are kept, how a failure is contained, and what is made of their results."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from anoean_plugins.datasets.toy import Toy

from anoean_cli import environment
from anoean_cli.data.content import row_hashes
from anoean_cli.data.splits import SplitRequest, draw
from anoean_cli.errors import OutputError
from anoean_cli.evaluation import comparison
from anoean_cli.evaluation.comparison import Cell, CellStore
from anoean_cli.interfaces import Dataset, LoadRequest
from anoean_cli.parameters import parameter
from anoean_cli.training.request import TrainRequest

SPLIT = {
    "training": {"normals": 800, "anomalies": 80},
    "selection": {"normals": 100, "anomalies": 10},
    "calibration": {"normals": 100, "anomalies": 0},
    "test": {"normals": 400, "anomalies": 100},
}


def result(detector: str, seed: int, auc_pr: float, **more) -> comparison.Result:
    return {
        "detector": detector,
        "seed": seed,
        "metrics": {"auc_pr": auc_pr, "seen": {"auc_pr": auc_pr}},
        "fit_seconds": 2.0,
        "score_seconds": 0.5,
        "model_bytes": 1000,
        "split": SPLIT,
        **more,
    }


def failure(detector: str, seed: int) -> comparison.Result:
    return {"detector": detector, "seed": seed, "error": "it fell over"}


@pytest.fixture(scope="module")
def toy() -> Dataset:
    return Toy().load(LoadRequest())


@pytest.fixture
def cell(toy: Dataset) -> Cell:
    split = SplitRequest(toy.normal, toy.apportionment)
    settings = {"epochs": 2, "encoder.width": 0.1}
    return Cell("anoean", TrainRequest(split, settings=settings, seed=3, threads=1))


# --------------------------------------------------------------------------- summaries


def test_the_best_comes_first_and_ranks_are_within_a_seed():
    rows = comparison.summarise(
        [
            result("a", 0, 0.90), result("b", 0, 0.95), result("c", 0, 0.80),
            result("a", 1, 0.96), result("b", 1, 0.95), result("c", 1, 0.80),
        ]
    )  # fmt: skip
    assert [row["detector"] for row in rows] == ["b", "a", "c"]
    assert [row["rank"] for row in rows] == [1.5, 1.5, 3]
    assert rows[0]["metrics"]["auc_pr"] == {"mean": pytest.approx(0.95), "sd": pytest.approx(0)}
    assert rows[1]["metrics"]["seen.auc_pr"]["mean"] == pytest.approx(0.93)
    assert rows[0]["deficit"] is None
    assert rows[2]["deficit"]["mean"] == pytest.approx(0.15)


def test_equal_figures_share_a_rank():
    rows = comparison.summarise([result("a", 0, 1.0), result("b", 0, 1.0)])
    assert [row["rank"] for row in rows] == [1.5, 1.5]


def test_a_deficit_is_noise_or_not_by_the_corrected_test():
    """Worked by hand: differences 0.02 and 0.04, test share 500/1090."""
    rows = comparison.summarise(
        [result("a", s, 0.95) for s in (0, 1)] + [result("b", 0, 0.93), result("b", 1, 0.91)]
    )
    deficit = rows[1]["deficit"]
    error = np.sqrt((1 / 2 + 500 / 1090) * np.var([0.02, 0.04], ddof=1))
    assert deficit["mean"] == pytest.approx(0.03)
    assert deficit["high"] - deficit["mean"] == pytest.approx(12.7062 * error, rel=1e-4)
    assert comparison.is_noise(rows[1]) is True
    clear = [result(n, s, a + s / 1e4) for n, a in (("a", 0.9), ("b", 0.5)) for s in range(5)]
    assert comparison.is_noise(comparison.summarise(clear)[1]) is False


def test_one_seed_says_nothing_of_noise():
    rows = comparison.summarise([result("a", 0, 0.9), result("b", 0, 0.8)])
    assert rows[1]["deficit"]["p_value"] is None
    assert comparison.is_noise(rows[1]) is None
    assert rows[0]["metrics"]["auc_pr"]["sd"] is None


def test_failed_detectors_come_last_with_their_reasons():
    rows = comparison.summarise(
        [failure("bad", 0), result("a", 0, 0.9), failure("bad", 1), result("a", 1, 0.9)]
    )
    assert [(row["detector"], row["seeds"]) for row in rows] == [("a", 2), ("bad", 0)]
    assert rows[1]["errors"] == ["it fell over"]
    assert rows[1]["deficit"] is rows[1]["rank"] is None


def test_a_detector_that_failed_once_is_compared_on_the_seeds_it_has():
    rows = comparison.summarise(
        [result("a", s, 0.9) for s in (0, 1)] + [failure("b", 0), result("b", 1, 0.8)]
    )
    assert rows[1]["seeds"] == 1
    assert rows[1]["deficit"]["mean"] == pytest.approx(0.1)


def test_tables_for_csv_have_a_line_a_cell_and_a_line_a_detector():
    results = [result("a", 0, 0.9), failure("b", 0)]
    cells = comparison.as_table(results)
    assert cells["detector"] == ["a", "b"]
    assert cells["seen.auc_pr"] == [0.9, None]
    assert cells["error"] == [None, "it fell over"]
    summary = comparison.summary_table(comparison.summarise(results))
    assert summary["auc_pr_mean"] == [0.9, None]
    assert {len(column) for column in summary.values()} == {2}


def test_what_is_left_is_told_from_what_each_detector_took(cell: Cell):
    done = [result("anoean", 0, 0.9), result("slow", 0, 0.9, fit_seconds=99.5)]
    missing = [cell, replace(cell, label="slow"), replace(cell, label="never seen")]
    assert comparison.seconds_left(done, missing, jobs=1) == pytest.approx(2.5 + 100 + 51.25)
    assert comparison.seconds_left(done, missing, jobs=2) == pytest.approx(153.75 / 2)
    assert comparison.seconds_left([failure("anoean", 0)], missing, jobs=1) is None


# --------------------------------------------------------------------------- cells


def test_a_cell_is_what_train_and_evaluate_give(toy: Dataset, cell: Cell):
    from anoean_cli.evaluation.run import figures, score_test_rows
    from anoean_cli.training.run import train_model

    found = comparison.run_cell(toy, cell)
    model = train_model(toy, cell.request)
    assert found["metrics"] == figures(model, score_test_rows(model, toy), bootstrap=0)
    assert found["split"]["test"] == {"normals": 200, "anomalies": 50}
    assert found["model_bytes"] > 1000
    assert found["epochs"] == 2


def test_a_failing_cell_says_why_and_raises_nothing(toy: Dataset, cell: Cell):
    asked = replace(cell.request, settings={"epochs": "many"})
    found = comparison.run_cell(toy, replace(cell, request=asked))
    assert set(found) == {"detector", "seed", "error", "notes"}
    assert "epochs" in found["error"]


def test_a_full_disk_is_no_failure_of_a_detector(
    toy: Dataset, cell: Cell, monkeypatch: pytest.MonkeyPatch
):
    def save(*_: object) -> None:
        raise OutputError("cannot write: No space left on device")

    monkeypatch.setattr("anoean_cli.inference.model.Model.save", save)
    with pytest.raises(OutputError):
        comparison.run_cell(toy, cell)


def test_kept_cells_are_found_again_and_those_of_another_request_are_not(
    toy: Dataset, cell: Cell, tmp_path: Path
):
    store = CellStore(tmp_path, toy)
    assert store.load(cell) is None
    store.keep(cell, result("anoean", 3, 0.9))
    assert CellStore(tmp_path, toy).load(cell)["metrics"]["auc_pr"] == 0.9
    for other in (
        replace(cell.request, settings={"epochs": 3}),
        replace(cell.request, seed=4),
        replace(cell.request, split=SplitRequest(("anomaly",))),
    ):
        assert store.load(replace(cell, request=other)) is None
    elsewhere = replace(toy, provenance={**toy.provenance, "seed": 1})
    assert CellStore(tmp_path, elsewhere).load(cell) is None


def test_a_kept_cell_that_was_cut_off_is_run_again(toy: Dataset, cell: Cell, tmp_path: Path):
    store = CellStore(tmp_path, toy)
    store.keep(cell, result("anoean", 3, 0.9))
    (file,) = tmp_path.iterdir()
    file.write_text(file.read_text()[:40])
    assert store.load(cell) is None


@pytest.mark.parametrize(
    "damage",
    [
        {"detector": "another"},
        {"metrics": {}},
        {"metrics": {"auc_pr": float("nan")}},
        {"fit_seconds": None},
        {"split": []},
    ],
    ids=str,
)
def test_a_kept_cell_that_is_no_result_is_run_again(
    damage: dict, toy: Dataset, cell: Cell, tmp_path: Path
):
    store = CellStore(tmp_path, toy)
    store.keep(cell, result("anoean", 3, 0.9) | damage)
    assert store.load(cell) is None


def test_a_kept_cell_of_another_default_is_run_again(
    toy: Dataset, cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A newer version may train otherwise where the user asks for nothing in particular."""
    from anoean_cli import registry
    from anoean_cli.training.settings import AnoeanParameters

    @dataclass(frozen=True)
    class Newer(AnoeanParameters):
        radial: float = parameter(0.5, "another default")

    store = CellStore(tmp_path, toy)
    store.keep(cell, result("anoean", 3, 0.9))
    assert store.load(cell) is not None
    monkeypatch.setattr(type(registry.get("detectors", "anoean")), "Parameters", Newer)
    assert store.load(cell) is None


def test_a_cell_that_is_named_twice_counts_once(cell: Cell):
    kept = {("anoean", 3): result("anoean", 3, 0.9)}
    assert comparison.ordered([cell, cell], kept) == [kept["anoean", 3]]


def test_processes_run_every_cell_once_and_divide_the_cores(toy: Dataset, cell: Cell):
    """More cells than joblib takes in advance."""
    from anoean_cli.evaluation import workers

    def run(dataset: Dataset, cell: Cell) -> comparison.Result:
        about = {"rows": len(dataset.labels), "cores": environment.own_cores()}
        return {"detector": cell.label, "seed": cell.seed, **about}

    cells = comparison.cells_of({"a": cell.request, "b": cell.request}, first_seed=0, seeds=10)
    found = list(workers.in_processes(run, toy, cells, jobs=2))
    assert sorted((c.label, c.seed) for c, _ in found) == sorted((c.label, c.seed) for c in cells)
    assert all((c.label, c.seed) == (r["detector"], r["seed"]) for c, r in found)
    assert {r["rows"] for _, r in found} == {1100}
    assert {r["cores"] for _, r in found} == {max(1, environment.own_cores() // 2)}


@pytest.mark.parametrize("asked", [None, 1, 64])
def test_threads_that_were_asked_for_are_divided_too(toy: Dataset, cell: Cell, asked: int | None):
    from anoean_cli.evaluation import workers

    def run(dataset: Dataset, cell: Cell) -> comparison.Result:
        return {"threads": cell.request.threads}

    cells = [replace(cell, request=replace(cell.request, threads=asked, seed=s)) for s in (0, 1)]
    found = workers.in_processes(run, toy, cells, jobs=2)
    share = workers.threads_each(2)
    assert {r["threads"] for _, r in found} == {None if asked is None else min(asked, share)}


# --------------------------------------------------------------------------- leaks


def test_all_detectors_of_a_seed_share_their_split(toy: Dataset):
    split = SplitRequest(toy.normal, toy.apportionment)
    contenders = {name: TrainRequest(split, preset=name) for name in ("default", "paper")}
    cells = comparison.cells_of(contenders, first_seed=5, seeds=2)
    assert [(c.label, c.seed) for c in cells] == [
        ("default", 5), ("paper", 5), ("default", 6), ("paper", 6),
    ]  # fmt: skip
    found = [comparison.run_cell(toy, replace(c, request=quick(c.request))) for c in cells]
    assert found[0]["split"] == found[1]["split"]


def quick(request: TrainRequest) -> TrainRequest:
    return replace(request, settings={"epochs": 1, "encoder.width": 0.1}, threads=1)


def test_no_row_nor_its_duplicate_is_in_two_roles(toy: Dataset):
    """Duplicates of every row are in the data; the protocol of the KDD sets drops them."""
    doubled = replace(
        toy,
        examples=toy.examples.take(np.tile(np.arange(len(toy.labels)), 2)),
        labels=np.tile(toy.labels, 2),
    )
    sizes = replace(toy.apportionment, distinct=True)
    split = draw(doubled, SplitRequest(toy.normal, sizes), np.random.default_rng(0))
    groups = row_hashes(doubled.examples)
    roles = [groups[rows] for rows in (split.training, split.selection, split.calibration)]
    seen = np.concatenate([*roles, groups[split.test]])
    assert len(np.unique(seen)) == len(seen)


def test_what_the_test_rows_hold_changes_nothing_of_the_model(toy: Dataset, cell: Cell):
    """Preprocessing, weights, selection and threshold see no test row."""
    from anoean_cli.training.run import train_model

    before = train_model(toy, cell.request)
    rows = before.split["test"]
    x = toy.examples.column("x").to_numpy().copy()
    x[rows] = 1e6
    changed = replace(toy, examples=toy.examples.set_column(0, "x", [x]))
    after = train_model(changed, cell.request)
    assert after.graph == before.graph
    assert after.calibration.threshold == before.calibration.threshold
    for name, array in before.preprocessor.arrays().items():
        assert np.array_equal(array, after.preprocessor.arrays()[name]), name
