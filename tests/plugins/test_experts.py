"""Embeddings moved by how surprising a forest, a distance and a density find a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pytest
import torch
from anoean_plugins.experts import opinions
from anoean_plugins.experts.moved import Moved, graph_with_experts
from anoean_plugins.experts.of_tables import experts_on_tables
from anoean_plugins.experts.opinions import FOLDS, MOST_POINTS, novelty, oddity, rarity
from anoean_plugins.experts.weights import (
    ENOUGH_NORMALS,
    HEARD_OF_FEW,
    separation,
    share_by_number,
    share_of_forest,
    shares_of_all,
)
from anoean_plugins.scorers.modules import (
    NearestDistance,
    NeighbourDistance,
    Ranked,
    tensor,
)
from anoean_plugins.scorers.trees import weighted_trees
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import nn

from anoean_cli.calibration.gaussian import Gaussian, leave_one_out
from anoean_cli.data.fitting import fit_table
from anoean_cli.data.schema import TableSchema
from anoean_cli.interfaces import ExampleSpec, FloatRows, Rows
from anoean_cli.training.density import LogRarity
from anoean_cli.training.settings import AnoeanParameters

SPEC = ExampleSpec("table", (4,), bins=(1, 3))  # two features are left for the experts
NEITHER = AnoeanParameters(forest=0, novelty=0)
FOREST = replace(NEITHER, forest=1)
NOVELTY = replace(NEITHER, novelty=1)
BOTH = replace(NEITHER, forest=1, novelty=1)


class Blind(nn.Module):
    """An encoder that sees the first feature only."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        first = rows[:, 0]
        return torch.stack([first, torch.sin(7 * first)], dim=1)


def row(x: float, y: float) -> list[float]:
    return [x, np.nan, y, np.nan]  # whoever looks at a bin gives NaN


def some(seed: int, normals: int = 400, anomalies: int = 40) -> Rows:
    """Known anomalies are where the second feature is 4."""
    rng = np.random.default_rng(seed)
    is_anomaly = np.repeat([False, True], [normals, anomalies])
    values = rng.normal(size=(len(is_anomaly), 2))
    values[is_anomaly] = [0, 4] + values[is_anomaly] / 10
    return Rows(np.array([row(x, y) for x, y in values], np.float32), is_anomaly)


def whole(normals: FloatRows) -> nn.Module:
    """Distances are among all features."""
    return nn.Identity()


def embeddings_by(graph: bytes) -> Callable[[FloatRows], FloatRows]:
    session = onnxruntime.InferenceSession(graph)
    return lambda rows: session.run(["embedding"], {"rows": rows})[0]


def embedder(parameters: AnoeanParameters, train: Rows) -> Callable[[FloatRows], FloatRows]:
    rng = np.random.default_rng(0)
    return embeddings_by(graph_with_experts(Blind(), train, some(1), SPEC, parameters, rng).onnx)


@cache
def fitted(
    parameters: AnoeanParameters, normals: int = 400, anomalies: int = 40
) -> Callable[[FloatRows], FloatRows]:
    return embedder(parameters, some(0, normals, anomalies))


def distances(parameters: AnoeanParameters, rows: FloatRows, *train: int) -> NDArray[np.float64]:
    return distances_by(fitted(parameters, *train), rows)


def distances_by(
    embeddings: Callable[[FloatRows], FloatRows], rows: FloatRows
) -> NDArray[np.float64]:
    gaussian = Gaussian.from_embeddings(embeddings(some(1).normals), "ledoit-wolf")
    return gaussian.mahalanobis(embeddings(rows))


TYPICAL, KNOWN, NEW, FAR = (np.array([row(1, y)], np.float32) for y in (0.1, 4, -6, -1e3))


def test_what_the_encoder_does_not_see_the_forest_knows_if_it_was_known():
    everything = np.concatenate([TYPICAL, KNOWN])
    assert np.ptp(distances(NEITHER, everything)) == 0
    typical, known = distances(FOREST, everything)
    assert known > 1.5 * typical


@pytest.mark.parametrize("normals", [400, MOST_POINTS + 300, ENOUGH_NORMALS + 300])
def test_what_is_like_no_normal_moves_outwards_the_further_it_is(normals: int):
    found = distances(NOVELTY, np.concatenate([TYPICAL, NEW, FAR]), normals)
    assert (np.diff(found) > 0).all()
    assert np.isfinite(found).all()


