"""What a table's columns are taken for, printed, edited and given back."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from anoean_cli.inference.model import load_model
from tests.cli.conftest import Run, table_rows, write_csv


def kinds(text: str) -> dict[str, str]:
    return {name: entry["kind"] for name, entry in tomllib.loads(text)["columns"].items()}


def test_dry_run_tells_each_column_and_writes_nothing(anoean: Run, table: Path) -> None:
    done = anoean("prepare table.csv --label label --dry-run")
    assert done.returncode == 0, done.stderr
    assert kinds(done.stdout) == {
        "id": "dropped",
        "size": "numeric",
        "weight": "numeric",
        "colour": "categorical",
        "same": "dropped",
        "label": "label",
    }
    columns = tomllib.loads(done.stdout)["columns"]
    assert "like an identifier" in columns["id"]["why"]
    assert "constant" in columns["same"]["why"]
    assert columns["size"]["missing"] == pytest.approx(18 / 400, abs=1e-4)
    assert columns["label"]["distinct"] == 3
    assert {path.name for path in Path().iterdir()} <= {"table.csv", "cache"}


def test_edited_schema_decides(anoean: Run, table: Path) -> None:
    text = anoean("prepare table.csv --label label --dry-run").stdout
    edited = text.replace('weight = { kind = "numeric"', 'weight = { kind = "dropped"')
    Path("schema.toml").write_text(
        edited.replace('same = { kind = "dropped"', 'same = { kind = "categorical"')
    )
    done = anoean("train --dataset table.csv --schema schema.toml --normal ok --epochs 1")
    assert done.returncode == 0, done.stderr
    assert "dropped" not in done.stderr  # all was said before
    schema = load_model(Path("anoean.h5")).schema
    assert schema is not None
    assert list(schema.columns) == ["size", "colour", "same"]
    assert schema.label == "label"


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ('id = "dropped"\nsize = "whole"\n', "line 3: column size: is of kind 'whole'; choose"),
        ('id = "dropped"\nvolume = "numeric"\n', "line 3: column volume: table.csv has no such"),
        ('id = "dropped"\n', "says nothing of the column size of table.csv; add it"),
        ("", "has no table [columns]"),
    ],
)
def test_schema_that_does_not_fit(anoean: Run, table: Path, columns: str, says: str) -> None:
    Path("schema.toml").write_text(f"[columns]\n{columns}")
    done = anoean("prepare table.csv --schema schema.toml --out rows.h5")
    assert done.returncode == 2
    assert says in done.error
    assert not Path("rows.h5").exists()


def test_schema_beside_options_that_say_the_same(anoean: Run, table: Path) -> None:
    Path("schema.toml").write_text('[columns]\nid = "dropped"\n')
    done = anoean("train --dataset table.csv --label label --schema schema.toml")
    assert done.returncode == 2
    assert "--schema says what columns are: leave --label out" in done.error


def test_names_that_toml_has_to_quote(anoean: Run) -> None:
    header = ['the "id"', "3", "size in µm", "a=b", "same", "label"]
    write_csv(Path("odd.csv"), table_rows(60, seed=1), header)
    text = anoean("prepare odd.csv --label label --dry-run").stdout
    assert list(kinds(text)) == header
    Path("schema.toml").write_text(text)
    again = anoean("prepare odd.csv --schema schema.toml --dry-run")
    assert again.returncode == 0, again.stderr
    assert kinds(again.stdout) == kinds(text)


def test_table_without_a_header(anoean: Run) -> None:
    write_csv(Path("bare.csv"), table_rows(60, seed=1), ())
    text = anoean("prepare bare.csv --label -1 --header no --dry-run").stdout
    assert kinds(text)["column_6"] == "label"
    Path("schema.toml").write_text(text)
    again = anoean("prepare bare.csv --header no --schema schema.toml --dry-run")
    assert kinds(again.stdout) == kinds(text), again.stderr


def test_dates_of_parquet_and_what_is_learned_of_them(anoean: Run) -> None:
    days = pa.array([f"2026-01-{1 + at % 28:02}" for at in range(60)])
    stamps = pa.array(range(0, 60 * 3600, 3600), pa.timestamp("s", "UTC"))
    columns = {"day": days.cast(pa.date32()), "at": stamps, "same": stamps[:1].take([0] * 60)}
    columns |= {"first": stamps.take([at % 2 for at in range(60)])}
    parquet.write_table(pa.table(columns), "dates.parquet")
    done = anoean("prepare dates.parquet --dry-run")
    assert kinds(done.stdout) == {
        "day": "datetime",
        "at": "datetime",
        "same": "dropped",
        "first": "dropped",
    }
    found = tomllib.loads(done.stdout)["columns"]
    assert found["day"]["learned"] == "day of the week"
    assert found["at"]["learned"] == "time of day"
    assert "nothing comes again" in found["first"]["why"]
    Path("s.toml").write_text(
        done.stdout.replace('first = { kind = "dropped"', 'first = { kind = "datetime"')
    )
    again = anoean("prepare dates.parquet --schema s.toml --dry-run")
    both = tomllib.loads(again.stdout)["columns"]["first"]["learned"]
    assert both == "time of day and day of the week"


def test_the_schema_says_what_comes_first_in_dates(anoean: Run) -> None:
    days = [f"{1 + at % 12:02}/{1 + at // 12:02}/2026" for at in range(60)]
    write_csv(Path("t.csv"), [[day, at % 7] for at, day in enumerate(days)], ["at", "x"])
    open_dates = anoean("prepare t.csv --dry-run")
    assert kinds(open_dates.stdout)["at"] == "dropped"
    said = anoean("prepare t.csv --dates month-first --dry-run")
    assert tomllib.loads(said.stdout)["columns"]["at"]["first"] == "month"

    Path("s.toml").write_text(said.stdout)
    assert anoean("prepare t.csv --schema s.toml --dry-run").stdout == said.stdout
    Path("s.toml").write_text('[columns]\nx = "numeric"\nat = "datetime"\n')
    done = anoean("prepare t.csv --schema s.toml --out t.h5")
    assert "t.csv, line 2, column 'at': holds dates that may have the day or" in done.error
    done = anoean("prepare t.csv --schema s.toml --dates day-first --dry-run")
    assert tomllib.loads(done.stdout)["columns"]["at"]["first"] == "day"

    Path("s.toml").write_text('[columns]\nx = "numeric"\nat = {kind = "datetime", first = 3}\n')
    done = anoean("prepare t.csv --schema s.toml --out t.h5")
    assert done.returncode == 2
    assert "s.toml, line 3: column at: its first is 3; choose from day, month" in done.error


def test_images_have_no_columns(anoean: Run) -> None:
    done = anoean("prepare mnist --source sample --dry-run")
    assert done.returncode == 3
    assert "holds images, which have no columns" in done.error


@pytest.mark.parametrize(
    "command",
    ["train --dataset table.csv --normal ok -m schema.toml", "prepare table.csv --out schema.toml"],
)
def test_a_schema_is_not_replaced(anoean: Run, table: Path, command: str) -> None:
    Path("schema.toml").write_text("[columns]\n")
    done = anoean(command, "--schema schema.toml --force")
    assert done.returncode == 2
    assert "that file is --schema too" in done.error
    assert Path("schema.toml").read_text() == "[columns]\n"
