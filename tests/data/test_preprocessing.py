"""From raw rows to features: against a plain reference, and row by row."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from anoean_cli.data.fitting import MOST_BINS, MOST_CATEGORIES, MOST_KNOTS, fit_table
from anoean_cli.data.preprocessing import Census, ImagePreprocessor, TablePreprocessor
from anoean_cli.data.schema import TableSchema
from anoean_cli.errors import DataError, FileFormatError

SCHEMA = TableSchema({"size": "numeric", "kind": "categorical", "speed": "numeric"})
N = 400


def table(sizes, kinds, speeds) -> pa.Table:
    return pa.table(
        {
            "size": pa.array(sizes, pa.float64()),
            "kind": pa.array(kinds, pa.string()),
            "speed": pa.array(speeds, pa.float64()),
        }
    )


def training(seed: int = 0) -> tuple[pa.Table, np.ndarray]:
    """Rows with a missing size and a missing kind; the last quarter is anomalous."""
    rng = np.random.default_rng(seed)
    sizes = [None, *rng.lognormal(size=N - 1)]
    kinds = [*rng.choice(["tcp", "udp", "icmp"], size=N - 1), None]
    speeds = rng.normal(5, 2, size=N) + np.repeat([0, 40], [300, 100])
    return table(sizes, kinds, speeds), np.repeat([False, True], [300, 100])


@pytest.fixture(params=["bins", "quantile", "standard"])
def fitted(request) -> TablePreprocessor:
    return fit_table(*training(), SCHEMA, request.param)


def values(examples: pa.Table, name: str) -> np.ndarray:
    return np.array(
        [np.nan if v is None else v for v in examples.column(name).to_pylist()], dtype=float
    )


def reference_numeric(name: str, rows: pa.Table, inputs: str) -> list[np.ndarray]:
    """What the docstrings say, computed the slow way."""
    train, is_anomaly = training()
    present = values(train, name)
    normals = present[~is_anomaly]
    normals = normals[~np.isnan(normals)]
    x = values(rows, name)
    missing = np.isnan(x)
    x = np.where(missing, np.median(normals), x)
    features = [np.clip((x - normals.mean()) / normals.std(), -10, 10)]
    if inputs == "quantile":
        known = np.sort(present[~np.isnan(present)])
        rank = (np.searchsorted(known, x, "left") + np.searchsorted(known, x, "right")) / 2
        features.append(norm.ppf(np.clip(rank / len(known), 1e-4, 1 - 1e-4)))
    if np.isnan(present).any():
        features.append(missing.astype(float))
    return features


@pytest.mark.parametrize("inputs", ["quantile", "standard"])
def test_features_are_those_of_a_plain_reference(inputs):
    train, is_anomaly = training()
    found = fit_table(train, is_anomaly, SCHEMA, inputs).transform(train)
    kinds = train.column("kind").to_pylist()
    one_hot = [np.array([k == c for k in kinds], float) for c in ("icmp", "tcp", "udp")]
    expected = [
        *reference_numeric("size", train, inputs),
        *one_hot,
        np.array([k is None for k in kinds], float),
        *reference_numeric("speed", train, inputs),
    ]
    assert found.dtype == np.float32
    # 400 distinct values have 256 knots: between them the rank is interpolated
    np.testing.assert_allclose(
        found, np.stack(expected, axis=1), atol=0.1 if inputs == "quantile" else 1e-5
    )


def test_quantiles_are_exact_where_every_value_has_a_knot():
    x = np.repeat([1.0, 2.0, 5.0, 9.0], [10, 20, 30, 40])
    schema = TableSchema({"x": "numeric"})
    fit = fit_table(pa.table({"x": x}), np.zeros(100, bool), schema)
    found = fit.transform(pa.table({"x": [1.0, 2.0, 5.0, 9.0, 7.0, -100.0, 100.0]}))[:, 1]
    at = norm.ppf([0.05, 0.2, 0.45, 0.8])
    expected = [*at, (at[2] + at[3]) / 2, at[0], at[3]]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("unit", [1e-307, 1e-310, 5e-324])
def test_values_that_underflow_have_finite_features(unit):
    """As likelihoods have, of which neighbours are next to nothing apart."""
    x = np.concatenate([unit * np.arange(100), np.linspace(0.1, 1, 100)])
    fit = fit_table(pa.table({"x": x}), np.zeros(200, bool), TableSchema({"x": "numeric"}))
    found = fit.transform(pa.table({"x": np.concatenate([x, unit * (np.arange(99) + 0.5)])}))
    assert np.isfinite(found).all()
    assert (np.diff(found[99:200, 1]) > 0).all()  # what does not underflow is told apart


def with_bins(x: np.ndarray) -> tuple[TablePreprocessor, pa.Table]:
    """A preprocessor with bins for one column, and its rows."""
    rows = pa.table({"x": x})
    return fit_table(rows, np.zeros(len(x), bool), TableSchema({"x": "numeric"}), "bins"), rows


def test_bins_hold_about_the_same_number_of_rows_and_rise_within():
    fit, rows = with_bins(np.random.default_rng(0).lognormal(size=3200))
    quantile, *bins = fit.transform(rows).T[1:]
    edges = fit.columns["x"].bins
    assert len(bins) == len(edges) - 1 == MOST_BINS
    for low, high, feature in zip(edges[:-1], edges[1:], bins, strict=True):
        np.testing.assert_allclose(feature, np.interp(quantile, [low, high], [0, 1]), atol=1e-4)
        assert ((feature > 0) & (feature < 1)).sum() == pytest.approx(100, abs=10)


@pytest.mark.parametrize(
    ("x", "bins"),
    [(np.arange(100.0), 10), (np.arange(15.0), 0), (np.repeat([1.0, 2, 3], 50), 2), ([7.0], 0)],
    ids=["a bin for ten rows", "too few rows", "a bin between two values", "one value"],
)
def test_few_rows_and_few_values_have_few_bins(x, bins):
    assert len(with_bins(np.asarray(x))[0].columns["x"].bins) == (bins + 1 if bins else 0)


@pytest.mark.parametrize(("columns", "bins"), [(64, 32), (500, 4), (1500, 0)])
def test_wide_tables_have_fewer_bins(columns, bins):
    names = [f"x{i}" for i in range(columns)]
    x = np.random.default_rng(0).normal(size=400)
    schema = TableSchema(dict.fromkeys(names, "numeric"))
    fit = fit_table(pa.table(dict.fromkeys(names, x)), np.zeros(400, bool), schema, "bins")
    assert fit.spec.shape == (columns * (2 + bins),)
    assert len(fit.spec.plain) == columns * 2


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e300, 1e300) | st.integers(-3, 3).map(float), min_size=1, max_size=700))
def test_bins_are_few_and_their_features_lie_between_0_and_1(x):
    fit, rows = with_bins(np.array(x))
    edges = fit.columns["x"].bins
    assert len(edges) <= MOST_BINS + 1
    assert (np.diff(edges) > 0).all()
    features = fit.transform(rows)
    assert np.isfinite(features).all()
    assert ((features[:, 2:] >= 0) & (features[:, 2:] <= 1)).all()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e300, 1e300) | st.integers(-3, 3).map(float), min_size=1, max_size=700))
def test_knots_are_few_and_rise_with_their_quantiles(x):
    schema = TableSchema({"x": "numeric"})
    column = fit_table(pa.table({"x": x}), np.zeros(len(x), bool), schema).columns["x"]
    assert len(column.knots) == len(column.quantiles) <= MOST_KNOTS
    assert (np.diff(column.knots) > 0).all()
    assert (np.diff(column.quantiles) >= 0).all()
    assert (np.abs(column.quantiles) <= norm.ppf(1 - 1e-4) + 1e-12).all()


def test_many_distinct_values_keep_their_range_and_resolution():
    x = np.random.default_rng(0).lognormal(size=10_000)
    schema = TableSchema({"x": "numeric"})
    fit = fit_table(pa.table({"x": x}), np.zeros(len(x), bool), schema)
    knots = fit.columns["x"].knots
    assert len(knots) <= MOST_KNOTS
    assert (knots[0], knots[-1]) == (x.min(), x.max())
    z = np.sort(fit.transform(pa.table({"x": x}))[:, 1])
    assert np.abs(z - norm.ppf((np.arange(10_000) + 0.5) / 10_000))[100:-100].max() < 0.02


# --------------------------------------------------------------------------- columns in one unit


def readings(spreads, rows: int = 500) -> tuple[pa.Table, TableSchema]:
    """Columns about 20 that differ by so much."""
    rng = np.random.default_rng(0)
    columns = {f"x{i}": 20 + spread * rng.normal(size=rows) for i, spread in enumerate(spreads)}
    return pa.table(columns), TableSchema(dict.fromkeys(columns, "numeric"))


def feature_spreads(spreads, inputs: str = "quantile") -> np.ndarray:
    """(columns, 2) spreads of the standardised values, and of the quantiles beside them."""
    rows, schema = readings(spreads)
    features = fit_table(rows, np.zeros(len(rows), bool), schema, inputs).transform(rows)
    return features.reshape(len(rows), len(spreads), -1).std(axis=0)


def test_columns_in_one_unit_keep_the_root_of_how_their_spreads_differ():
    found = feature_spreads([0.25, 1, 1, 1, 1, 2.25])
    np.testing.assert_allclose(found[:, 0], [0.5, 1, 1, 1, 1, 1.5], rtol=0.1)
    np.testing.assert_allclose(found[:, 1], found[:, 0], rtol=0.05)


@pytest.mark.parametrize(
    ("spreads", "inputs"),
    [
        ([1, 1, 1, 1, 1, 300], "quantile"),
        ([300.0] * 20 + [0.2], "quantile"),
        ([1e-6, 1e-3, 1, 1, 1e3, 1e6], "bins"),
        ([0.25, 1, 1, 2.25], "quantile"),
        ([0.25, 1, 1, 1, 1, 2.25], "standard"),
    ],
    ids=["one far larger", "one far smaller", "all sizes", "too few to tell", "inputs=standard"],
)
def test_other_columns_are_standardised(spreads, inputs):
    assert feature_spreads(spreads, inputs)[:, 0] == pytest.approx(1, rel=1e-3)


def test_flags_are_standardised_however_rare():
    rng = np.random.default_rng(0)
    shares = np.linspace(0.05, 0.5, 8)
    rows = pa.table({f"x{at}": rng.random(500) < p for at, p in enumerate(shares)})
    rows = rows.cast(pa.schema([(name, pa.float64()) for name in rows.column_names]))
    schema = TableSchema(dict.fromkeys(rows.column_names, "numeric"))
    found = fit_table(rows, np.zeros(500, bool), schema).transform(rows)[:, ::2]
    np.testing.assert_allclose(found.std(axis=0), 1, rtol=1e-3)


@pytest.mark.parametrize("constant", [0.0, 0.1])
@pytest.mark.parametrize(("unit", "found"), [(0.5, 4), (300.0, 2)])
def test_a_column_that_never_varied_is_no_quieter_than_the_others(constant, unit, found):
    """A pixel at the edge, which only anomalies have, or a flag beside amounts."""
    rows, schema = readings([unit] * 6)
    rows = rows.set_column(0, "x0", pa.array(np.full(len(rows), constant)))
    fit = fit_table(rows, np.zeros(len(rows), bool), schema)
    other = rows.slice(0, 1).set_column(0, "x0", pa.array([constant + 2.0]))
    assert fit.transform(other)[0, 0] == pytest.approx(found, rel=0.1)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0.01, 100), min_size=5, max_size=9), st.sampled_from(["bins", "quantile"])
)
def test_whatever_columns_spread_what_was_fitted_is_read_back(spreads, inputs):
    rows, schema = readings(spreads, 60)
    fit = fit_table(rows, np.zeros(60, bool), schema, inputs)
    again = TablePreprocessor.from_arrays(schema, fit.arrays())
    np.testing.assert_array_equal(again.transform(rows), fit.transform(rows))


# --------------------------------------------------------------------------- row by row


def test_a_rows_features_do_not_depend_on_other_rows(fitted):
    rows, _ = training(seed=1)
    whole = fitted.transform(rows)
    order = np.random.default_rng(0).permutation(N)
    np.testing.assert_array_equal(fitted.transform(rows.take(order)), whole[order])
    for at in (0, 1, 57, N - 1):
        np.testing.assert_array_equal(fitted.transform(rows.slice(at, 1)), whole[at : at + 1])
    parts = [fitted.transform(rows.slice(at, 37)) for at in range(0, N, 37)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_chunks_of_a_table_make_no_difference(fitted):
    rows, _ = training(seed=1)
    chunked = pa.concat_tables([rows.slice(0, 100), rows.slice(100)])
    assert chunked.column("size").num_chunks == 2
    np.testing.assert_array_equal(fitted.transform(chunked), fitted.transform(rows))


def test_no_rows_have_no_features(fitted):
    assert fitted.transform(training()[0].slice(0, 0)).shape == (0, *fitted.spec.shape)


def test_other_columns_and_another_order_make_no_difference(fitted):
    rows, _ = training()
    other = rows.select(["speed", "size", "kind"]).append_column("more", pa.nulls(N))
    np.testing.assert_array_equal(fitted.transform(other), fitted.transform(rows))


# --------------------------------------------------------------------------- odd values


def test_missing_and_unseen_values_are_counted(fitted):
    census = Census()
    rows = table([None, None, 1.0], ["sctp", None, "tcp"], [1.0, None, np.nan])
    features = fitted.transform(rows, census)
    fitted.transform(rows.slice(0, 1), census)
    assert census.rows == 4
    assert census.missing == {"size": 3, "kind": 1, "speed": 2}
    assert census.unseen == {"kind": 2}
    assert np.isfinite(features).all()


def grown(fit: TablePreprocessor, rows: pa.Table) -> set[tuple[str, str]]:
    """What is more than training, of N rows, gives reason to expect."""
    census = Census()
    again = TablePreprocessor.from_arrays(SCHEMA, fit.arrays())
    again.transform(rows, census)
    return {
        (name, kind)
        for name, shares in again.shares(census).items()
        for kind, share in shares.items()
        if share.is_more(N, 6)
    }


@pytest.mark.parametrize(
    ("sizes", "kinds", "speeds", "told"),
    [
        ([1] * 20, ["tcp"] * 20, [5] * 20, set()),
        ([None] * 20, ["tcp"] * 20, [5] * 20, {("size", "missing")}),
        ([1] * 20, ["tcp"] * 20, [None] * 16 + [5] * 4, {("speed", "missing")}),
        ([1] * 20, ["x"] * 6 + [None] * 14, [5] * 20, {("kind", "missing"), ("kind", "unseen")}),
        ([1] * 20, ["tcp"] * 20, [-99] * 10 + [99] * 10, {("speed", "out_of_range")}),
        ([1] * 20, ["tcp"] * 18 + ["x"] * 2, [5] * 18 + [None, 99], set()),
        ([None], ["x"], [None], set()),
    ],
    ids=["as before", "all", "many", "categories", "both sides", "some", "one row"],
)
@pytest.mark.parametrize("inputs", ["bins", "quantile", "standard"])
def test_what_training_gives_no_reason_to_expect(inputs, sizes, kinds, speeds, told):
    assert grown(fit_table(*training(), SCHEMA, inputs), table(sizes, kinds, speeds)) == told


def test_what_training_had_is_to_be_expected():
    rng = np.random.default_rng(0)
    kinds = rng.permutation([f"k{at}" for at in range(N // 2)] + ["common"] * (N // 2))
    lacking = [None if lacks else 1.0 for lacks in rng.random(N) < 0.3]
    fit = fit_table(table(lacking, kinds, [0.0, *[1.0] * N][:N]), np.zeros(N, bool), SCHEMA)
    assert fit.columns["kind"].new == 0.5, "half of the values stand alone"
    likewise = table(lacking[:100], ["common"] * 40 + ["new"] * 60, [0.0] * 99 + [-1.0])
    assert grown(fit, likewise) == set()
    assert grown(fit, table([1] * 100, ["new"] * 100, [1] * 100)) == {("kind", "unseen")}
    assert grown(fit, likewise.slice(0, 0)) == set()


def test_rare_categories_beyond_the_known_ones_are_to_be_expected():
    kinds = [f"k{at}" for at in range(2 * MOST_CATEGORIES)] * 2
    fit = fit_table(
        pa.table({"kind": kinds}), np.zeros(len(kinds), bool), TableSchema({"kind": "categorical"})
    )
    assert fit.columns["kind"].new == 0.5


def test_what_was_met_since_is_to_be_expected_too():
    fit, census = fit_table(*training(), SCHEMA), Census()
    rows = table([None] * 50 + [1] * 50, ["x"] * 100, [99] * 100)
    fit.transform(rows, census)
    assert grown(fit, rows) == {("size", "missing"), ("kind", "unseen"), ("speed", "out_of_range")}
    renewed = fit.expecting(census)
    assert grown(renewed, rows) == set()
    np.testing.assert_array_equal(renewed.transform(rows), fit.transform(rows))


def test_censuses_of_parts_add_up_to_that_of_all(fitted):
    rows = table([None, 99.0, 1.0] * 20, ["x", None, "tcp"] * 20, [5.0, -99.0, None] * 20)
    whole, merged = Census(), Census()
    fitted.transform(rows, whole)
    for at in (37, 0, 12, 11):  # uneven, and not in order
        part = Census()
        fitted.transform(rows.slice(at, {37: 23, 0: 11, 12: 25, 11: 1}[at]), part)
        merged.merge(part)
    assert merged == whole
    assert whole.missing == {"size": 20, "kind": 20, "speed": 20}


@pytest.mark.parametrize("inputs", ["quantile", "standard"])
def test_files_that_do_not_tell_the_range(inputs):
    """That of the knots stands in for it; without knots nothing is said of values."""
    arrays = fit_table(*training(), SCHEMA, inputs).arrays()
    del arrays["least"], arrays["largest"]
    older, census = TablePreprocessor.from_arrays(SCHEMA, arrays), Census()
    older.transform(table([1] * 20, ["tcp"] * 20, [-99] * 20), census)
    share = older.shares(census)["speed"]["out_of_range"]
    if inputs == "quantile":
        assert share.is_more(N, 6)
    else:
        assert share.count == 0
        assert np.isnan(share.expected)


@pytest.mark.parametrize("lacking", ["missing", "new"])
def test_files_that_do_not_tell_what_was_there(fitted, lacking):
    arrays = fitted.arrays()
    del arrays[lacking]
    older = TablePreprocessor.from_arrays(SCHEMA, arrays)
    kind = {"missing": "missing", "new": "unseen"}[lacking]
    assert not older.shares(Census(rows=9))["kind"][kind].is_more(N, 6)
    assert np.isnan(older.shares(Census(rows=9))["kind"][kind].expected)


def test_an_unseen_category_is_none_of_the_known_ones(fitted):
    known, unseen, missing = fitted.transform(table([1] * 3, ["tcp", "sctp", None], [5] * 3))
    start = fitted.columns["size"].width
    assert known[start : start + 4].tolist() == [0, 1, 0, 0]
    assert unseen[start : start + 4].tolist() == [0, 0, 0, 0]
    assert missing[start : start + 4].tolist() == [0, 0, 0, 1]


def test_a_missing_value_is_the_median_of_the_normals(fitted):
    train, is_anomaly = training()
    median = np.median(values(train, "speed")[~is_anomaly])
    filled, given_ = fitted.transform(table([1, 1], ["tcp", "tcp"], [None, median]))
    np.testing.assert_array_equal(filled, given_)


def long_tailed(inputs: str, *x: float) -> np.ndarray:
    """The standardised feature of values, of a column whose largest values are clipped."""
    normals = np.concatenate([np.linspace(0, 1, 9990), np.linspace(200, 400, 10)])
    schema = TableSchema({"x": "numeric"})
    fit = fit_table(pa.table({"x": normals}), np.zeros(len(normals), bool), schema, inputs)
    return fit.transform(pa.table({"x": np.array(x)}))[:, 0]


@pytest.mark.parametrize("inputs", ["bins", "quantile"])
def test_what_is_beyond_training_is_farther_off_without_end(inputs):
    least, within, largest, more, far = long_tailed(inputs, 0.0, 300.0, 400.0, 1e6, 1e15)
    assert within == largest == 10 < more < far < 100
    below = long_tailed(inputs, 0.0, -1.0, -1e6)
    assert np.all(np.diff(below) < 0)
    assert least == below[0] > -10 > below[2]


@given(x=st.lists(st.floats(-1e300, 1e300), min_size=2))
def test_larger_values_have_no_smaller_features(x):
    rising = sorted(x)
    for inputs in ("bins", "quantile", "standard"):
        assert np.all(np.diff(long_tailed(inputs, *rising)) >= 0)


def test_standard_inputs_end_at_their_bounds():
    np.testing.assert_array_equal(long_tailed("standard", 400.0, 1e15, -1e15), [10, 10, -10])


@pytest.mark.parametrize("huge", [1e300, -1e300, 1.7976931348623157e308, 5e-324])
def test_huge_values_stay_finite_wherever_they_stand(fitted, huge):
    assert np.isfinite(fitted.transform(table([huge], ["tcp"], [huge]))).all()
    rows, is_anomaly = training()
    trained = rows.set_column(0, "size", pa.array([huge, *([1.0, 2.0] * N)[: N - 1]]))
    for inputs in ("bins", "quantile", "standard"):
        features = fit_table(trained, is_anomaly, SCHEMA, inputs).transform(trained)
        assert np.isfinite(features).all()
        assert np.abs(features).max() <= 10


def test_a_column_without_any_normal_value_is_no_harm():
    rows, is_anomaly = training()
    sizes = np.where(is_anomaly, 7.0, np.nan)
    empty = rows.set_column(0, "size", pa.array(sizes))
    assert np.isfinite(fit_table(empty, is_anomaly, SCHEMA).transform(empty)).all()


def test_only_the_most_frequent_categories_have_a_feature():
    kinds = [f"k{i}" for i in range(300)] + [f"k{i}" for i in range(100, 300)]
    schema = TableSchema({"kind": "categorical"})
    fit = fit_table(pa.table({"kind": kinds}), np.zeros(500, bool), schema)
    categories = fit.columns["kind"].categories
    assert len(categories) == MOST_CATEGORIES == fit.spec.shape[0]
    assert {f"k{i}" for i in range(100, 300)} <= set(categories)


# --------------------------------------------------------------------------- stored


def test_what_was_fitted_survives_as_arrays(fitted):
    again = TablePreprocessor.from_arrays(SCHEMA, fitted.arrays())
    rows, _ = training(seed=3)
    np.testing.assert_array_equal(again.transform(rows), fitted.transform(rows))
    assert again.spec == fitted.spec
    for name, value in fitted.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], value)


DAMAGE = {
    "knots not increasing": {"knots": lambda a: a[::-1].copy()},
    "knots not finite": {"knots": lambda a: np.where(np.arange(len(a)) == 1, np.nan, a)},
    "a knot less": {"knots": lambda a: a[1:]},
    "a quantile less": {"quantiles": lambda a: a[1:]},
    "quantiles not finite": {"quantiles": lambda a: a + np.inf},
    "bins not increasing": {"bins": lambda a: a[::-1].copy()},
    "bins not finite": {"bins": lambda a: a * np.nan},
    "a bin less": {"bins": lambda a: a[1:]},
    "bins in two dimensions": {"bins": lambda a: np.stack([a, a], axis=1)},
    "bins of text": {"bins": lambda a: a.astype(str)},
    "bins beyond all quantiles": {"bins": lambda a: a * 1e300},
    "quantiles beyond all": {"quantiles": lambda a: a * 1e300},
    "bins of columns without quantiles": {
        "knots": lambda a: a[:0],
        "quantiles": lambda a: a[:0],
        "knot_counts": lambda a: a * 0,
    },
    "counts negative": {"knot_counts": lambda a: -a},
    "a column less": {"knot_counts": lambda a: a[:-1]},
    "scale zero": {"scale": lambda a: a * 0},
    "scale missing": {"scale": lambda a: a[:0]},
    "center not finite": {"center": lambda a: a * np.nan},
    "fill of text": {"fill": lambda a: ["x", "y"]},
    "a range upside down": {"least": lambda a: a + 1e9},
    "a range less": {"largest": lambda a: a[:-1]},
    "a range of text": {"least": lambda a: ["x", "y"]},
    "an indicator less": {"indicator": lambda a: a[:-1]},
    "a share above one": {"missing": lambda a: a + 1},
    "a share below zero": {"new": lambda a: a - 1},
    "a share less": {"new": lambda a: a[:-1]},
    "a category less": {"categories": lambda a: a[:-1]},
    "categories that are numbers": {"categories": lambda a: np.arange(len(a))},
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=list(DAMAGE))
def test_damaged_arrays_are_refused(damage):
    arrays = fit_table(*training(), SCHEMA, "bins").arrays()
    for name, change in damage.items():
        arrays[name] = change(arrays[name])
    with pytest.raises(FileFormatError):
        TablePreprocessor.from_arrays(SCHEMA, arrays)


# Older files lack these.
OLDER = {"missing", "new", "bins", "bin_counts", "day", "week", "least", "largest", "tails"}


@pytest.mark.parametrize("values", [[3.0], []])
def test_a_column_with_hardly_a_value_is_read_back(values: list[float]) -> None:
    x = pa.array([*values, *[None] * (20 - len(values))], pa.float64())
    schema = TableSchema({"x": "numeric"})
    fit = fit_table(pa.table({"x": x}), np.zeros(20, bool), schema)
    again = TablePreprocessor.from_arrays(schema, fit.arrays())
    assert not np.isnan(again.columns["x"].new), "its range is known"


@pytest.mark.parametrize("end", ["least", "largest"])
@pytest.mark.parametrize("value", [None, np.nan, np.inf])
def test_half_a_range_is_refused(end: str, value: float | None) -> None:
    arrays = fit_table(*training(), SCHEMA).arrays()
    if value is None:
        del arrays[end]
    else:
        arrays[end] = np.full_like(arrays[end], value)
    with pytest.raises(FileFormatError, match="range"):
        TablePreprocessor.from_arrays(SCHEMA, arrays)


@pytest.mark.parametrize("name", sorted({*fit_table(*training(), SCHEMA).arrays()} - OLDER))
def test_missing_arrays_are_refused(name):
    arrays = fit_table(*training(), SCHEMA).arrays()
    del arrays[name]
    with pytest.raises(FileFormatError):
        TablePreprocessor.from_arrays(SCHEMA, arrays)


# --------------------------------------------------------------------------- images


def test_bytes_become_shares_of_255():
    images = np.arange(256, dtype=np.uint8).reshape(4, 1, 8, 8)
    census = Census()
    rows = ImagePreprocessor((1, 8, 8)).transform(images, census)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows.ravel(), np.arange(256) / 255, rtol=1e-6)
    assert census.rows == 4


def test_images_of_another_shape_are_refused_with_both_shapes():
    with pytest.raises(DataError, match=r"1x9x8.*1x8x8"):
        ImagePreprocessor((1, 8, 8)).transform(np.zeros((2, 1, 9, 8), np.uint8))