def test_both_experts_add_up():
    for surprising in (KNOWN, NEW):
        both, *alone = (
            np.diff(np.log(distances(p, np.concatenate([TYPICAL, surprising]))))
            for p in (BOTH, FOREST, NOVELTY)
        )
        assert both > np.mean(alone)


def test_a_larger_weight_moves_more_and_directions_stay():
    steps = [fitted(p)(KNOWN) for p in (FOREST, replace(FOREST, forest=6))]
    lengths = [np.linalg.norm(step) for step in steps]
    assert lengths[1] > lengths[0]
    np.testing.assert_allclose(steps[1] / lengths[1], steps[0] / lengths[0], atol=1e-3)


class Surprised(nn.Module):
    """Experts that all they see surprises as much."""

    def __init__(self, surprise: float = 0.0) -> None:
        super().__init__()
        self.surprise = surprise

    def forward(self, rows: torch.Tensor, votes: None) -> torch.Tensor:
        return torch.full((len(rows),), self.surprise, dtype=torch.float64)


def mover(z: np.ndarray, weight: float = 1, surprise: float = 0.0) -> Moved:
    """What moves embeddings of which z are those of normals."""
    gaussian = Gaussian.from_embeddings(z)
    return Moved(nn.Identity(), gaussian, leave_one_out(z), weight, Surprised(surprise))


def radii(z: np.ndarray, weight: float) -> np.ndarray:
    """How far out the encoder alone, of that weight, has rows whose embeddings are z."""
    return np.linalg.norm(mover(z, weight)(torch.tensor(z).float()).numpy(), axis=1)


@pytest.mark.parametrize("weight", [0.25, 0.5, 1.0])
def test_the_encoders_surprise_counts_by_its_weight(weight: float):
    z = np.random.default_rng(0).normal(size=(500, 2)) @ [[9, 4], [0, 0.1]] + 7
    whole, part = (np.log(np.expm1(radii(z, each))) for each in (1, weight))
    np.testing.assert_allclose(part, weight * whole, rtol=1e-3, atol=1e-3)
    order = np.argsort(Gaussian.from_embeddings(z).mahalanobis(z))
    assert (np.diff(whole[order]) > -1e-3).all()


def test_moved_normals_spread_alike_in_all_directions():
    z = np.random.default_rng(0).normal(size=(5000, 2)) @ [[9, 4], [0, 0.1]] + 7
    covariance = np.cov(mover(z)(torch.tensor(z).float()).numpy().T)
    np.testing.assert_allclose(covariance / covariance[0, 0], np.eye(2), atol=0.1)


def test_a_row_at_the_centre_is_moved_as_far_as_the_nearest_normal():
    z = np.random.default_rng(0).normal(size=(500, 2))
    gaussian = Gaussian.from_embeddings(z)
    nearest = z[gaussian.mahalanobis(z).argmin()]
    moved = mover(z, surprise=30)(torch.tensor(np.stack([gaussian.mean, nearest])).float())
    at_centre, normal = np.linalg.norm(moved.numpy(), axis=1)
    assert at_centre == pytest.approx(normal, rel=1e-3)
    assert normal > 1


def test_normals_that_are_all_as_far_are_moved_by_the_experts_alone():
    z = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]] * 5)
    assert np.isfinite(radii(z, 1)).all()


def test_of_few_normals_the_encoder_counts_for_less():
    """What it alone sees, the first feature's sine, tells normals apart less."""
    few, many = (
        np.log(distances(NOVELTY, some(2).normals, normals)).std() for normals in (100, 2000)
    )
    assert few < many


def test_of_few_anomalies_too_unless_there_is_none(monkeypatch: pytest.MonkeyPatch):
    # All normals are kept, since centres are others where no anomaly is known.
    monkeypatch.setattr(opinions, "MOST_POINTS", 3000)

    def spread(anomalies: int) -> float:
        embeddings = embedder(NOVELTY, some(0, 2000, anomalies))
        return float(np.log(distances_by(embeddings, some(2).normals)).std())

    assert spread(5) < spread(100) == spread(400) == spread(0)


