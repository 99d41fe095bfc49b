"""Options from a file, and the file that repeats a run."""

from __future__ import annotations

import shutil
import tomllib
from dataclasses import fields, replace
from pathlib import Path

import pytest

from anoean_cli import registry
from anoean_cli.commands.train import DataFlags, DetectorFlags, LearningFlags, split_request
from anoean_cli.interfaces import Apportionment, LoadRequest
from tests.cli.conftest import Run
from tests.cli.test_images import write_images

TRAIN = "--label label --normal ok --test-size 0.25 --epochs 2"


def config(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "run.toml"
    path.write_text(text)
    return path


def test_printed_configuration_repeats_the_run(anoean: Run, table: Path, tmp_path: Path) -> None:
    what = f"--dataset table.csv {TRAIN} --seed 3 --set distillation=0.5 --set forest=1"
    printed = anoean(f"train {what} --print-config -m first.h5")
    assert printed.returncode == 0, printed.stderr
    assert not Path("first.h5").exists()
    settings = tomllib.loads(printed.stdout)["train"]
    assert settings["seed"] == 3
    assert settings["set"]["detector"]["distillation"] == 0.5
    assert settings["encoder"] == "mlp"

    first = anoean(f"train {what} -m first.h5 --json")
    config(tmp_path, printed.stdout)
    again = anoean("train --config run.toml -m again.h5 --json")
    assert again.returncode == 0, again.stderr
    assert again.json["digest"] == first.json["digest"]
    assert anoean("train --config run.toml --print-config").stdout == printed.stdout


def test_printed_configuration_holds_what_only_some_runs_have(anoean: Run, tmp_path: Path) -> None:
    """A size of images, and a parameter that is none where the preset has a number."""
    write_images(Path("folder/good"), 30)
    found = printed(anoean, "--dataset folder --image-size 8 --normal good --anomaly-fraction 0")
    assert found["image-size"] == 8

    found = printed(anoean, "--dataset toy --preset paper --set patience=none")
    assert "patience" not in found
    assert found["set"]["detector"]["patience"] == "none"  # type: ignore[index]


def test_whether_equal_rows_are_taken_once_is_printed(anoean: Run, table: Path) -> None:
    what = f"--dataset table.csv {TRAIN}"
    assert printed(anoean, what)["distinct"] is False
    assert printed(anoean, f"{what} --distinct")["distinct"] is True
    assert printed(anoean, f"{what} --distinct --no-distinct")["distinct"] is False


@pytest.mark.parametrize(("given", "taken"), [(None, True), (True, True), (False, False)])
def test_a_protocol_that_takes_equal_rows_once_can_be_told_not_to(
    given: bool | None, taken: bool
) -> None:
    rows = registry.get("datasets", "toy").load(LoadRequest())
    rows = replace(rows, apportionment=Apportionment(distinct=True))
    assert split_request(rows, DataFlags(distinct=given)).apportionment.distinct is taken


def test_each_option_that_says_what_is_trained_is_printed(anoean: Run, table: Path) -> None:
    """None of those would be as it was in the run that is to be repeated."""
    found = printed(anoean, f"--dataset table.csv {TRAIN} --patience 3 --batch-size 64 --lr 0.01")
    flags = {f.name for kind in (DataFlags, DetectorFlags, LearningFlags) for f in fields(kind)}
    of_none = {"ignore", "numeric", "categorical", "datetime", "dates", "schema", "image_size"}
    of_none |= {"max_rows", "covariance"}  # nothing stands there where nothing is said
    assert {flag.replace("_", "-") for flag in flags - of_none} <= found.keys()


def test_an_estimator_repeats_and_the_command_line_overrules_it(
    anoean: Run, table: Path, tmp_path: Path
) -> None:
    printed = anoean(f"train --dataset table.csv {TRAIN} --covariance mcd --print-config")
    config(tmp_path, printed.stdout)
    assert anoean("train --config run.toml -m own.h5 --json").returncode == 0
    command = "train --config run.toml -m own.h5 --force --json"
    again = anoean(f"{command} --set covariance=empirical --print-config")
    assert tomllib.loads(again.stdout)["train"]["set"]["detector"]["covariance"] == "empirical"


def test_a_parameter_is_not_given_in_two_ways(anoean: Run, table: Path) -> None:
    for setting in ("epochs=3", "detector.epochs=3"):
        done = anoean(f"train --dataset table.csv {TRAIN} --set {setting}")
        assert done.returncode == 2
        assert done.stderr == f"error: --set {setting} and --epochs say the same: give one\n"
    both = "--covariance mcd --set detector.covariance=empirical"
    done = anoean(f"train --dataset table.csv {TRAIN} {both}")
    assert done.returncode == 2
    assert done.stderr.endswith("--set covariance= and --covariance say the same: give one\n")


def test_a_setting_of_the_command_line_wins_over_an_option_of_the_file(
    anoean: Run, tmp_path: Path
) -> None:
    config(tmp_path, "[train]\nepochs = 50\nlr = 0.5\n")
    found = printed(anoean, "--dataset toy --config run.toml --set detector.epochs=7")
    assert (found["epochs"], found["lr"]) == (7, 0.5)
    assert printed(anoean, "--dataset toy --config run.toml --epochs 8")["epochs"] == 8


def printed(anoean: Run, *args: str, **how: dict[str, str]) -> dict[str, object]:
    done = anoean("train --print-config", *args, **how)
    assert done.returncode == 0, done.stderr
    return dict(tomllib.loads(done.stdout)["train"])


def test_command_line_wins_over_file_and_file_over_environment(anoean: Run, tmp_path: Path) -> None:
    config(
        tmp_path,
        '[train]\ndataset = "toy"\nmodel = "of-file.h5"\nthreads = 1\nepochs = 4\nseed = 5\n'
        "[train.set.detector]\nlearning_rate = 0.5\nforest = 1.5\nradial = 0.5\n",
    )
    environment = {"ANOEAN_MODEL": "of-environment.h5", "ANOEAN_THREADS": "2"}
    found = printed(
        anoean, "--config run.toml --epochs 3 --lr 0.25 --set forest=1.25", env=environment
    )
    assert found["model"] == "of-file.h5"
    assert (found["threads"], found["epochs"], found["seed"]) == (1, 3, 5)
    assert found["lr"] == 0.25
    detector = found["set"]["detector"]  # type: ignore[index]
    assert (detector["forest"], detector["radial"]) == (1.25, 0.5)


def test_other_commands_take_a_file(anoean: Run, model: Path, fresh: Path, tmp_path: Path) -> None:
    shutil.move("anoean.h5", "named.h5")
    config(tmp_path, '[score]\ninputs = ["fresh.csv"]\nmodel = "named.h5"\nonly-anomalies = true\n')
    done = anoean("score --config run.toml")
    assert done.returncode == 0, done.stderr
    assert done.stdout == anoean("score fresh.csv -m named.h5 --only-anomalies").stdout


def test_command_line_turns_off_what_a_file_turns_on(
    anoean: Run, model: Path, fresh: Path, tmp_path: Path
) -> None:
    config(tmp_path, "[score]\nonly-anomalies = true\nfail-on-anomaly = true\nquiet = true\n")
    done = anoean(
        "score fresh.csv --config run.toml --no-only-anomalies --no-fail-on-anomaly --no-quiet -v"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == anoean("score fresh.csv").stdout
    assert "160 rows read" in done.stderr


@pytest.mark.parametrize("option", ["--out", "--summary", "--embeddings", "--model"])
def test_a_file_of_options_is_never_written(
    anoean: Run, model: Path, fresh: Path, tmp_path: Path, option: str
) -> None:
    before = config(tmp_path, "[score]\nforce = true\n").read_bytes()
    done = anoean(f"score fresh.csv --config run.toml {option} run.toml")
    assert done.returncode == 2
    assert f"{option} run.toml: that file is --config too; name another one" in done.error
    assert Path("run.toml").read_bytes() == before


def test_a_file_of_options_that_names_itself(anoean: Run, toy: Path, tmp_path: Path) -> None:
    before = config(tmp_path, '[calibrate]\nout = "run.toml"\nforce = true\n').read_bytes()
    done = anoean("calibrate -m toy.h5 --config run.toml")
    assert done.returncode == 2
    assert "that file is --config too" in done.error
    assert Path("run.toml").read_bytes() == before


def test_a_bad_file_ends_in_one_line(anoean: Run, tmp_path: Path) -> None:
    config(tmp_path, "[train]\nseed = 1\nepoch = 2\n")
    done = anoean("train --config run.toml --dataset toy")
    assert done.returncode == 2
    assert "run.toml, line 3: [train] epoch: there is no such option; did you mean" in done.error


def test_file_that_cannot_be_read(anoean: Run, tmp_path: Path) -> None:
    done = anoean("train --config absent.toml --dataset toy")
    assert done.returncode == 2
    assert "absent.toml: cannot be read: No such file" in done.error


def test_a_parameter_that_the_file_cannot_set(anoean: Run, tmp_path: Path) -> None:
    config(tmp_path, "[train]\ndataset = 'toy'\n[train.set]\nforest = true\n")
    done = anoean("train --print-config --config run.toml")
    assert done.returncode == 2
    told = "run.toml, line 4: [train] set.forest: detector anoean: forest is 'true'; a value of"
    assert f"error: {told}" in done.error
    done = anoean("train --print-config --config run.toml --set forest=few")
    assert done.error.startswith("error: detector anoean: forest is 'few'")

    config(tmp_path, "[train]\ndataset = 'toy'\nencoder = 'mlp'\n")
    done = anoean("train --detector knn --config run.toml")
    assert "run.toml, line 3: [train] encoder: the detector knn takes no encoder" in done.error

    config(tmp_path, "[compare.set.knn]\nneighbours = 3\n")
    done = anoean("compare --dataset toy --detectors knn --config run.toml")
    assert done.returncode == 2
    assert "run.toml, line 2: [compare] set.knn.neighbours: none of knn has a" in done.error
