"""Which columns of a table become features, and why others do not."""

import json

import numpy as np
import pyarrow as pa
import pytest

from anoean_cli.data.schema import TableSchema, infer_schema, rising_columns
from anoean_cli.errors import DataError, FileFormatError

N = 200
RNG = np.random.default_rng(0)
VARYING = RNG.normal(size=N)
ROWS = np.arange(1000)  # of the table that N of them are drawn from for training
DRAWN = np.sort(RNG.choice(ROWS, N, replace=False))


def infer(columns: dict, **options) -> TableSchema:
    return infer_schema(pa.table({"varies": VARYING, **columns}), **options)


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (np.full(N, 3.5), "is constant in the training rows"),
        (["same"] * N, "is constant in the training rows"),
        (pa.nulls(N, pa.float64()), "is empty"),
        ([f"user-{i}" for i in range(N)], "identifier"),
        ([f"user-{i % (N - 15)}" for i in range(N)], "identifier"),  # 185 of 200 differ
        (np.arange(N, dtype=float), "counts the rows"),
        (np.arange(N) * -600.0, "counts the rows"),
        (RNG.permutation(N) + 1000.0, "counts the rows"),
        (np.r_[0.0, 0.0, np.arange(1, N - 1)], "counts the rows"),  # one row stands there twice
        (pa.array([None, *range(1, N)], pa.float64()), "counts the rows"),
        (["31/01/26", "01/02/26"] * (N // 2), "holds dates that are not all written"),
        (["31/04/2026", "30/04/2026"] * (N // 2), "a day that there is not"),
    ],
)
def test_columns_that_say_nothing_are_dropped_with_the_reason(column, reason):
    schema = infer({"c": column})
    assert list(schema.columns) == ["varies"]
    assert reason in schema.dropped["c"]


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (RNG.normal(size=N), "numeric"),
        (np.arange(N) + 0.5, "numeric"),
        (np.arange(N) // 2 * 1.0, "numeric"),
        (pa.array([1.0, None] * (N // 2)), "numeric"),  # missing or not is something
        (["a", "b"] * (N // 2), "categorical"),
        ([f"k{i % 150}" for i in range(N)], "categorical"),
        (["a", None] * (N // 2), "categorical"),
    ],
)
def test_columns_that_may_say_something_are_kept(column, kind):
    assert infer({"c": column}).columns == {"varies": "numeric", "c": kind}


@pytest.mark.parametrize(
    "column",
    [
        ROWS,
        ROWS + 4711,
        5000 - ROWS,
        1_700_000_000 + 600 * ROWS,  # seconds, every ten minutes
        np.sort(RNG.choice(1500, 1000, replace=False)),  # a third of the rows was dropped
        np.concatenate([ROWS[:300], ROWS[300:] + 700]),
        RNG.permutation(ROWS),
        RNG.permutation(1500)[:1000],
    ],
)
def test_some_of_the_rows_show_that_a_column_counts_them_all(column):
    schema = infer({"c": column[DRAWN] * 1.0}, positions=DRAWN)
    assert schema.dropped == {"c": "counts the rows"}


@pytest.mark.parametrize(
    "column",
    [
        ROWS // 200,  # a counter of five values
        ROWS // 2,
        np.cumsum(RNG.integers(1, 50, 1000)),  # a meter
        RNG.integers(0, 1500, 1000),
        RNG.choice(10**9, 1000, replace=False),
        np.sort(RNG.choice(10**6, 1000, replace=False)),
        ROWS + 0.5,
        ROWS * 1e300,
    ],
)
def test_measurements_do_not_count_the_rows(column):
    assert "c" in infer({"c": column[DRAWN] * 1.0}, positions=DRAWN).columns


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (np.cumsum(RNG.integers(1, 50, 1000)), ["c"]),
        (-np.cumsum(RNG.integers(1, 50, 1000)), ["c"]),
        (np.cumsum(RNG.integers(0, 4, 1000)), ["c"]),
        (RNG.integers(0, 10**6, 1000), []),
        (RNG.permutation(1_700_000_000 + np.cumsum(RNG.integers(1, 50, 1000))), ["c"]),
        (RNG.choice(9_000_000, 1000, replace=False) + 10**6, []),
        (np.sort(RNG.normal(size=1000)), []),
        (np.sort(RNG.integers(0, 100, 1000)), []),
        (np.arange(20) ** 2, []),
    ],
    ids=[
        "gaps",
        "falling",
        "ties",
        "no order",
        "times in no order",
        "large amounts",
        "no whole numbers",
        "few values",
        "few rows",
    ],
)
def test_numbers_that_rise_with_the_rows_are_found(column, expected):
    table = pa.table({"c": column * 1.0})
    schema = infer_schema(table, vouched=["c"])
    assert rising_columns(table, schema) == expected
    assert rising_columns(table, schema, vouched=["c"]) == []


@pytest.mark.parametrize("seed", range(5))
def test_prices_of_a_large_table_do_not_count_its_rows(seed):
    """Of few rows of many as few are equal as chance has it, which no counter would."""
    rng = np.random.default_rng(seed)
    prices, drawn = rng.integers(0, 190_000, 3000), np.sort(rng.choice(100_000, 3000, False))
    assert "c" in infer_schema(pa.table({"c": prices * 1.0}), positions=drawn).columns


@pytest.mark.parametrize("seed", range(5))
def test_whole_numbers_in_a_small_table_do_not_count_its_rows(seed):
    rng = np.random.default_rng(seed)
    for most in (60, 100, 1000):
        ages = rng.permutation(rng.integers(0, most, 60)).astype(float)
        table = pa.table({"age": ages, "days": np.sort(ages * 365)})
        assert list(infer_schema(table).columns) == ["age", "days"]


def test_an_index_is_one_in_a_small_table_too():
    drawn = np.array([0, *range(3, 24), 30])
    index, sorted_ages = drawn * 10.0 + 7, np.cumsum(1.0 + drawn % 2)
    table = pa.table({"index": index, "half": drawn + 0.5, "age": sorted_ages})
    schema = infer_schema(table, positions=drawn)
    assert (list(schema.columns), schema.dropped) == (["half", "age"], {"index": "counts the rows"})


def test_a_few_rows_do_not_make_an_identifier():
    schema = infer_schema(pa.table({"name": ["a", "b", "c"], "at": [1.0, 2.0, 3.0]}))
    assert list(schema.columns) == ["name", "at"]


def test_texts_that_all_differ_are_identifiers_in_a_small_table_too():
    table = pa.table({"x": np.arange(40) % 7 / 3, "uid": [f"u{i}" for i in range(40)]})
    assert "identifier" in infer_schema(table).dropped["uid"]
    assert infer_schema(table.slice(0, 19)).columns["uid"] == "categorical"


@pytest.mark.parametrize(
    "date",
    [
        "2026-01-{:02}T08:15:00",
        "2026-01-{:02} 08:15Z",
        "2026/1/{}",
        "{}.1.2026",
        "1/{}/2026 8:15",
    ],
)
def test_dates_that_are_text_are_no_categories(date):
    days = [date.format(1 + i % 9) for i in range(N)]
    assert "dates" in infer({"day": days}).dropped["day"]
    assert infer({"day": days}, vouched=["day"]).columns["day"] == "categorical"
    assert infer({"day": [*days[1:], None]}).dropped["day"].startswith("holds dates")


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (["01/02/2026", "03/04/2026 08:15"], "may have the day or the month first"),
        (["2026-01-31T08:15Z", "2026-01-31T08:15"], "some have a time zone and some have none"),
        (["31/01/2026 8:15Z", "2026-01-31"], "some have a time zone and some have none"),
        (["31/01/2026", "01/31/2026"], "not all written in one of these ways"),
        (["2026-02-30", "2026-01-01"], "not all written in one of these ways"),
        (["01/31/2026 8:15 AM", "01/31/2026 9:15 PM"], "not all written in one of these ways"),
    ],
)
def test_it_is_told_why_dates_are_dropped(texts, says):
    column = [texts[i % len(texts)] for i in range(N)]
    assert says in infer({"day": column}).dropped["day"]


@pytest.mark.parametrize("text", ["08:15:0{}", "10.0.0.{}", "1.2.{}", "2026-W0{}", "2026-01-0{}x"])
def test_what_is_like_a_date_is_a_category(text):
    assert infer({"c": [text.format(i % 9) for i in range(N)]}).columns["c"] == "categorical"


HOURS = np.arange(0, N).astype("M8[h]")
TWO_WEEKS = np.arange(N) % 15 * np.timedelta64(24, "h")


@pytest.mark.parametrize(
    ("dates", "keeps"),
    [
        (HOURS, True),  # of eight days
        (HOURS[:48].repeat(5)[:N], False),  # less than two days
        (HOURS[0] + TWO_WEEKS, True),
        (HOURS[0] + TWO_WEEKS % np.timedelta64(9 * 24, "h"), False),  # of nine days
        (HOURS[0] + np.arange(N) % 2 * np.timedelta64(7 * 24 * 5, "h"), False),  # a Thursday
    ],
)
def test_dates_are_kept_where_a_cycle_comes_again(dates, keeps):
    column = pa.array(dates.astype("M8[us]"))
    schema = infer({"at": column})
    assert schema.columns.get("at") == ("datetime" if keeps else None)
    assert keeps or schema.dropped["at"].startswith("holds dates in which nothing comes again")
    assert infer({"at": column}, vouched=["at"]).dates == {"at": False}
    assert infer({"at": column.cast(pa.timestamp("us", "UTC"))}).dates == (
        {"at": True} if keeps else {}
    )


def test_a_few_values_do_not_make_an_identifier():
    remarks = ["late", "early", "lost"] + [None] * (N - 3)
    assert infer({"remark": remarks}).columns["remark"] == "categorical"


def test_vouched_columns_are_never_dropped():
    columns = {"same": np.ones(N), "id": [str(i) for i in range(N)], "count": np.arange(N) * 1.0}
    schema = infer(columns, vouched=("same", "id", "count"))
    assert list(schema.columns) == ["varies", "same", "id", "count"]
    assert schema.dropped == {}


def test_no_column_left_is_told_with_the_reasons():
    with pytest.raises(DataError, match=r"same is constant.*--numeric"):
        infer_schema(pa.table({"same": np.ones(N), "other": ["x"] * N}))
    with pytest.raises(DataError):
        infer_schema(pa.table({}))


@pytest.mark.parametrize(
    ("source", "label", "expected"),
    [
        (("varies", "same", "y", "rest"), "y", ("varies", "same", "y")),
        (("y", "varies", "same", "rest"), "y", ("y", "varies")),
        (("same", "varies", "rest"), None, ("same", "varies")),
        ((), None, ("varies",)),
    ],
)
def test_the_fields_of_a_row_end_with_the_last_one_used(source, label, expected):
    schema = infer({"same": np.ones(N)}, source=source, label=label)
    assert schema.source == expected
    assert schema.source + schema.rest == (source or ("varies", "same"))
    assert schema.label == label


def test_kinds_keep_the_order_of_the_table():
    schema = infer({"b": ["x", "y"] * (N // 2), "a": RNG.normal(size=N)})
    assert schema.numeric == ("varies", "a")
    assert schema.categorical == ("b",)


def test_a_schema_survives_json():
    schema = infer({"b": ["x", "y"] * (N // 2), "same": np.ones(N)}, label=None)
    assert schema.rest == ("same",)
    assert TableSchema.from_json(json.loads(json.dumps(schema.to_json()))) == schema


@pytest.mark.parametrize(
    "damage",
    [
        {"columns": None},
        {"columns": [["x", "date"]]},
        {"columns": [["x"]]},
        {"columns": [[3, "numeric"]]},
        {"source": None},
        {"label": 3},
        {"dropped": 7},
        {"firsts": 7},
        {"firsts": {"varies": "century"}},
        {"firsts": {"nowhere": "day"}},
    ],
)
def test_a_damaged_schema_is_refused(damage):
    whole = infer({}).to_json()
    with pytest.raises(FileFormatError):
        TableSchema.from_json({**whole, **damage})
    for name in ("columns", "source", "label", "dropped"):
        with pytest.raises(FileFormatError):
            TableSchema.from_json({k: v for k, v in whole.items() if k != name})