def test_without_known_anomalies_there_is_no_forest():
    both, novel = (distances(p, NEW, 400, 0) for p in (BOTH, NOVELTY))
    np.testing.assert_array_equal(both, novel)


@pytest.mark.parametrize(
    ("normals", "anomalies", "expected"), [(1999, 40, True), (2000, 40, False), (2000, 0, True)]
)
def test_a_density_is_an_expert_where_rows_are_few_or_no_anomaly_is_known(
    normals: int, anomalies: int, expected: bool
):
    rng = np.random.default_rng(0)
    train = some(0, normals, anomalies)
    found = graph_with_experts(Blind(), train, some(1), SPEC, BOTH, rng)
    graph = onnx.load_model_from_string(found.onnx)
    assert ("ReduceLogSumExp" in {node.op_type for node in graph.graph.node}) == expected


def within(seed: int) -> Rows:
    """Known anomalies are where normals lie densest: no distance to these, only a forest tells."""
    rows = some(seed)
    rows.examples[rows.is_anomaly, 2] = np.random.default_rng(seed).normal(size=40) / 20
    return rows


ANGLES = np.linspace(0, 2 * np.pi, 16, endpoint=False)
AROUND = np.array([row(5.5 * np.cos(a), 5.5 * np.sin(a)) for a in ANGLES], np.float32)


def test_what_is_new_is_seen_though_known_anomalies_lie_among_normals():
    """Distances that tell the known ones worse than chance does are heard as before."""
    alike = replace(BOTH, forest=1 / HEARD_OF_FEW)  # all count the same
    embeddings = embedder(alike, within(0))
    of_normals, new = (distances_by(embeddings, x) for x in (some(2).normals, AROUND))
    assert (new > 1.5 * np.quantile(of_normals, 0.99)).mean() > 0.8


def test_a_forest_counts_less_where_others_tell_known_anomalies_better():
    assert share_of_forest(1.2, []) == share_of_forest(1.2, [0.4, 1.2]) == 1
    assert share_of_forest(0.4, [0.2, 0.8]) == pytest.approx(0.25)


def test_a_forest_counts_less_where_normals_are_few_and_least_of_a_handful_of_anomalies():
    shares = [share_by_number(300, anomalies) for anomalies in (1, 3, 6, 60)]
    assert 0 < shares[0] < shares[1] < shares[2] == shares[3] < share_by_number(2000, 3) == 1


def test_a_forest_counts_as_much_beside_an_expert_that_sees_more_than_it_says():
    """Categories that are common, though less so among normals, are no surprise."""

    def drawn(normals: int, anomalies: int, rng: np.random.Generator) -> Rows:
        is_anomaly = np.repeat([False, True], [normals, anomalies])
        second = rng.random((len(is_anomaly), 5)) < np.where(is_anomaly, 0.5, 0.2)[:, None]
        categories = np.stack([~second, second], axis=2).reshape(len(is_anomaly), 10)
        numbers = rng.normal(size=(len(is_anomaly), 4))
        return Rows(np.hstack([numbers, categories]).astype(np.float32), is_anomaly)

    rows = [drawn(2500, 60, np.random.default_rng(0)), drawn(250, 10, np.random.default_rng(1))]
    spec = ExampleSpec("table", (14,), widths=(1, 1, 1, 1, 2, 2, 2, 2, 2))
    weights = []
    for categories in ((), tuple(range(4, 14))):
        beside, rng = replace(spec, categories=categories), np.random.default_rng(2)
        experts, _ = experts_on_tables(*rows, beside, AnoeanParameters(), rng)
        weights.append(experts.on_votes.weight)
    assert weights[1] == pytest.approx(weights[0], rel=0.1)


def test_experts_count_one_on_average_and_more_where_they_tell_more():
    assert shares_of_all([0.8, 0.8]) == [1, 1]
    less, more = shares_of_all([0.3, 0.9])
    assert less + more == pytest.approx(2)
    assert more / less == pytest.approx(9)


def test_of_normals_on_a_ring_the_distance_is_heard_and_not_the_density():
    """Few Gaussians cover the hole of the ring, in which rows lie that are put together."""
    angle = np.random.default_rng(0).uniform(0, 2 * np.pi, 60)
    ring = np.array([row(x, y) for x, y in zip(np.cos(angle), np.sin(angle), strict=True)])
    normals = Rows(ring.astype(np.float32), np.zeros(60, bool))
    rng = np.random.default_rng(0)
    experts, _ = experts_on_tables(normals, normals, SPEC, NOVELTY, rng)
    (together,) = experts.on_rows
    distance, density = (expert.weight for expert in together.experts)
    assert distance > 1 > density


