"""Opinions that are learnt from normals alone: how far from them a row is (`novelty`), how rare it
is (`rarity`), and how rare are its categories and what it lacks (`oddity`)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import nn

from anoean_cli.interfaces import ExampleSpec, FloatRows
from anoean_cli.training.density import LogRarity, features_at, log_density
from anoean_cli.training.progress import embed
from anoean_cli.training.sampling import random_state
from anoean_plugins.experts.surprise import Expert, Surprise
from anoean_plugins.scorers.modules import NearestDistance, NeighbourDistance, WeightedSum

FOLDS = 5
MOST_POINTS = 1000  # that are kept one by one; of more there are centres
CENTRES = 500
NEIGHBOURS = 5
PASSES = 10
MIXED = (1, 2, 4, 8, 16, 30)  # Gaussians of which a density may consist
FEWEST_ROWS = 20  # of each
FAR = 10.0  # times as far as the highest tenth, depths count no more
LEAST_SCALE = 0.1  # of log odds, distances, rarities: normals may all have the same
SCALE_OF_ODDITY = 1.0  # of categories and gaps, whose rarity is a surprise already
USUAL_ODDITY = 4.0  # as surprising as what one normal in 55 has or lacks, which says nothing

# From rows to how anomalous they are, and that of normals which it has not learnt from.
Opinion: TypeAlias = tuple[nn.Module, NDArray[np.float64]]


def expert_of(opinion: Opinion, weight: float, usual: float | None = None) -> Expert:
    """The expert with this opinion, who says nothing up to the usual one."""
    module, of_normals = opinion
    surprise = Surprise.among(of_normals, LEAST_SCALE)
    if usual is not None:
        surprise = surprise.above(usual)
    return Expert(module, of_normals, surprise, weight)


def oddity(normals: FloatRows, spec: ExampleSpec, weight: float) -> Expert:
    """How rare it is among (n, features) normals that a row has its categories and lacks what it
    lacks; that of each normal is reckoned among the others.

    Naive Bayes: −log p of all these, up to a constant, as if columns were independent. What is no
    category of training is as likely as a value that a single normal has (Good, 1953, Biometrika
    40), and is no nearer to, or farther from, the others than any is: distance and density hardly
    see it. Nor do they see what is missing, which is filled in by a typical value.
    """
    flags = np.union1d(spec.categories, spec.gaps).astype(np.intp)
    is_category = np.isin(flags, spec.categories)
    column = spec.columns[flags]
    has = normals[:, flags].astype(np.float64)
    counts = has.sum(axis=0)
    is_alone = is_category & (counts == 1)
    # Of numbers, those that are there; of categories, none of training's but for a row's own.
    changes = np.bincount(column, is_alone - counts).astype(np.float64)
    others = (len(normals) + changes)[column]
    left = np.where(is_alone, others, np.maximum(counts - 1, 0))
    of_normals: NDArray[np.float64] = has @ _log_odds(others, left)
    opinion = nn.Sequential(features_at(flags, spec), WeightedSum(_log_odds(others, counts)))
    surprise = Surprise.among_counts(of_normals, SCALE_OF_ODDITY, USUAL_ODDITY)
    return Expert(opinion, of_normals, surprise, weight)


def _log_odds(rows: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of as many rows against the others, with half a row of each more than were counted."""
    return np.log((rows + 0.5) / (others + 0.5))


