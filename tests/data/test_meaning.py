"""Which spellings are one value, and that they are one wherever the rows come from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from streaming import stream_table

from anoean_cli.data.columnar import as_categories
from anoean_cli.data.exploring import read_table
from anoean_cli.data.fitting import fit_table
from anoean_cli.data.meaning import meaning, spellings
from anoean_cli.data.preprocessing import TablePreprocessor
from anoean_cli.data.readers import Wanted
from anoean_cli.data.schema import infer_schema
from anoean_cli.inference.inputs import as_examples
from anoean_cli.interfaces import TableOptions


@pytest.mark.parametrize(
    "spellings",
    [
        ("True", "true", "TRUE", " true\t"),
        ("10", "10.0", "1e1", "+10.00", "1E+1"),
        ("0.00001", "1e-05"),
        ("123456789012345680", "1.2345678901234568e+17"),
        ("2020-01-03", "2020-01-03 00:00:00", "2020-01-03T00:00:00.000000000"),
        ("2020-01-03 12:30:00", "2020-01-03 12:30:00.000", "2020-01-03T12:30:00"),
        ("2020-01-03 00:00:00.5", "2020-01-03 00:00:00.500000"),
        ("2020-01-03 00:00:00+00:00", "2020-01-03 00:00:00.000000Z"),
        ("2020-01-03 00:00:00.000+01:00", "2020-01-03 00:00:00.000000+0100"),
        ("12:30:00", "12:30:00.000000"),
        (" ok", "ok ", "ok\N{NO-BREAK SPACE}"),
        ("Pay\N{LATIN SMALL LETTER E WITH ACUTE}", "Paye\N{COMBINING ACUTE ACCENT}"),
    ],
)
def test_spellings_of_one_value(spellings: tuple[str, ...]) -> None:
    assert len({meaning(text) for text in spellings}) == 1


def test_other_values_are_others() -> None:
    texts = ["1", "7", "007", "07", "1.5", "-1", "true", "t", "yes", "", "nan", "inf", "Ok", "ok"]
    texts += ["2020-01-03", "2020-01-03 00:00:01", "2020-01-03Z", "00:00:00", "12:30:00"]
    texts += ["9007199254740993", "9007199254740992", "1.", ".5", "1_000", "٣"]
    assert len({meaning(text) for text in texts}) == len(texts)


@pytest.mark.parametrize(
    ("text", "others"),
    [
        ("True", {"true", "TRUE"}),
        ("10", {"10.0"}),
        ("0.0", {"0"}),
        ("1.50", {"1.5"}),
        ("1e300", {"1e+300"}),
        ("1e9999", set()),
        ("2020-01-03", {"2020-01-03 00:00:00", "2020-01-03T00:00:00"}),
        ("2020-01-03T12:30:00", {"2020-01-03 12:30:00"}),
        ("007", set()),
        ("tcp", set()),
        ("T", set()),
        ("", set()),
    ],
)
def test_usual_spellings_of_a_text(text: str, others: set[str]) -> None:
    assert set(spellings(text)) == others


# --------------------------------------------------------------------------- CSV, Parquet, frames

OPTIONS = TableOptions(categorical=("code", "day", "moment"))


def frame(rows: int = 60, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    days = pd.to_datetime("2020-01-01") + pd.to_timedelta(rng.integers(0, 5, rows), "D")
    return pd.DataFrame(
        {
            "flag": rng.random(rows) < 0.5,
            "code": rng.integers(0, 4, rows).astype(float),
            "day": days,
            "moment": days + pd.to_timedelta(rng.integers(0, 2, rows) * 0.5, "s"),
            "size": rng.normal(size=rows),
            "date": days.where(rng.random(rows) < 0.9),
            "time": days + pd.to_timedelta(rng.integers(0, 10**9, rows) * 997, "ns"),
            "at": days.tz_localize("Europe/Berlin")
            + pd.to_timedelta(rng.integers(0, 99, rows), "h"),
        }
    )


def files(folder: Path, rows: pd.DataFrame) -> dict[str, Path]:
    rows.to_csv(folder / "t.csv", index=False)
    rows.to_parquet(folder / "t.parquet", index=False)
    return {"CSV": folder / "t.csv", "Parquet": folder / "t.parquet"}


@pytest.mark.parametrize("trained_on", ["CSV", "Parquet"])
def test_the_same_rows_are_the_same_from_every_container(tmp_path: Path, trained_on: str) -> None:
    rows = frame()
    containers = files(tmp_path, rows)
    table = read_table(containers[trained_on], OPTIONS).table
    schema = infer_schema(table, vouched=table.column_names)
    assert schema.categorical == ("flag", "code", "day", "moment")
    fitted: TablePreprocessor = fit_table(table, np.zeros(len(table), bool), schema)
    expected = fitted.transform(table)
    assert schema.dates == {"date": False, "time": False, "at": True}
    wanted = Wanted(schema.numeric, schema.categorical, schema.source, dates=schema.dates)
    for name, path in containers.items():
        (batch,) = stream_table(path, name, wanted, TableOptions(), "stop")
        np.testing.assert_array_equal(fitted.transform(batch.table), expected, err_msg=name)
    frames = {
        "frame": rows,
        "categories": rows.astype({"flag": "category", "code": "category", "day": "category"}),
        "whole numbers": rows.astype({"code": int}),
        "Arrow": pa.Table.from_pandas(rows),
    }
    for name, given in frames.items():
        examples = as_examples(given, schema, fitted.spec)
        np.testing.assert_array_equal(fitted.transform(examples), expected, err_msg=name)


def test_blanks_around_fields_are_no_part_of_them(tmp_path: Path) -> None:
    plain, padded = tmp_path / "plain.csv", tmp_path / "padded.csv"
    lines = ["x,kind,label", "1,a,ok", "2,b,bad", "3,NA,", "4,b,ok"]
    plain.write_text("\n".join(lines) + "\n")
    padded.write_text("\n".join(line.replace(",", " , ") for line in lines) + "\n")
    tables = [read_table(path, TableOptions(label="label")).table for path in (plain, padded)]
    assert tables[0].to_pydict() == tables[1].to_pydict()
    assert tables[0]["kind"].to_pylist() == ["a", "b", None, "b"]
    wanted = Wanted(("x",), ("kind",), ("x", "kind", "label"), "label", required_label=True)
    for path in (plain, padded):
        (batch,) = stream_table(path, "t", wanted, TableOptions(), "stop")
        assert batch.table["kind"].to_pylist() == ["a", "b", None, "b"]
        assert batch.labels is not None
        assert batch.labels.to_pylist() == ["ok", "bad", None, "ok"]


@pytest.mark.parametrize("texts", [[], [""], ["a", "b c"], ["a", " b"], ["a\t"], ["", " "], ["ü "]])
@pytest.mark.parametrize("start", [0, 1])
def test_blanks_around_categories_are_dropped(texts: list[str], start: int) -> None:
    column = pa.chunked_array([pa.array(texts, pa.string()).dictionary_encode()[start:]])
    trimmed = [text.strip() for text in texts[start:]]
    assert as_categories(column, nulls=()).to_pylist() == trimmed
