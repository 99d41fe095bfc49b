"""Files that each version of the format wrote load for ever, and score as they did then.

``tests/compatibility/vN`` holds files that the first program of format version N wrote (those of
v1: commit 37a362e): a model of rows with numbers, categories and missing values, rows, what it said
of them, their embeddings, and a prepared data set. The folders in ``v1/2026-11`` are of a later
program of that version (tests/compatibility/make.py, 2026-11-27), each of another kind.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
import pytest

from anoean_cli.data.inputs import Expected, Reading, pieces
from anoean_cli.errors import FileFormatError
from anoean_cli.inference.model import load_model
from anoean_cli.interfaces import TableOptions
from anoean_cli.storage import embeddings, hdf5, model, prepared

FOLDER = Path(__file__).with_name("compatibility")
VERSIONS = range(1, max(model.VERSION, prepared.VERSION, embeddings.VERSION) + 1)
LATER = sorted(path.parent for path in FOLDER.glob("v*/*/*/model.h5"))
FORMATS = {"model": model, "prepared": prepared, "embeddings": embeddings}


@pytest.fixture(params=VERSIONS, ids=lambda version: f"v{version}")
def made(request: pytest.FixtureRequest) -> Path:
    """The files of one version: whoever makes a new one adds its files."""
    return FOLDER / f"v{request.param}"


def named(folder: Path) -> str:
    return str(folder.relative_to(FOLDER))


def said(made: Path) -> list[dict[str, str]]:
    with (made / "scores.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def check_scores(model: Path, made: Path) -> None:
    loaded = load_model(model)
    expected = Expected(loaded.preprocessor.spec, loaded.schema)
    (piece,) = pieces(str(made / "rows.csv"), expected, Reading(TableOptions()))
    scored, then = loaded.score(piece.examples), said(made)
    # Other processors may differ in the last bits of a float32 network.
    scores = [float(row["score"]) for row in then]
    np.testing.assert_allclose(scored.scores, scores, rtol=1e-5)
    assert scored.p_values.tolist() == [float(row["p_value"]) for row in then]
    assert scored.is_anomaly.tolist() == [row["anomaly"] == "true" for row in then]


def test_a_model_scores_as_it_did(made: Path) -> None:
    check_scores(made / "model.h5", made)


def test_a_model_that_is_written_anew_scores_as_it_did(made: Path, tmp_path: Path) -> None:
    load_model(made / "model.h5").save(tmp_path / "model.h5")
    check_scores(tmp_path / "model.h5", made)


@pytest.mark.parametrize("folder", LATER, ids=named)
def test_every_kind_of_model_scores_as_it_did(folder: Path, tmp_path: Path) -> None:
    check_scores(folder / "model.h5", folder)
    load_model(folder / "model.h5").save(tmp_path / "model.h5")
    check_scores(tmp_path / "model.h5", folder)


def test_the_kinds_of_model_are_there_with_rows_of_both_verdicts() -> None:
    assert [folder.name for folder in LATER] == [
        "dates", "default", "forest-knn", "images", "one-class",
    ]  # fmt: skip
    for folder in LATER:
        assert {row["anomaly"] for row in said(folder)} == {"true", "false"}


@pytest.mark.parametrize("folder", [FOLDER / "v1", FOLDER / "v1/2026-11/default"], ids=named)
def test_embeddings_are_those_of_the_scores(folder: Path) -> None:
    about = embeddings.describe(folder / "embeddings.h5", verify=True)
    assert about["model_digest"] == load_model(folder / "model.h5").digest
    with hdf5.Reader(
        folder / "embeddings.h5", format=embeddings.FORMAT, version=embeddings.VERSION
    ) as reader:
        assert reader.get("score").tolist() == [float(row["score"]) for row in said(folder)]


def test_a_prepared_data_set_has_its_rows(made: Path) -> None:
    found = prepared.read_prepared(made / "prepared.h5")
    rows = pyarrow.csv.read_csv(made / "rows.csv").to_pydict()
    assert found.labels.tolist() == rows["label"]
    assert found.examples.column("size").to_pylist() == rows["size"]
    assert found.examples.column("weight").null_count == rows["weight"].count(None) > 0


def test_a_prepared_data_set_with_dates_has_its_rows() -> None:
    folder = FOLDER / "v1" / "2026-11" / "dates"
    found = prepared.read_prepared(folder / "prepared.h5")
    rows = pyarrow.csv.read_csv(folder / "rows.csv").to_pydict()
    assert found.labels.tolist() == rows["label"]
    assert found.examples.column("at").to_pylist() == rows["at"]
    assert found.examples.column("size").null_count == rows["size"].count(None) > 0


@pytest.mark.parametrize("kind", FORMATS)
def test_a_newer_version_is_refused_with_what_to_do(kind: str, tmp_path: Path) -> None:
    path, rooms = tmp_path / "newer.h5", FORMATS[kind]
    version: Any = rooms.VERSION + 1
    hdf5.write(path, format=rooms.FORMAT, version=version, values={})
    read = {
        "model": load_model,
        "prepared": prepared.read_prepared,
        "embeddings": lambda path: embeddings.describe(path, verify=True),
    }[kind]
    with pytest.raises(FileFormatError, match=rf"newer\.h5: .*version {version}, .*update anoean"):
        read(path)