def with_quantiles(values: NDArray[np.float64]) -> tuple[Rows, ExampleSpec]:
    """Normals as preprocessing gives them: each number standardised, its quantile beside it."""
    names = [f"x{at}" for at in range(values.shape[1])]
    table = pa.table(dict(zip(names, values.T, strict=True)))
    is_anomaly = np.zeros(len(values), bool)
    fit = fit_table(table, is_anomaly, TableSchema(dict.fromkeys(names, "numeric")))
    return Rows(fit.transform(table), is_anomaly), fit.spec


@pytest.mark.parametrize("long_tail", [False, True])
def test_distances_are_among_quantiles_where_tails_are_long(long_tail: bool):
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 12, 400)
    bent = np.column_stack([x, np.sin(x) + rng.normal(size=400) / 20])
    bound = np.exp(bent[:, :1] + rng.normal(size=(400, 2)) / 20)
    normals, spec = with_quantiles(bound if long_tail else bent)
    experts, _ = experts_on_tables(normals, normals, spec, NOVELTY, rng)
    view, _ = experts.on_rows[0].experts[0].opinion
    assert isinstance(view, Ranked) is long_tail
    first = tensor(normals.examples[:1])
    np.testing.assert_array_equal(view(first)[0, :2], first[0, [1, 3] if long_tail else [0, 2]])


def test_among_quantiles_what_lies_beyond_all_normals_is_seen():
    """A quantile ends where normals end."""
    normals, spec = with_quantiles(np.random.default_rng(0).lognormal(size=(400, 2)))
    distance, _ = novelty(
        normals.examples, np.random.default_rng(0), False, lambda some: Ranked(some, spec)
    )
    largest, beyond = normals.examples.max(axis=0), normals.examples.max(axis=0)
    beyond[[0, 2]] += 3
    near, far = distance(tensor([largest, beyond])).tolist()
    assert far > near + 0.3


def lacking(share: float, rows: int, seed: int) -> FloatRows:
    """Whether values of eight columns are missing, at random."""
    return (np.random.default_rng(seed).random((rows, 8)) < share).astype(np.float32)


EIGHT_GAPS = ExampleSpec("table", (8,), gaps=tuple(range(8)))


@pytest.mark.parametrize("share", [0.002, 0.01, 0.1, 0.2])
@pytest.mark.parametrize("normals", [100, 800, 5000])
def test_rows_that_lack_more_than_normals_do_are_surprising_and_others_are_not(
    share: float, normals: int
):
    expert = oddity(lacking(share, normals, 0), EIGHT_GAPS, 1.0)
    assert (expert(tensor(lacking(share, 2000, 1))) == 0).float().mean() > 0.9
    of_more = expert(tensor(np.tri(8)))  # lacking one to eight values
    assert (of_more.diff() >= 0).all()
    assert of_more[7] > of_more[5] > 2


def test_what_hardly_a_normal_lacks_surprises_more_than_what_many_do():
    missing = lacking(0.3, 500, 0)
    missing[:, 1] = 0
    missing[0, 1] = 1
    often, seldom = oddity(missing, EIGHT_GAPS, 1.0).opinion(torch.eye(8)[:2]).tolist()
    assert often == pytest.approx(np.log(0.7 / 0.3), abs=0.3)
    assert seldom == pytest.approx(np.log(499.5 / 1.5))


def test_a_normal_is_as_surprising_as_what_it_lacks_is_among_the_others():
    missing = np.zeros((50, 8), np.float32)
    missing[0, 0] = 1
    expert = oddity(missing, EIGHT_GAPS, 1.0)
    assert expert.of_normals[0] == pytest.approx(np.log(49.5 / 0.5))
    assert expert.of_normals[0] > expert.opinion(tensor(missing))[0]


def chosen(categories: int, rows: int, seed: int) -> FloatRows:
    """One of so many categories a row, evenly, as one feature each."""
    drawn = np.random.default_rng(seed).integers(0, categories, rows)
    return np.eye(categories, dtype=np.float32)[drawn]


