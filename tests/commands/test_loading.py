"""Where a data set is taken from, and that a model's data is found again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from anoean_cli import registry
from anoean_cli.commands.loading import are_of_training, load_again, load_dataset
from anoean_cli.console import Console
from anoean_cli.data.content import digest_of_rows
from anoean_cli.errors import DatasetUnavailableError, FileFormatError, UsageError
from anoean_cli.interfaces import Dataset, LoadRequest, TableOptions
from anoean_cli.storage.prepared import in_cache, write_prepared

SIZES = {"folder": 5, "download": 4, "cache": 3, "sample": 2}


def rows(source: str, drawn: int = 0, **about: object) -> Dataset:
    """As many rows as tell where they come from."""
    values = np.random.default_rng(drawn).normal(size=SIZES[source])
    return Dataset(
        name="lines",
        examples=pa.table({"x": values}),
        labels=np.repeat(["ok"], len(values)),
        provenance={"source": source, "files": {}, "sample": source == "sample", **about},
    )


class Plugin:
    """Finds what it is told that there is, as the data sets of anoean do."""

    def __init__(self) -> None:
        self.there: set[str] = set()

    def load(self, request: LoadRequest) -> Dataset:
        place = {"full": "download", "auto": "download"}.get(request.source, request.source)
        if request.source == str(request.data_folder):
            place = "folder"
        if place == "sample":
            return rows(place)
        if place in self.there:
            return rows(place, request.seed)
        if request.source == "auto":
            request.warn("using the sample")
            return rows("sample")
        raise DatasetUnavailableError(f"{place} lacks it")


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plugin:
    monkeypatch.setenv("ANOEAN_CACHE", str(tmp_path))
    monkeypatch.delenv("ANOEAN_DATA", raising=False)
    found = Plugin()
    monkeypatch.setattr(registry, "get", lambda role, name: found)
    return found


def keep(cache: Path, dataset: Dataset) -> None:
    path = in_cache(cache, "lines")
    path.parent.mkdir()
    write_prepared(dataset, path, overwrite=False)


def load(source: str, seed: int = 0) -> Dataset:
    return load_dataset("lines", source, TableOptions(), Console(), seed=seed)


def source_of(source: str) -> str:
    return str(load(source).provenance["source"])


def test_the_users_folder_goes_before_the_cache_and_that_before_a_download(
    plugin: Plugin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(tmp_path, rows("cache"))
    plugin.there = {"folder", "download"}
    assert source_of("auto") == "cache"
    monkeypatch.setenv("ANOEAN_DATA", str(tmp_path / "data"))
    assert source_of("auto") == source_of("full") == "folder"
    plugin.there = {"download"}
    assert source_of("auto") == source_of("full") == "cache", "the folder lacks it"


def test_a_kept_sample_serves_only_where_nothing_else_is_left(
    plugin: Plugin, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(tmp_path, rows("sample"))
    with pytest.raises(DatasetUnavailableError):
        load("full")
    assert source_of("auto") == "sample"
    assert "warning: using the sample in " in capsys.readouterr().err
    plugin.there = {"download"}
    assert source_of("auto") == source_of("full") == "download"
    assert capsys.readouterr().err == ""


def test_a_damaged_prepared_file_is_made_anew_by_prepare(plugin: Plugin, tmp_path: Path) -> None:
    keep(tmp_path, rows("cache"))
    path = in_cache(tmp_path, "lines")
    whole = path.read_bytes()
    for damaged in (b"junk", whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(FileFormatError, match=r"[^;]*; anoean prepare lines --force makes it"):
            load("auto")


def test_generated_rows_are_kept_for_their_own_seed(plugin: Plugin, tmp_path: Path) -> None:
    keep(tmp_path, rows("cache", seed=7))
    plugin.there = {"download"}
    assert load("auto", seed=7).provenance["source"] == "cache"
    assert load("auto", seed=8).provenance["source"] == "download"


@pytest.mark.parametrize(
    ("source", "there", "again"),
    [("auto", {"download"}, "full"), ("auto", set(), "sample"), ("sample", set(), "sample")],
)
def test_data_is_found_again_by_what_the_model_recorded(
    plugin: Plugin, source: str, there: set[str], again: str
) -> None:
    plugin.there = there
    first = load(source, seed=3)
    recorded = json.loads(json.dumps({"name": "lines", **first.provenance}))
    assert recorded["reload"]["source"] == again
    plugin.there = {"download"}
    second = load_again(recorded, None, Console())
    assert digest_of_rows(second) == digest_of_rows(first)
    assert second.provenance["reload"] == first.provenance["reload"]


def test_a_prepared_file_is_found_again_by_its_path(plugin: Plugin, tmp_path: Path) -> None:
    path, moved = tmp_path / "rows.h5", tmp_path / "moved.h5"
    write_prepared(rows("cache"), path, overwrite=False)
    first = load_dataset(str(path), "auto", TableOptions(), Console(), seed=3)
    recorded = {"name": "lines", **first.provenance}
    assert digest_of_rows(load_again(recorded, None, Console())) == digest_of_rows(first)
    path.rename(moved)
    again = load_again(recorded, str(moved), Console())
    assert digest_of_rows(again) == digest_of_rows(first)


def test_data_that_no_command_loaded_cannot_be_found_again() -> None:
    with pytest.raises(UsageError, match="--data"):
        load_again({"name": "array", "source": "array"}, None, Console())


@pytest.mark.parametrize(
    ("scheme", "pooled", "of_test", "expected"),
    [
        ("drawn", False, ["test.txt"], {"train"}),
        ("drawn", True, ["test.txt"], {"train", "test"}),
        ("publisher", False, ["test.txt"], {"train"}),
        ("drawn", False, None, {"train", "test"}),  # as older models, who do not know
        ("publisher", False, None, set()),
    ],
)
def test_a_publishers_test_file_is_none_of_training_unless_rows_were_drawn_from_both(
    scheme: str, pooled: bool, of_test: list[str] | None, expected: set[str]
) -> None:
    about: dict[str, Any] = {"files": {"train.txt": "train", "test.txt": "test"}}
    if of_test is not None:
        about["test_files"] = of_test
    config = {"dataset": about, "scheme": scheme, "apportionment": {"pooled": pooled}}
    assert {d for d in ("train", "test") if are_of_training({"given": d}, config)} == expected