def rarity(
    normals: FloatRows, folds: int, spec: ExampleSpec, rng: np.random.Generator, to_scale: bool
) -> Opinion:
    """How rare a row is among (n, features) normals, and that of normals left out of the fit, in
    the order of the rows.

    Of 1, 2, 4 … 30 Gaussians as many are mixed as make those left out likeliest: of few rows more
    would describe these alone.

    Args:
        folds: how many of the five folds are left out in turn; of many rows one is enough.
        to_scale: as `log_density` takes it.
    """
    from sklearn.model_selection import KFold

    folded = KFold(min(FOLDS, len(normals)), shuffle=True, random_state=random_state(rng))
    parts = list(islice(folded.split(normals), folds))
    in_order = np.argsort(np.concatenate([left for _, left in parts]))
    most = max(1, len(normals) // FEWEST_ROWS)
    fitted = {
        mixed: [log_density(normals[kept], spec, rng, mixed, to_scale) for kept, _ in parts]
        for mixed in MIXED
        if mixed <= most
    }

    def of_left_out(opinions: Iterable[nn.Module]) -> NDArray[np.float64]:
        told = [
            embed(opinion, normals[left])
            for opinion, (_, left) in zip(opinions, parts, strict=True)
        ]
        return np.concatenate(told)[in_order].astype(np.float64)

    mixed = min(fitted, key=lambda mixed: _without_far_ones(of_left_out(fitted[mixed])))
    rarities = of_left_out(LogRarity(density) for density in fitted[mixed])
    rarities += _farther_out_by(len(normals))
    return LogRarity(log_density(normals, spec, rng, mixed, to_scale)), rarities


def _farther_out_by(rows: int) -> float:
    """The log of how much larger the squares of new rows are than those of n rows by which columns
    were standardised: (n + 1)/(n − 3) on average, of normal columns (they are t-distributed)."""
    return float(np.log((rows + 1) / max(1, rows - 3)))


def _without_far_ones(depths: NDArray[np.float64]) -> float:
    """The mean, with bounds to what a few odd normals add, who else would count for all others."""
    median, high = np.quantile(depths, [0.5, 0.9])
    return float(np.minimum(depths, median + FAR * (high - median)).mean())


def novelty(
    normals: FloatRows,
    rng: np.random.Generator,
    odd: bool,
    seen: Callable[[FloatRows], nn.Module],
) -> Opinion:
    """The distance to (n, features) normals, and each one's distance to those of the other folds.

    A fold's normals have as many fewer centres as there are fewer of them: among other numbers of
    centres, distances are of another size.

    Args:
        odd: whether half of the centres are odd normals. Where no anomaly is known, nothing says
            that these are none.
        seen: from normals to what takes from rows that among which distances are.
    """
    from sklearn.model_selection import KFold

    share = 1.0 if len(normals) <= MOST_POINTS else CENTRES / len(normals)

    def distance_to(some: FloatRows) -> nn.Module:
        view = seen(some)
        return nn.Sequential(view, _distance_to(embed(view, some), share, rng, odd))

    distances = np.empty(len(normals))
    folds = KFold(min(FOLDS, len(normals)), shuffle=True, random_state=random_state(rng))
    for others, own in folds.split(normals):
        distances[own] = embed(distance_to(normals[others]), normals[own])
    return distance_to(normals), distances


def _distance_to(
    normals: FloatRows, share: float, rng: np.random.Generator, odd: bool
) -> nn.Module:
    """The mean log distance to the nearest normals or, where only a share of them is kept, that to
    the nearest of so many centres."""
    if share == 1:
        return NeighbourDistance(normals, min(NEIGHBOURS, len(normals)))
    return NearestDistance(_centres(normals, round(share * len(normals)), rng, odd))


def _centres(normals: FloatRows, count: int, rng: np.random.Generator, odd: bool) -> FloatRows:
    """Means of clusters or, in place of half of them, normals that are far from these.

    Means are near to most normals and far from odd ones, which would look like anomalies.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    distinct = np.unique(normals, axis=0)
    if len(distinct) <= count:
        return distinct
    of_odd_ones = count // 2 if odd else 0
    means = KMeans(
        count - of_odd_ones,
        init="random",  # among so many centres the costly way of choosing them gains nothing
        n_init=1,
        max_iter=PASSES,
        random_state=random_state(rng),
    )
    # With several threads sums come in another order each time, and so do the means.
    with warnings.catch_warnings(), threadpool_limits(1):
        # Rows that are next to equal make fewer means than asked for, which is fine.
        warnings.simplefilter("ignore", ConvergenceWarning)
        means.fit(distinct)
    centres: FloatRows = means.cluster_centers_
    if not odd:
        return centres
    off = means.transform(distinct).min(axis=1)
    return np.concatenate([centres, _farthest(distinct, off, of_odd_ones)])


def _farthest(rows: FloatRows, off: FloatRows, count: int) -> FloatRows:
    """So many of (n, k) rows, each the farthest from all before it and from what was there.

    The greedy cover of Gonzalez (1985, Theoretical Computer Science 38).

    Args:
        off: (n,) distances to the nearest of what was there.
    """
    squares = off**2
    exact = rows.astype(np.float64)  # ‖x − p‖² as ‖x‖² + ‖p‖² − 2xp takes a fifth of the time
    lengths = np.square(exact).sum(axis=1)
    taken = []
    for _ in range(count):
        at = int(squares.argmax())
        squares = np.minimum(squares, lengths + lengths[at] - 2 * (exact @ exact[at]))
        taken.append(at)
    return rows[taken]