def surprise_at(rows: FloatRows, normals: FloatRows) -> list[float]:
    """Of one categorical column."""
    width = normals.shape[1]
    spec = ExampleSpec("table", (width,), widths=(width,), categories=tuple(range(width)))
    return oddity(normals, spec, 1.0)(tensor(rows)).tolist()


@pytest.mark.parametrize("normals", [100, 1000, 5000])
def test_a_category_that_no_normal_has_is_surprising(normals: int):
    known = np.eye(7, dtype=np.float32)
    seen = np.pad(chosen(6, normals, 0), ((0, 0), (0, 1)))  # the last one anomalies alone have
    of_each, of_new = surprise_at(known, seen), surprise_at(np.zeros((1, 7), np.float32), seen)
    assert of_each[:6] == [0] * 6
    assert of_each[6] == of_new[0] > 0.5


def test_where_most_rows_have_a_category_of_their_own_a_new_one_is_usual():
    normals = np.eye(200, dtype=np.float32)
    assert surprise_at(np.zeros((1, 200), np.float32), normals) == [0]


@pytest.mark.parametrize(("anomalies", "least", "most"), [(1, 0.35, 1), (50, 0, 0.01)])
def test_few_anomalies_say_little_of_who_tells_more(anomalies: int, least: float, most: float):
    of_normals = np.random.default_rng(0).normal(size=300)
    none, all_of_them = (separation(of_normals, np.full(anomalies, x)) for x in (-9.0, 9.0))
    assert least <= share_of_forest(none, [all_of_them]) <= most


def test_normals_do_not_surprise_whether_or_not_the_experts_learnt_from_them():
    """In-bag votes, or a row's distance to itself, would make new normals look like anomalies."""
    for count in (400, MOST_POINTS + 300, ENOUGH_NORMALS + 300):
        old, new = (distances(BOTH, some(seed, count).normals, count) for seed in (0, 2))
        assert np.median(new) < 1.5 * np.median(old)


def test_of_few_rows_there_are_votes_on_each_by_trees_grown_without_it():
    rows = within(0)
    grown = weighted_trees(rows.examples[:, SPEC.plain], rows.is_anomaly, 100, 0)
    of_normals, of_anomalies = (grown.votes[rows.is_anomaly == each] for each in (False, True))
    assert of_anomalies.min() > 0 < of_normals.max() < 1
    assert np.median(of_normals) < np.median(of_anomalies)


def test_a_tree_that_has_drawn_all_of_very_few_rows_has_no_votes():
    rows, is_anomaly = np.float32([[0], [0.1], [3]]), np.array([False, False, True])
    for seed in range(5):
        votes = weighted_trees(rows, is_anomaly, 100, seed).votes
        assert ((votes >= 0) & (votes <= 1)).all()


@pytest.mark.parametrize("to_scale", [False, True])
@pytest.mark.parametrize(
    ("normals", "folds", "width", "least"),
    [
        (400, FOLDS, 60, 0.05),
        (600, FOLDS, 60, 0.05),
        (2500, 1, 60, 0.05),
        (60, FOLDS, 300, 0.03),
        (200, FOLDS, 300, 0.03),
    ],
)
def test_a_tenth_of_new_normals_is_as_rare_as_a_tenth_of_those_left_out(
    normals: int, folds: int, width: int, least: float, to_scale: bool
):
    """A density finds rows likelier that it was fitted to, most so in many dimensions; and so do
    columns that are standardised by them."""
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(normals, width))
    old, new = (
        ((rows - seen.mean(axis=0)) / seen.std(axis=0)).astype(np.float32)
        for rows in (seen, rng.normal(size=(1000, width)))
    )
    opinion, references = rarity(old, folds, ExampleSpec("table", (width,)), rng, to_scale)
    beyond = opinion(torch.from_numpy(new)).detach().numpy() > np.quantile(references, 0.9)
    assert least < beyond.mean() < 0.2


