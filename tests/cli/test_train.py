"""``train``: what is asked for, what is told, what is refused; and ``prepare``."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anoean_cli.inference.model import load_model

from .conftest import Run, copied, read_rows, table_rows, write_csv

TOY = "train --dataset toy --epochs 3"
# What is asked of the data is the same whatever learns, and trees learn quickly.
TREES = "--detector random-forest --set n_estimators=10"
TABLE = f"train --dataset table.csv --label label {TREES}"


def split_of(about: dict[str, Any]) -> dict[str, tuple[int, int]]:
    return {role: (n["normals"], n["anomalies"]) for role, n in about["split"].items()}


def test_the_summary(table_run: Path) -> None:
    summary = (table_run / "summary.txt").read_text()
    for told in ("ok", "burst, leak", "mlp, ", " of 4\n", "88 normals, 12 anomalies"):
        assert told in summary
    notes = (table_run / "notes.txt").read_text()
    assert "column 'id' is nearly unique to each row" in notes
    assert "column 'same' is constant" in notes
    assert "epoch 4 of 4" in notes
    assert "id" not in summary.split()


def test_same_seed_same_digest(anoean: Run, toy_run: Path) -> None:
    before = json.loads((toy_run / "summary.txt").read_text())
    again = anoean(TOY, "--json", "--quiet", cold=True)  # with hash values of its own
    assert again.json["digest"] == before["digest"]
    assert "epoch" not in again.stderr
    assert before["digest"] != anoean(TOY, "--seed", 1, "-m", "b.h5", "--json").json["digest"]


def test_an_existing_model_is_refused_before_any_work(anoean: Run, model: Path) -> None:
    before = model.read_bytes()
    found = anoean("train", "--dataset", "nosuch.csv")
    assert found.returncode == 7
    assert "anoean.h5" in found.error
    assert "--force" in found.error
    assert model.read_bytes() == before
    assert anoean(TOY, "--force").returncode == 0
    assert model.read_bytes() != before


def test_the_model_may_be_named_by_the_environment(anoean: Run) -> None:
    found = anoean(TOY, env={"ANOEAN_MODEL": "named.h5"})
    assert found.returncode == 0
    assert [path.name for path in Path().iterdir()] == ["named.h5"]


@pytest.mark.parametrize(
    ("args", "status", "told"),
    [
        ("--dataset nope", 6, "'nope'"),
        ("--dataset toy --encoder nope", 6, "'nope'"),
        ("--dataset toy --detector nope", 6, "'nope'"),
        ("--dataset toy --encoder conv", 2, "conv"),
        ("--dataset toy --detector knn --encoder mlp", 2, "detector knn takes no encoder"),
        ("--dataset toy --detector knn --latent-dim 5", 2, "detector knn takes no latent_dim"),
        ("--dataset toy --preset nope", 2, "'nope'"),
        ("--dataset toy --set nope=1", 2, "'nope'"),
        ("--dataset toy --set nope", 2, "KEY=VALUE"),
        ("--dataset toy --set width=much", 2, "width is 'much'"),
        ("--dataset toy --set width=1000", 2, "0.05 to 64"),
        ("--dataset toy --set selection=nope", 2, "ranking"),
        ("--dataset toy --set detector.nope=1", 2, "'nope'"),
        ("--dataset toy --lr 2", 2, "learning_rate"),
        ("--dataset toy --lr nan", 2, "learning_rate"),
        ("--dataset toy --device cuda:99", 2, "cuda:99"),
        ("--dataset toy --device nonsense", 2, "nonsense"),
        ("--dataset toy --split publisher", 2, "toy"),
        ("--dataset toy --source nowhere", 5, "nowhere"),
        ("--dataset mnist --source nowhere", 5, "nowhere"),
        ("--dataset table", 5, "--dataset FILE"),
        ("--dataset toy --normal nope", 3, "'nope'"),
        ("--dataset toy --normal ,", 2, "'a1', 'a2'"),
        ("--dataset toy --normal normal,a1,a2,a3,a4,a5", 3, "no anomalies"),
        ("--dataset toy --normal a1 --train-size 5", 3, "too few"),
        ("--dataset toy --anomaly-types nope", 2, "'nope'"),
        ("--dataset toy --anomaly-types random:x", 2, "random:x"),
        ("--dataset toy --anomaly-types random:²", 2, "random:²"),
        ("--dataset toy --anomaly-types ,", 2, "names no type"),
        ("--dataset toy --anomaly-fraction nan", 2, "--anomaly-fraction"),
        ("--dataset toy --anomaly-fraction 1e300", 2, "--anomaly-fraction"),
        ("--dataset toy --train-size 0", 2, "--train-size"),
        ("--dataset toy --train-size ²", 2, "--train-size"),
        ("--dataset toy --test-size nan", 2, "--test-size"),
        ("--dataset toy --test-size 1.5", 2, "--test-size 1.5"),
        ("--dataset table.csv --source other.csv --label label", 2, "--source other.csv"),
        ("--dataset toy --test-size inf", 2, "--test-size"),
        ("--dataset toy --threads 2000", 2, "--threads"),
        ("--dataset toy --label state", 2, "--label"),
        ("--dataset toy --null-values x --header no", 2, "--header, --null-values"),
        ("--dataset nsl-kdd --delimiter tab", 2, "--delimiter"),
        ("--dataset mnist --ignore x --numeric a --categorical b", 2, "--ignore"),
        ("--dataset table.csv --label label --normal ok --ignore label", 2, "label column"),
        ("--dataset toy --train-size few", 2, "'few'"),
        ("--dataset toy --test-size -1", 2, "--test-size"),
        ("--dataset table.csv --label label", 2, "'burst', 'leak', 'ok'"),
        ("--dataset toy --anomaly-fraction -0.1", 2, "--anomaly-fraction is '-0.1'"),
        ("--dataset toy --anomaly-fraction few", 2, "--anomaly-fraction is 'few'"),
        ("--dataset table.csv --label nope --normal ok", 2, "nope"),
        ("--dataset table.csv --label label --normal NA", 3, "--null-values"),
        ("--dataset table.csv --label label --normal ok --ignore nope", 2, "nope"),
        ("--dataset table.csv --label label --normal ok --numeric colour", 3, "column 'colour'"),
        ("--dataset table.csv --delimiter abc", 2, "--delimiter"),
        ("--dataset table.csv --encoding nope", 2, "nope"),
        ("--dataset toy --max-rows 10", 2, "--max-rows"),
        ("--dataset table.csv --max-rows 0", 2, "--max-rows is '0'"),
        ("--dataset table.csv --label id --normal ok --max-rows 100", 3, "400 labels"),
    ],
)
@pytest.mark.usefixtures("table")
def test_what_cannot_be_done_is_told(anoean: Run, args: str, status: int, told: str) -> None:
    found = anoean("train", args)
    assert (found.returncode, found.stdout) == (status, "")
    assert told in found.error
    assert [path.name for path in Path().iterdir()] == ["table.csv"]


def test_threads_in_the_environment_must_be_a_number(anoean: Run) -> None:
    for threads in ("many", "²", "2000"):
        found = anoean(TOY, env={"ANOEAN_THREADS": threads})
        assert found.returncode == 2
        assert f"ANOEAN_THREADS is '{threads}'" in found.error


def test_rows_without_a_label(anoean: Run) -> None:
    rows = table_rows(200, seed=1)
    for row in rows[:8]:
        row[-1] = ""
    write_csv(Path("table.csv"), rows)
    sizes = {}
    for unlabeled in ("drop", "normal"):
        options = f"--normal ok --unlabeled {unlabeled} -m {unlabeled}.h5 --json"
        found = anoean(TABLE, options)
        assert "8 unlabelled rows" in found.stderr
        split = split_of(found.json)
        sizes[unlabeled] = tuple(sum(part[i] for part in split.values()) for i in (0, 1))
    # One of the eight was an anomaly.
    assert sizes == {"drop": (168, 24), "normal": (176, 24)}


def test_a_label_that_only_anomalies_have(anoean: Run) -> None:
    rows = [[*row[:-1], "" if row[-1] == "ok" else row[-1]] for row in table_rows(400, seed=1)]
    write_csv(Path("table.csv"), rows)
    refused = anoean(TABLE)
    assert refused.returncode == 2
    assert "--unlabeled normal" in refused.error
    trained = anoean(TABLE, "--unlabeled normal --test-size 0.2 --json")
    assert trained.returncode == 0, trained.stderr
    assert "350 unlabelled rows taken as normal, and all others as anomalies" in trained.stderr
    assert split_of(trained.json)["test"] == (70, 10)
    assert trained.json["seen_types"] == ["burst", "leak"]
    assert "rows without a label" in anoean("info").stdout
    set_aside = anoean("evaluate --json").json
    assert (set_aside["n_normals"], set_aside["n_anomalies"]) == (70, 10)
    given = anoean("evaluate --data table.csv --json").json
    assert (given["n_normals"], given["n_anomalies"]) == (350, 50)
    calibrated = anoean("calibrate --data table.csv --maximize-f1")
    assert "350 normals and 50 anomalies by label" in calibrated.stderr
    assert len(anoean("score table.csv").rows) == 400


@pytest.mark.parametrize("order", ["in order", "shuffled"])
def test_a_column_that_counts_the_rows_is_dropped(anoean: Run, order: str) -> None:
    numbers = np.arange(500)
    if order == "shuffled":
        numbers[:400] = np.random.default_rng(0).permutation(400)
    rows = [[str(n + 1), *row[1:]] for n, row in zip(numbers, table_rows(500, 1), strict=True)]
    write_csv(Path("table.csv"), rows[:400])
    found = anoean(TABLE, "--normal ok --test-size 0.2")
    assert found.returncode == 0, found.stderr
    assert "column 'id' counts the rows: dropped" in found.stderr
    normals = [row for row in rows[400:] if row[-1] == "ok"]  # numbered on
    write_csv(Path("fresh.csv"), normals)
    scored = anoean("score", "fresh.csv").rows
    assert sum(row["anomaly"] == "true" for row in scored) < 0.1 * len(normals)


@pytest.mark.usefixtures("table")
def test_few_anomalies(anoean: Run) -> None:
    found = anoean(TABLE, "--normal", "ok", "--anomaly-fraction", "0.02", "--json")
    assert found.returncode == 0
    assert sum(part[1] for part in split_of(found.json).values()) == 7
    assert "only 7 anomalies to learn from" in found.stderr


def test_all_anomalies(anoean: Run) -> None:
    sizes = "--train-size 200 --test-size 0 --json"
    some, every = (
        split_of(anoean("train --dataset toy", TREES, sizes, options, "-m", name).json)
        for options, name in (("", "some.h5"), ("--anomaly-fraction all", "every.h5"))
    )
    assert sum(anomalies for _, anomalies in some.values()) == 20
    assert sum(anomalies for _, anomalies in every.values()) == 100


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    "args", ["--label label --normal ok --anomaly-fraction 0", "--ignore label"]
)
def test_one_class(anoean: Run, args: str) -> None:
    found = anoean("train", "--dataset", "table.csv", "--epochs", "1", "--json", args)
    assert found.returncode == 0, found.stderr
    assert "against artificial ones" in found.stderr
    assert found.json["seen_types"] == []
    assert all(anomalies == 0 for _, anomalies in split_of(found.json).values())


@pytest.mark.parametrize(("types", "count"), [("a1,a3", 2), ("random:4", 4), ("all", 5)])
def test_which_anomalies_training_shows(anoean: Run, types: str, count: int) -> None:
    seen = anoean("train --dataset toy", TREES, "--anomaly-types", types, "--json").json[
        "seen_types"
    ]
    assert len(seen) == count
    assert types != "a1,a3" or seen == ["a1", "a3"]


@pytest.mark.parametrize(
    ("sizes", "normals", "test"),
    [
        ("--train-size 200 --test-size 100", 200, (80, 20)),
        ("--train-size all --test-size 0", 1000, (0, 0)),
        ("--train-size all --test-size 0.3", 700, (300, 30)),
    ],
)
def test_sizes(anoean: Run, sizes: str, normals: int, test: tuple[int, int]) -> None:
    split = split_of(anoean("train --dataset toy", TREES, sizes, "--json").json)
    assert split.pop("test") == test
    assert sum(n for n, _ in split.values()) == normals


def test_the_paper_preset(anoean: Run) -> None:
    about = anoean(TOY, "--preset", "paper", "--patience", "1", "--json").json
    parameters = about["detector"]["parameters"]
    assert about["detector"]["preset"] == "paper"
    expected = {"radial": 0.0, "averaging": 0.0, "selection": "auc_pr", "batch_size": 200}
    assert {name: parameters[name] for name in expected} == expected
    assert (parameters["epochs"], parameters["patience"]) == (3, 1), "options do not go before it"


def test_the_small_preset_is_a_small_part_of_the_default(anoean: Run, toy: Path) -> None:
    small = anoean(TOY, "--preset small -m small.h5 --json").json
    assert (small["detector"]["preset"], small["output"]) == ("small", "embedding")
    assert Path("small.h5").stat().st_size < 0.5 * toy.stat().st_size


def test_the_sample_is_marked(image_run: Path) -> None:
    about = json.loads((image_run / "summary.txt").read_text())
    assert about["dataset"]["sample"] is True
    assert about["normal"] == ["3"]
    assert len(about["seen_types"]) == 4
    assert about["encoder"]["name"] == "conv"


# --------------------------------------------------------------------------- real data


def test_publishers_split_and_families(anoean: Run, tmp_path: Path) -> None:
    folder = tmp_path / "nsl-kdd"
    folder.mkdir()
    rng_rows = [
        ["0", "tcp", "http" if at % 3 else "ftp", "SF", str(at % 97), str(at % 89)]
        + [str((at * k) % (7 + k)) for k in range(35)]
        for at in range(300)
    ]
    labels = ["neptune", "smurf", "nmap"]
    rows = [
        [*row, labels[at // 10 % 3] if at % 10 == 0 else "normal", "21"]
        for at, row in enumerate(rng_rows)
    ]
    write_csv(folder / "KDDTrain+.txt", rows[:200], ())
    write_csv(folder / "KDDTest+.txt", rows[200:], ())
    options = f"--split publisher --anomaly-types dos --train-size all --json {TREES}"
    found = anoean("train", "--dataset", "nsl-kdd", "--source", "nsl-kdd", options)
    if found.returncode == 5 and "checksum" in found.stderr:
        pytest.skip("made-up files are refused by their checksum")
    assert found.returncode == 0, found.stderr
    assert found.json["seen_types"] == ["neptune", "smurf"]
    assert split_of(found.json)["test"] == (90, 10)


# --------------------------------------------------------------------------- prepare


def test_prepared_data_trains_to_the_same_scores(anoean: Run, table: Path, table_run: Path) -> None:
    prepared = anoean("prepare", "table.csv", "--label", "label", "--out", "table.h5")
    refused = anoean("train", "--dataset", "table.h5", "--label", "label", "--normal", "ok")
    assert refused.returncode == 2
    assert "--label" in refused.error
    assert prepared.returncode == 0
    assert prepared.stdout == "table.h5\n"
    assert "400 rows" in prepared.stderr
    options = "--normal ok --test-size 0.25 --epochs 4"
    assert anoean("train", "--dataset", "table.h5", options).returncode == 0
    ours, theirs = load_model("anoean.h5"), load_model(table_run / "model.h5")
    assert ours.graph == theirs.graph
    assert ours.calibration.reference.tolist() == theirs.calibration.reference.tolist()
    refused = anoean("prepare", "nosuch.csv", "--out", "table.h5")
    assert refused.returncode == 7
    assert "--force" in refused.error


def test_a_test_of_few_anomalies_is_told_to_be_one(anoean: Run) -> None:
    rows = [row for row in table_rows(400, seed=1) if row[-1] == "ok"]
    rows += [row for row in table_rows(99, seed=2) if row[-1] != "ok"]
    write_csv(Path("t.csv"), rows)
    how = "train --dataset t.csv --label label --normal ok --detector knn --test-size"
    assert anoean(how, "0.3").returncode == 0
    assert "4 anomalies to be found: the figures hang on so few" in anoean("evaluate").stderr
    assert anoean(how, "0.3 --label label --normal leak,burst --force").returncode == 0
    assert "hang on so few" not in anoean("evaluate").stderr


def test_intervals_without_width_are_told_to_be_no_certainty(anoean: Run) -> None:
    rows = [f"{at % 7}.{at},ok" for at in range(200)] + [f"90.{at},odd" for at in range(100, 140)]
    Path("t.csv").write_text("\n".join(["x,kind", *rows]) + "\n")
    how = "train --dataset t.csv --label kind --normal ok --detector knn --test-size 0.3"
    assert anoean(how).returncode == 0
    told = anoean("evaluate").stderr
    assert "roc_auc" in told
    assert "befell none of 12 distinct rows may befall 22.1% of new ones (95 %)" in told


def test_prepare_takes_kinds_of_columns_as_train_does(anoean: Run) -> None:
    rows = "".join(f"{n % 7},{n * n % 11},2026-01-0{n % 9 + 1}\n" for n in range(60))
    Path("t.csv").write_text("zip,size,day\n" + rows)
    kinds = "--categorical zip,day --numeric size"
    assert anoean("prepare t.csv --out t.h5", kinds).returncode == 0
    found = json.loads(anoean("info t.h5 --json").stdout)["features"]
    assert found == [["zip", "categorical"], ["size", "numeric"], ["day", "categorical"]]
    refused = anoean("prepare t.csv --out u.h5 --datetime size")
    assert refused.returncode == 3
    assert "size" in refused.error


def test_prepare_goes_to_the_cache_that_train_takes(anoean: Run) -> None:
    found = anoean("prepare", "toy")
    assert found.returncode == 0, found.stderr
    kept = Path("cache/prepared/toy.h5").absolute()
    assert Path(found.stdout.strip()) == kept
    trained = anoean("train --dataset toy --verbose", TREES)
    assert trained.returncode == 0, trained.stderr
    assert f"taking {kept}" in trained.stderr
    assert anoean("prepare", "toy").returncode == 7
    assert anoean("prepare", "table.csv").returncode == 2


def test_a_cache_that_cannot_be_is_told(anoean: Run) -> None:
    Path("file").touch()
    for cache in ("file", "/proc/cache"):
        found = anoean("prepare", "toy", env={"ANOEAN_CACHE": cache})
        assert found.returncode == 7
        assert f"cannot write {cache}/prepared" in found.error


# --------------------------------------------------------------------------- evaluate


def test_evaluate_on_the_rows_set_aside(
    anoean: Run, table: Path, table_run: Path, tmp_path: Path
) -> None:
    copied(table_run, tmp_path, "anoean.h5")
    found = anoean("evaluate", "--json").json
    figures = {"auc_pr", "auc_pr_trapezoid", "roc_auc", "f1_best", "accuracy_at_f1_best"}
    figures |= {"threshold", "precision", "recall", "f1", "accuracy", "fpr", "recall_at_fpr_0.01"}
    with_intervals = figures - {"threshold"}
    expected = figures | {f"{name}_{end}" for name in with_intervals for end in ("low", "high")}
    about = {"model", "model_digest", "data", "sample", "source", "files", "notes"}
    about |= {"n_normals", "n_anomalies"}
    assert set(found) - {"seen", "unseen"} == expected | about
    assert set(found["seen"]) == expected | {"n_normals", "n_anomalies"}
    assert (found["n_normals"], found["n_anomalies"]) == (88, 12)
    assert (found["data"], found["sample"], found["source"]) == ("table.csv", False, "file")
    assert list(found["files"]) == ["table.csv"]
    assert found["model_digest"] == anoean("info", "--json").json["digest"]
    for name in with_intervals:
        assert 0 <= found[f"{name}_low"] <= found[name] <= found[f"{name}_high"] <= 1
    shown = anoean("evaluate").stdout
    assert f"{found['auc_pr']:.4f}" in shown
    assert found["model_digest"][:16] in shown
    assert "data    table.csv (file)\n" in shown
    # Nothing of what it says may come from rows that it was not asked about.
    table.write_text(table.read_text().replace("red", "green", 1))
    changed = anoean("evaluate")
    assert changed.returncode == 3
    assert "table.csv" in changed.error
    table.rename("moved.csv")
    moved = anoean("evaluate")
    assert moved.returncode == 3
    assert "table.csv" in moved.error
    write_csv(Path("elsewhere.csv"), table_rows(400, seed=1))
    elsewhere = anoean("evaluate", "--json", "--source", "elsewhere.csv").json
    assert elsewhere["data"] == "elsewhere.csv"
    assert {**elsewhere, "data": found["data"], "files": found["files"]} == found


def test_evaluate_scores_the_very_rows_of_the_training(anoean: Run) -> None:
    """A prepared file and the seed of a training name different rows of a generated data set."""
    assert anoean("prepare", "toy", "--out", "rows.h5").returncode == 0
    options = "--dataset rows.h5 --seed 3 --epochs 1"
    assert anoean("train", options).returncode == 0
    found = anoean("evaluate", "--json")
    assert found.returncode == 0, found.stderr
    assert found.json["n_anomalies"] == 50
    other = anoean("evaluate", "--source", "auto")
    assert (other.returncode, other.stdout) == (5, "")
    write_csv(Path("rows.csv"), [[at % 7, at % 5, "ok"] for at in range(1100)], "xyl")
    assert anoean("prepare", "rows.csv --label l --out rows.h5 --force").returncode == 0
    changed = anoean("evaluate")
    assert (changed.returncode, changed.stdout) == (3, "")
    assert "not the data that the model was trained from" in changed.error


def test_evaluate_on_given_rows(anoean: Run, model: Path, fresh: Path) -> None:
    scores = anoean("score", fresh, "--keep", "label").rows
    found = anoean("evaluate", "--data", fresh, "--json").json
    normals = [row for row in scores if row["label"] == "ok"]
    anomalies = [row for row in scores if row["label"] != "ok"]
    assert (found["n_normals"], found["n_anomalies"]) == (len(normals), len(anomalies))
    caught = sum(row["anomaly"] == "true" for row in anomalies)
    assert found["recall"] == pytest.approx(caught / len(anomalies))
    false = sum(row["anomaly"] == "true" for row in normals)
    assert found["fpr"] == pytest.approx(false / len(normals))
    assert (found["data"], found["source"], found["notes"]) == (str(fresh), "file", [])
    assert found["files"] == {"fresh.csv": hashlib.sha256(fresh.read_bytes()).hexdigest()}
    other = anoean("evaluate", "--data", fresh, "--normal", "ok,leak", "--json").json
    assert other["n_anomalies"] == 10
    absent = anoean("evaluate", "--data", fresh, "--normal", "ok,nope")
    assert absent.returncode == 3
    assert f"no row of {fresh} has the label 'nope'" in absent.error


def test_evaluate_knows_a_publishers_labels(anoean: Run, model: Path, fresh: Path) -> None:
    expected = anoean("evaluate", "--data", fresh, "--json").json
    dotted = fresh.with_name("dotted.csv")
    head, *rows = fresh.read_text().splitlines()
    dotted.write_text("\n".join([head, *(f"{row}." for row in rows)]) + "\n")
    trained = load_model(model)
    about = {**trained.config["dataset"], "label_ending": "."}
    kdd = replace(trained, config={**trained.config, "dataset": about})
    kdd.save(model, overwrite=True)
    found = anoean("evaluate", "--data", dotted, "--json")
    assert found.stderr == ""
    assert [k for k in expected if found.json[k] != expected[k]] == [
        "model_digest",
        "data",
        "files",
    ]
    assert anoean("calibrate", "--data", dotted, "--label label --fpr 0.1").returncode == 0


def test_anomalies_by_other_names_are_told(anoean: Run, model: Path, fresh: Path) -> None:
    fresh.write_text(fresh.read_text().replace("leak", "Leak").replace("burst", "Burst"))
    found = anoean("evaluate", "--data", fresh)
    assert found.returncode == 0
    assert (
        "none of its anomalies is of a type that training showed ('burst', 'leak')" in found.stderr
    )
    assert "its anomalies are: 'Burst', 'Leak'" in found.stderr


def test_unseen_types_are_told_apart(anoean: Run, tmp_path: Path) -> None:
    options = "--anomaly-types a1,a2 --test-size 100 -m m.h5"
    assert anoean(TOY, options).returncode == 0
    found = anoean("evaluate", "-m", "m.h5", "--json").json
    assert found["seen"]["n_anomalies"] + found["unseen"]["n_anomalies"] == 20
    assert found["unseen"]["n_anomalies"] > 0


@pytest.mark.parametrize("unlabeled", ["drop", "normal"])
def test_rows_without_a_label_are_what_they_were_in_training(anoean: Run, unlabeled: str) -> None:
    rows = table_rows(240, seed=1)
    for row in rows[1::16]:
        row[-1] = ""
    write_csv(Path("table.csv"), rows)
    assert anoean(TABLE, "--normal ok --unlabeled", unlabeled).returncode == 0
    evaluated = anoean("evaluate --data table.csv --json")
    calibrated = anoean("calibrate --data table.csv")
    normals, what = (210, "taken as normal") if unlabeled == "normal" else (195, "left out")
    told = f"table.csv: 15 unlabelled rows {what}: the model was trained with --unlabeled"
    assert told in evaluated.stderr
    assert told in calibrated.stderr
    assert (evaluated.json["n_normals"], evaluated.json["n_anomalies"]) == (normals, 30)
    assert f"table.csv: {normals} normals and 30 anomalies by label" in calibrated.stderr


def test_evaluate_says_when_there_is_nothing_to_evaluate(
    anoean: Run, model: Path, fresh: Path
) -> None:
    assert anoean(TOY, "--test-size", 0, "-m", "bare.h5").returncode == 0
    bare = anoean("evaluate", "-m", "bare.h5")
    assert bare.returncode == 2
    assert "--data" in bare.error
    write_csv(Path("normals.csv"), [row for row in table_rows(40, 3) if row[-1] == "ok"])
    one_class = anoean("evaluate", "--data", "normals.csv")
    assert one_class.returncode == 3
    write_csv(Path("none.csv"), [[*row[:-1], ""] for row in table_rows(40, 3)])
    unlabelled = anoean("evaluate", "--data", "none.csv")
    assert unlabelled.returncode == 3
    assert "--label" in unlabelled.error


def test_evaluate_on_images_of_the_sample(anoean: Run, images: Path) -> None:
    found = anoean("evaluate", "-m", images, "--json").json
    assert (found["data"], found["sample"], found["source"]) == ("mnist", True, "sample")
    assert {"seen", "unseen"} <= set(found)
    assert found["notes"] == anoean("info", images, "--json").json["notes"] != []
    shown = anoean("evaluate", "-m", images).stdout
    assert "data    mnist (sample)\n" in shown
    assert all(f"note    {note}\n" in shown for note in found["notes"])


def test_rows_are_drawn_from_a_table_that_has_too_many(anoean: Run, table: Path) -> None:
    whole = (
        "train --dataset table.csv --label label --normal ok --test-size 0.25 --detector knn "
        "--json -m"
    )
    first = anoean(whole, "whole.h5 --max-rows 400")
    assert first.json["digest"] == anoean(whole, "all.h5 --max-rows all").json["digest"]
    assert "drawn" not in first.stderr

    found = anoean(whole, "some.h5 --max-rows 120 --seed 2")
    assert found.returncode == 0, found.stderr
    assert (
        "warning: table.csv: 120 of its 400 rows are drawn (--max-rows): "
        "'ok' 70 of 350, 'burst' 25 of 25, 'leak' 25 of 25" in found.stderr
    )
    data = found.json["dataset"]
    assert (data["rows"], data["drawn_from"]) == (120, 400)
    # The rows set aside are found again, and the same options give the same model.
    evaluated = anoean("evaluate -m some.h5 --json")
    assert evaluated.returncode == 0, evaluated.stderr
    assert evaluated.json["n_normals"] == found.json["split"]["test"]["normals"]
    again = anoean(whole, "again.h5 --max-rows 120 --seed 2")
    assert again.json["digest"] == found.json["digest"]


def test_rows_are_drawn_for_a_prepared_file(anoean: Run, table: Path) -> None:
    made = anoean("prepare table.csv --label label --out t.h5 --max-rows 90")
    assert made.returncode == 0, made.stderr
    assert "90 of its 400 rows are drawn (--max-rows): 'ok' 40 of 350" in made.stderr
    trained = anoean("train --dataset t.h5 --normal ok --detector knn --json")
    assert trained.returncode == 0, trained.stderr
    assert trained.json["dataset"]["drawn_from"] == 400
    refused = anoean("train --dataset t.h5 --normal ok --max-rows 10 -m n.h5")
    assert refused.returncode == 2
    assert "--max-rows" in refused.error


def test_a_column_that_counts_the_rows_is_dropped_from_drawn_rows_too(anoean: Run) -> None:
    rows = [[n, row[1], row[-1]] for n, row in enumerate(table_rows(2000, seed=4), start=7)]
    write_csv(Path("t.csv"), rows, ("n", "size", "label"))
    how = "--normal ok --detector knn --json -m"
    here = anoean(f"train --dataset t.csv --label label --max-rows 200 {how} here.h5")
    assert here.returncode == 0, here.stderr
    assert list(here.json["columns"]) == ["size"]
    assert anoean("prepare t.csv --label label --out t.h5 --max-rows 200").returncode == 0
    assert list(anoean(f"train --dataset t.h5 {how} there.h5").json["columns"]) == ["size"]


def dirty_table(wrong: int) -> Path:
    """900 rows, of whose anomalies so many, the first, are labelled normal."""
    rows = table_rows(900, seed=0)
    anomalies = [row for row in rows if row[-1] != "ok"]
    for row in anomalies[:wrong]:
        row[-1] = "ok"
    for row in anomalies:  # plainly apart from normals
        row[1], row[2] = "6.5", "9.000"
    return write_csv(Path("dirty.csv"), rows)


def test_rows_that_seem_to_be_labelled_wrongly_are_told_by_their_numbers(anoean: Run) -> None:
    dirty_table(30)
    few = "train --dataset dirty.csv --label label --normal ok --epochs 1 --doubtful doubtful.csv"
    found = anoean(few, "--json")
    assert found.returncode == 0
    told = read_rows(Path("doubtful.csv").read_text())
    numbers = [int(row["row"]) for row in told]
    wrong = range(8, 8 * 30 + 1, 8)
    assert 20 <= len(numbers) <= 30  # the others are of the test
    assert numbers == sorted(numbers)
    assert set(numbers) <= set(wrong)
    assert {row["label"] for row in told} == {"ok"}
    (note,) = (note for note in found.json["notes"] if "labelled normal" in note)
    assert note.startswith(f"anoean leaves out {len(told)} rows")
    assert note in found.stderr
    assert found.json["doubtful"] == len(told)
    assert f"left out        {len(told)} rows labelled normal" in anoean("info").stdout

    again = anoean(few, "-m", "other.h5")
    assert again.returncode == 7
    assert "doubtful.csv" in again.error
    assert not Path("other.h5").exists()

    drawn = anoean(few, "-m other.h5 --force --max-rows 700")
    assert drawn.returncode == 0
    numbers = [int(row["row"]) for row in read_rows(Path("doubtful.csv").read_text())]
    assert max(numbers) > 200, "numbers of the rows drawn, not of those in the file"
    assert set(numbers) <= set(wrong)

    assert anoean(few, "--resume").returncode == 0, "an earlier list is written again"
    assert read_rows(Path("doubtful.csv").read_text()) == told

    Path("doubtful.csv").write_text("precious")
    refused = anoean(few, "--resume")
    assert (refused.returncode, Path("doubtful.csv").read_text()) == (7, "precious")
    assert "doubtful.csv" in refused.error


def test_of_right_labels_no_row_is_told(anoean: Run) -> None:
    dirty_table(0)
    columns = "train --dataset dirty.csv --label label --normal ok"
    assert anoean(columns, "--epochs 1 --doubtful none.csv").returncode == 0
    assert Path("none.csv").read_text() == "row,label\n"


def test_that_rows_allow_no_look_for_wrong_labels_is_told(anoean: Run) -> None:
    write_csv(Path("few.csv"), table_rows(32, seed=0))
    columns = "train --dataset few.csv --label label --normal ok"
    found = anoean(columns, "--epochs 1 --doubtful none.csv")
    assert (found.returncode, Path("none.csv").read_text()) == (0, "row,label\n")
    assert "none.csv lists no rows, as none were looked for" in found.stderr


@pytest.mark.parametrize(
    "more", ["--preset paper", "--set label_filter=1", "--anomaly-fraction 0", TREES]
)
def test_who_looks_for_no_wrong_labels_tells_none(anoean: Run, more: str) -> None:
    dirty_table(0)
    found = anoean("train --dataset dirty.csv --label label --normal ok --doubtful none.csv", more)
    assert (found.returncode, Path("none.csv").exists()) == (2, False)
    assert "--doubtful none.csv" in found.error


def test_what_is_told_of_labels_is_no_file_that_is_read(anoean: Run) -> None:
    dirty_table(0)
    before = Path("dirty.csv").read_bytes()
    found = anoean("train --dataset dirty.csv --label label --normal ok --doubtful dirty.csv")
    assert (found.returncode, Path("dirty.csv").read_bytes()) == (2, before)
    assert "--doubtful dirty.csv" in found.error