def bound(rows: int, seed: int) -> FloatRows:
    """Eight columns that two factors bind, each of them with a little noise."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(rows, 2)) @ np.random.default_rng(9).normal(size=(2, 8))
    return (factors + 0.05 * rng.normal(size=(rows, 8))).astype(np.float32)


def test_a_column_that_breaks_a_law_within_its_range_is_seen():
    rng = np.random.default_rng(0)
    spec = ExampleSpec("table", (8,))
    opinion, of_normals = rarity(bound(600, 0), FOLDS, spec, rng, to_scale=True)
    broken = bound(200, 1)
    broken[np.arange(200), rng.integers(8, size=200)] += 0.5  # a third of how columns spread
    assert (opinion(tensor(broken)).numpy() > np.quantile(of_normals, 0.99)).mean() > 0.9


def test_what_components_leave_out_is_no_rarer_than_it_is_wide():
    """Of sixty columns of which none goes by others fifty components keep five sixths."""
    spec = ExampleSpec("table", (60,))

    def drawn(rows: int, spread: float, seed: int) -> FloatRows:
        values = spread * np.random.default_rng(seed).normal(size=(rows, 60))
        return values.astype(np.float32)

    rng = np.random.default_rng(0)
    opinion, of_normals = rarity(drawn(800, 1, 0), FOLDS, spec, rng, to_scale=True)
    wider = opinion(tensor(drawn(300, 1.4, 1))).numpy()
    assert (wider > np.quantile(of_normals, 0.95)).mean() > 0.8


def clumped(clumps: int, count: int, seed: int) -> FloatRows:
    rng = np.random.default_rng(seed)
    centres = 8 * np.eye(4)[rng.integers(clumps, size=count)]
    return (centres + rng.normal(size=(count, 4))).astype(np.float32)


FOUR = ExampleSpec("table", (4,))


@pytest.mark.parametrize("clumps", [1, 4])
def test_as_many_gaussians_are_mixed_as_there_are_clumps(clumps: int):
    """More would follow single rows, fewer would take what lies between clumps for a normal."""
    opinion, _ = rarity(
        clumped(clumps, 300, 0), FOLDS, FOUR, np.random.default_rng(0), to_scale=False
    )
    assert isinstance(opinion, LogRarity)
    assert opinion.density.mixed == clumps


@pytest.mark.parametrize("odd", [0, 1, 3])
def test_odd_normals_do_not_hide_what_lies_between_clumps(odd: int):
    normals = clumped(4, 600, 0)
    normals[:odd] = 100 * np.sign(normals[:odd])
    opinion, _ = rarity(normals, FOLDS, FOUR, np.random.default_rng(0), to_scale=False)
    new, between = (
        opinion(torch.from_numpy(x)) for x in (clumped(4, 200, 1), np.float32([[2] * 4]))
    )
    assert (new < between).float().mean() > 0.95


@pytest.mark.parametrize("normals", [400, 600, MOST_POINTS + 100])
def test_a_tenth_of_new_normals_is_as_far_off_as_a_tenth_of_those_of_other_folds(normals: int):
    """Distances to points are of another size than those to means of some, in many dimensions."""
    rng = np.random.default_rng(0)
    old, new = (rng.normal(size=(n, 60)).astype(np.float32) for n in (normals, 1000))
    distance, references = novelty(old, rng, True, whole)
    beyond = distance(torch.from_numpy(new)).numpy() > np.quantile(references, 0.9)
    assert 0.05 < beyond.mean() < 0.2


def test_distances_are_the_same_each_time_and_on_any_number_of_cores():
    normals = np.random.default_rng(0).normal(size=(6000, 40)).astype(np.float32)

    def references(threads: int) -> FloatRows:
        with threadpool_limits(threads):
            return novelty(normals, np.random.default_rng(1), True, whole)[1]

    assert len({references(threads).tobytes() for threads in (1, 4, 4)}) == 1


def test_normals_like_odd_ones_are_not_far_off():
    rng = np.random.default_rng(0)
    old, more = (rng.normal(size=(MOST_POINTS + 500, 8)).astype(np.float32) for _ in range(2))
    old[:100] *= 10
    like_odd_ones = torch.from_numpy(old[:100] + np.float32(0.1))
    near, far = (novelty(old, rng, odd, whole)[0](like_odd_ones).max() for odd in (True, False))
    assert near < novelty(old, rng, True, whole)[0](torch.from_numpy(more)).quantile(0.5) < far


@pytest.mark.filterwarnings("error")
def test_rows_that_are_next_to_equal_are_no_reason_to_warn():
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(200, 4))[rng.integers(200, size=MOST_POINTS + 200)]
    normals += 1e-6 * rng.normal(size=normals.shape)
    assert np.isfinite(novelty(normals.astype(np.float32), rng, True, whole)[1]).all()


def test_experts_that_see_all_rows_alike_stay_finite():
    flat = Rows(np.zeros((30, 4), np.float32), np.repeat([False, True], [25, 5]))
    assert np.isfinite(embedder(BOTH, flat)(KNOWN)).all()


@pytest.mark.parametrize(("normals", "are_shared"), [(60, False), (19, True)])
@pytest.mark.parametrize("anomalies", [0, 10])
def test_held_out_normals_are_as_far_out_as_new_ones(
    normals: int, are_shared: bool, anomalies: int
):
    """By the graph itself those that experts learnt from would be closer, and nothing normal."""
    train = some(0, normals, anomalies)
    selection = some(0, normals, 0) if are_shared else some(1)
    graph = graph_with_experts(Blind(), train, selection, SPEC, BOTH, np.random.default_rng(0))
    assert graph.held_out is not None
    embeddings = embeddings_by(graph.onnx)
    held_out, learnt, new = (
        np.median(np.linalg.norm(z, axis=1))
        for z in (
            graph.held_out,
            embeddings(selection.normals),
            embeddings(some(2, 2000).normals),
        )
    )
    assert learnt < 0.8 * new
    assert abs(held_out - new) < 0.7 * (new - learnt)


def mixed(rows: Rows, seed: int) -> Rows:
    order = np.random.default_rng(seed).permutation(len(rows.is_anomaly))
    return Rows(rows.examples[order], rows.is_anomaly[order])


@pytest.mark.parametrize("parameters", [BOTH, FOREST, NOVELTY])
def test_held_out_normals_are_in_their_order(parameters: AnoeanParameters):
    selection = mixed(some(1), 1)
    rng = np.random.default_rng(0)
    graph = graph_with_experts(Blind(), mixed(some(0), 0), selection, SPEC, parameters, rng)
    learnt = embeddings_by(graph.onnx)(selection.normals)
    lengths = [np.linalg.norm(z, axis=1) for z in (graph.held_out, learnt)]
    directions = graph.held_out / lengths[0][:, None], learnt / lengths[1][:, None]
    np.testing.assert_allclose(*directions, atol=1e-3)
    assert np.corrcoef(*lengths)[0, 1] > 0.7


def test_a_sphere_that_is_asked_for_is_the_one_that_is_made_unasked():
    asked, unasked = (
        graph_with_experts(Blind(), some(0), some(1), SPEC, parameters, np.random.default_rng(0))
        for parameters in (replace(BOTH, covariance="spherical"), BOTH)
    )
    assert unasked.covariance == "spherical"
    np.testing.assert_array_equal(asked.held_out, unasked.held_out)


def test_a_handful_of_rows_is_enough():
    for normals in (2, 6):
        assert np.isfinite(fitted(BOTH, normals, 1)(KNOWN)).all()


def test_the_nearest_of_far_off_points_is_measured_exactly() -> None:
    rng = np.random.default_rng(0)
    points = (100 + rng.standard_normal((50, 7))).astype(np.float32)
    near = points + np.float32(1e-3)
    found = NearestDistance(points)(torch.from_numpy(near)).numpy()
    exact = np.log(np.linalg.norm(near.astype(np.float64) - points, axis=1) ** 2 + 1e-8) / 2
    np.testing.assert_allclose(found, exact, rtol=1e-6)


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
@pytest.mark.parametrize("of", [NearestDistance, partial(NeighbourDistance, neighbours=3)])
def test_a_row_is_as_far_off_among_others_as_alone(
    of: Callable[[np.ndarray], nn.Module], batch: int
) -> None:
    """Where rows come again and again, most are centres themselves."""
    points = np.float32(10 * np.random.default_rng(0).standard_normal((100, 60)))
    distance = of(np.repeat(points, 3, axis=0))
    together = distance(torch.from_numpy(points))
    parts = [distance(part) for part in torch.from_numpy(points).split(batch)]
    torch.testing.assert_close(torch.cat(parts), together, rtol=1e-6, atol=0)
