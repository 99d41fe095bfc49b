"""Experts beside the encoder: a forest for what is known; how far off and how rare for the rest.

E learns thresholds on single columns only from many rows, which trees tell at once, and is free to
map what it never met onto N(0, I), while the distance to the nearest normals, how dense they are
around a row, or how rare its categories are, need no anomaly to be learnt. Experts look at a row as
it is, without bins, and move its embedding away from the normals' centre by how surprising they
find it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import product
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from anoean_cli.calibration.gaussian import (
    DEFAULT_COVARIANCE,
    Gaussian,
    fitting_estimator,
    leave_one_out,
)
from anoean_cli.errors import DataError, TrainingError
from anoean_cli.examples import differ
from anoean_cli.interfaces import ExampleSpec, FloatRows, Rows
from anoean_cli.training.artificial import recombined
from anoean_cli.training.density import features_at
from anoean_cli.training.export import onnx_graph
from anoean_cli.training.progress import embed
from anoean_cli.training.sampling import MOST_ROWS, at_most_of_each, random_state
from anoean_cli.training.settings import AnoeanParameters
from anoean_plugins.scorers.modules import LogOddsOfVotes, Ranked, log_odds, tensor
from anoean_plugins.scorers.opinions import FOLDS, Opinion, novelty, oddity, rarity
from anoean_plugins.scorers.surprise import Expert, Experts, Surprise, tail_scale
from anoean_plugins.scorers.trees import Grown, forest_graph, plain_trees, weighted_trees

TREES = 64  # no other part takes longer to score; more tell hardly more
TREES_BEGUN, TREES_OF_FEW = 100, 300  # which are small where rows are few
FEATURES_TRIED = ("sqrt", 0.3)  # share of them, a split: more where few of many tell anything
MOST_TRIED = 100  # features a split: more take long in wide tables and tell no more
LEAVES_OF_FEW = (1, 3)  # rows at least in a leaf: more where classes overlap
LEAF = 3  # the same of many rows, where classes are weighted
HEARD_OF_FEW = 2 / 3  # of the forest's weight: more tells known kinds hardly better, new ones worse
ANOMALIES_OF_A_FOREST = 6  # with fewer than these as well it counts for less
CLEARLY = 0.02  # of AUC-PR
NOVELTY_BESIDE_KNOWN = 0.25  # of images, of which E tells far more than a density does
ODDITY_BESIDE_PLENTY = 0.5  # of rows of both classes: more tells new kinds better, known ones worse
MADE_UP = 1000  # rows that distance and density are weighed by
MORE_TOLD = 0.1  # d′ / √2, where opinions on quantiles take the place of those to scale
ENOUGH_NORMALS = 2000  # with fewer E counts for less, and more is done for the forest
ENOUGH_ANOMALIES = 100  # with fewer E counts for less, unless there is none
SMALLEST_DISTANCE = 1e-6
ROUNDING = 1e-6  # of graphs: a row that is like a normal is never further out than that
LEAST_SCALE = 0.1  # of log odds, distances, rarities: normals may all have the same
LEAST_TAIL = 0.01  # of E's log distances, which differ less
AREAS = (0.51, 0.95)  # under ROC curves: worse tells nothing, better is good enough
ANOMALIES_OF_DOUBT, DOUBTED_AREA = 10, 0.75  # what an area is thought to be before any is seen


class Moved(nn.Module):
    """z′ = u·log(1 + exp(λ·(log a − m)/τ + Σ wᵢsᵢ)): embeddings as far out as they are surprising.

    a = ‖(z − μ)·W‖ is the Mahalanobis distance of z, no less than the least of normals, and u the
    direction of (z − μ)·W, of length 1. m is the median of normals' log a and τ the scale of its
    tail, each normal being measured by the Gaussian of the others, so that E's surprise and those
    of the experts add up in one unit, as Fisher (1932, Statistical methods for research workers)
    combines independent tests. z′ has the normals' centre at 0 and spreads alike in all
    directions, so that ‖z′‖ ranks rows as that sum does.

    Args:
        encoder: from (n, features) to (n, d).
        gaussian: of normals' embeddings.
        distances: (m,) theirs, each under the Gaussian of the others.
        weight: λ, of E's own surprise.
        experts: whose weighted surprises are added.
    """

    centre: Tensor
    whitener: Tensor
    nudge: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        gaussian: Gaussian,
        distances: NDArray[np.float64],
        weight: float,
        experts: Experts,
    ) -> None:
        super().__init__()
        logs = np.log(np.maximum(distances, SMALLEST_DISTANCE))
        self.encoder = encoder
        self.register_buffer("centre", tensor(gaussian.mean))
        self.register_buffer("whitener", tensor(gaussian.whitener))
        # The centre itself has no direction, and experts may find a row there surprising.
        self.register_buffer("nudge", SMALLEST_DISTANCE * torch.eye(1, len(gaussian.mean))[0])
        self.least = float(np.exp(logs.min()))
        self.typical = float(np.median(logs))
        self.rate = weight / max(tail_scale(logs), LEAST_TAIL)
        self.experts = experts

    def forward(self, rows: Tensor, votes: Tensor | None = None) -> Tensor:
        """(n, features) and, where there is a forest, its (n, 1) votes → (n, d) float32."""
        return self.moved(self.encoder(rows), self.experts(rows, votes))

    def moved(self, z: Tensor, surprise: Tensor) -> Tensor:
        """(n, d) embeddings and the experts' (n,) surprises → (n, d) float32."""
        white = (z - self.centre) @ self.whitener + self.nudge
        distance = white.square().sum(dim=1).sqrt().clamp_min(SMALLEST_DISTANCE)
        own = self.rate * (distance.clamp_min(self.least).double().log() - self.typical)
        total = own + surprise
        # Exact for large ones, whose exponential would overflow.
        radius = total.clamp_min(0) + (1 + (-total.abs()).exp()).log()
        moved: Tensor = white * (radius.float() / distance).unsqueeze(1)
        return moved


class Graph(NamedTuple):
    """What scores, and what calibration has to know of it.

    Attributes:
        onnx: from (n, *shape) float32 rows to their (n, d) embeddings.
        covariance: the estimator that suits these: moved by experts they spread alike in all
            directions, and all that few rows would tell beyond that is noise.
        held_out: (m, d) embeddings of the selection normals, moved by experts who have not learnt
            from them; None where these have not, or where of so many rows it makes no difference.
    """

    onnx: bytes
    covariance: str = DEFAULT_COVARIANCE
    held_out: FloatRows | None = None


def graph_with_experts(
    encoder: nn.Module,
    train: Rows,
    selection: Rows,
    spec: ExampleSpec,
    parameters: AnoeanParameters,
    rng: np.random.Generator,
    density: nn.Module | None = None,
) -> Graph:
    """The model that maps rows to their embeddings, moved as far out as they are surprising.

    Args:
        encoder: from (n, *shape) rows to (n, d).
        train: what E learned from; without known anomalies there is no forest. Images have no
            forest.
        selection: whose normals give μ, W, m and τ. The experts on tables learn from these rows
            as well, from at most 20,000 of each class, and judge a row by nothing that has learnt
            from it.
        spec: of the rows.
        parameters: ``forest`` and ``novelty`` are their weights; where both are 0, embeddings stay.
        rng: of folds, forests and centres.
        density: of images, fitted without those of ``selection``; tables have one of their own.
    """
    experts, forest = Experts(), None
    if spec.kind == "table":
        experts, forest = _experts_on_tables(train, selection, spec, parameters, rng)
    elif parameters.novelty > 0 and density is not None:
        depths = embed(density, selection.normals).astype(np.float64)
        share = NOVELTY_BESIDE_KNOWN if train.is_anomaly.any() else 1.0
        experts = Experts([_expert((density, depths), parameters.novelty * share)])
    if len(experts) == 0:
        return Graph(onnx_graph(encoder, spec.shape, "embedding"))
    z = embed(encoder, selection.normals)
    weight = _weight_of_encoder(len(train.normals), int(train.is_anomaly.sum()))
    if differ(selection.normals):
        estimator = _whitening(z, parameters.covariance)
        gaussian = Gaussian.from_embeddings(z, estimator)
        distances = _by_others(z, gaussian, estimator)
    else:  # E spreads them in no way that could be learnt from: the experts speak alone
        gaussian, weight = Gaussian.from_arrays(z[0], np.eye(z.shape[1])), 0.0
        distances = gaussian.mahalanobis(z)
    module = Moved(encoder, gaussian, distances, weight, experts).eval()
    held_out = None
    if spec.kind == "table" and _are_few(train):
        surprises = experts.of_normals()[-len(z) :]
        as_far = distances / np.maximum(gaussian.mahalanobis(z), SMALLEST_DISTANCE)
        apart = gaussian.mean + as_far[:, None] * (z - gaussian.mean)
        moved = module.moved(tensor(apart), tensor(surprises, np.float64))
        held_out = ((1 + ROUNDING) * moved).numpy()
    onnx = (
        onnx_graph(module, spec.shape, "embedding")
        if forest is None
        else forest_graph(forest.model, spec.shape, module, "embedding", spec.plain)
    )
    return Graph(onnx, "spherical", held_out)


def _by_others(z: FloatRows, gaussian: Gaussian, estimator: str) -> NDArray[np.float64]:
    """(m,) distances of (m, d) normals, each under the Gaussian of the others, as few rows lie
    close to one of their own; under that where the others are too few or too alike to have one."""
    try:
        return leave_one_out(z, estimator)
    except (DataError, TrainingError):
        return gaussian.mahalanobis(z)


def _whitening(z: FloatRows, covariance: str | None) -> str:
    """The estimator of W: the one asked for, but that E's embeddings are no sphere."""
    return fitting_estimator(z, None if covariance == "spherical" else covariance)


def _are_few(train: Rows) -> bool:
    return len(train.normals) < ENOUGH_NORMALS


def _experts_on_tables(
    train: Rows,
    selection: Rows,
    spec: ExampleSpec,
    parameters: AnoeanParameters,
    rng: np.random.Generator,
) -> tuple[Experts, Grown | None]:
    """The experts on tables, and the forest whose votes one of them takes; None if there is none.

    There is a density where normals are few, or where there is no forest. Elsewhere it costs where
    anomalies lie close to normals, which the nearest centres tell and Gaussians do not.
    """
    few = _are_few(train)
    known = at_most_of_each(_known(train, selection), MOST_ROWS, rng)
    anomalies = known.examples[known.is_anomaly & train.is_anomaly.any()]
    forest = None
    if parameters.forest > 0 and len(anomalies):
        forest = _forest(known, spec, rng, few)
    on_rows: list[Expert] = []
    if parameters.novelty > 0:
        # They look like anomalies of no kind that is known.
        made = recombined(known.normals, spec, MADE_UP, rng)
        opinions = [_distance(known.normals, spec, made, rng, odd=len(anomalies) > 0)]
        if few or forest is None:
            opinions.append(_density(known.normals, spec, made, rng, FOLDS if few else 1))
        shares = shares_of_all([_told(opinion, made) for opinion in opinions])
        on_rows = [
            _expert(opinion, parameters.novelty * share)
            for opinion, share in zip(opinions, shares, strict=True)
        ]
        if spec.categories or spec.gaps:
            plenty = not few and len(anomalies) >= ENOUGH_ANOMALIES
            share = ODDITY_BESIDE_PLENTY if plenty else 1.0
            on_rows.append(oddity(known.normals, spec, parameters.novelty * share))
    if forest is None:
        return Experts(on_rows), None
    half_a_vote = 0.5 / len(forest.model.estimators_)
    odds = log_odds(tensor(forest.votes), half_a_vote).numpy()
    of_normals, of_anomalies = odds[~known.is_anomaly], odds[known.is_anomaly]
    # By what they say: of categories and gaps it is less than what they see.
    others = [separation(each.at_normals(), embed(each, anomalies)) for each in on_rows]
    share = share_of_forest(separation(of_normals, of_anomalies), others)
    weight = parameters.forest * share * share_by_number(len(train.normals), len(anomalies))
    on_votes = _expert((LogOddsOfVotes(half_a_vote), of_normals), weight)
    return Experts(on_rows, on_votes), forest


def _distance(
    normals: FloatRows, spec: ExampleSpec, made: FloatRows, rng: np.random.Generator, odd: bool
) -> Opinion:
    """`novelty` of rows as networks get them, among numbers to scale or among their quantiles.

    Quantiles tear apart what is dense and bend what is straight; but of columns with long tails
    little else tells anything. They are taken where they tell normals clearly better from rows that
    are put together of normals' columns.
    """
    to_scale = novelty(normals, rng, odd, lambda _: features_at(spec.to_scale, spec))
    if not spec.quantiles:
        return to_scale
    ranked = novelty(normals, rng, odd, lambda some: Ranked(some, spec))
    return _clearest(to_scale, ranked, made)


def _density(
    normals: FloatRows, spec: ExampleSpec, made: FloatRows, rng: np.random.Generator, folds: int
) -> Opinion:
    """`rarity`, likewise: among numbers to scale, whose laws may bind them closely, or smoother
    among quantiles beside them."""
    to_scale = rarity(normals, folds, spec, rng, to_scale=True)
    if not spec.quantiles:
        return to_scale
    return _clearest(to_scale, rarity(normals, folds, spec, rng, to_scale=False), made)


def _clearest(to_scale: Opinion, ranked: Opinion, made: FloatRows) -> Opinion:
    """The first, unless the other tells normals clearly better from made-up rows."""
    return ranked if _told(ranked, made) > _told(to_scale, made) + MORE_TOLD else to_scale


def _expert(opinion: Opinion, weight: float) -> Expert:
    module, of_normals = opinion
    return Expert(module, of_normals, Surprise.among(of_normals, LEAST_SCALE), weight)


def _told(opinion: Opinion, rows: FloatRows) -> float:
    """d′ / √2 of normals and the rows."""
    module, of_normals = opinion
    return separation(of_normals, embed(module, rows))


def shares_of_all(told: Sequence[float]) -> list[float]:
    """How much each is heard, 1 on average: its d′², divided by their mean."""
    squares = np.square(told)
    return list(squares / squares.mean())


def share_of_forest(of_forest: float, of_others: Sequence[float]) -> float:
    """What is left of a forest's weight where others tell known anomalies better: (d′ / max d′)².

    The others have no such share by known anomalies: they need none to be learnt, and what is new
    may be what they alone see.
    """
    return min(1.0, of_forest / max(of_others, default=of_forest)) ** 2


def share_by_number(normals: int, anomalies: int) -> float:
    """What is left of a forest's weight where normals are few: of a handful of anomalies its votes
    are chance, and new kinds, which it takes for normals, would be drowned."""
    if normals >= ENOUGH_NORMALS:
        return 1.0
    return HEARD_OF_FEW * min(1.0, anomalies / ANOMALIES_OF_A_FOREST)


def separation(of_normals: NDArray[np.floating], of_anomalies: NDArray[np.floating]) -> float:
    """d′ / √2 of opinions on rows that these were not learnt from, positive and bounded.

    d′ = √2·Φ⁻¹(AUC) is how many standard deviations apart two normal distributions of the same
    spread have such an area under the ROC curve (Green and Swets, 1966, Signal detection theory
    and psychophysics), and its square what an observation tells of which of them it is from.
    """
    from sklearn.metrics import roc_auc_score

    count = len(of_anomalies)
    is_anomaly = np.repeat([False, True], [len(of_normals), count])
    area = count * roc_auc_score(is_anomaly, np.concatenate([of_normals, of_anomalies]))
    doubted = (area + ANOMALIES_OF_DOUBT * DOUBTED_AREA) / (count + ANOMALIES_OF_DOUBT)
    low, high = AREAS
    return NormalDist().inv_cdf(min(max(doubted, low), high))


def _weight_of_encoder(normals: int, anomalies: int) -> float:
    """λ: from few rows of either class E learns less than the experts do, and least from anomalies
    that are all made up, of which there are enough."""
    of_normals = min(1.0, normals / ENOUGH_NORMALS)
    if anomalies == 0:
        return of_normals
    weight: float = min(of_normals, anomalies / ENOUGH_ANOMALIES) ** 0.5
    return weight


def _known(train: Rows, selection: Rows) -> Rows:
    """All rows, each once: very few normals are those of both roles. Selection's come last, as
    `graph_with_experts` takes for granted."""
    shared = np.array_equal(train.normals, selection.normals, equal_nan=True)
    more = selection.is_anomaly | (not shared)
    return Rows(
        np.concatenate([train.examples, selection.examples[more]]),
        np.concatenate([train.is_anomaly, selection.is_anomaly[more]]),
    )


def _forest(known: Rows, spec: ExampleSpec, rng: np.random.Generator, few: bool) -> Grown:
    """The forest whose votes are heard.

    Of few rows, trees whose classes are weighted are begun in four ways, with fewer or more
    features tried a split and smaller or larger leaves, and are grown in the one that ranks the
    known anomalies highest. Of many, plain trees cost least on what is new, and the others take
    their place only where they rank the known ones clearly higher.
    """
    rows = known.examples[:, spec.plain]
    seed = random_state(rng)
    most = MOST_TRIED / rows.shape[1]
    shares = [share if share == "sqrt" else min(share, most) for share in FEATURES_TRIED]
    grown = partial(weighted_trees, rows, known.is_anomaly, random_state=seed)
    if few:
        ways = [
            {"max_features": share, "min_samples_leaf": leaf}
            for share, leaf in product(shares, LEAVES_OF_FEW)
        ]
        best = max(ways, key=lambda way: _rank(grown(TREES_BEGUN, **way), known))
        return grown(TREES_OF_FEW, **best)
    plain = plain_trees(rows, known.is_anomaly, TREES, seed)
    if known.is_anomaly.sum() < ENOUGH_ANOMALIES:
        return plain
    to_beat = _rank(plain, known) + CLEARLY
    others = [grown(TREES, max_features=share, min_samples_leaf=LEAF) for share in shares]
    rank, best_of_them = max((_rank(other, known), at) for at, other in enumerate(others))
    return others[best_of_them] if rank > to_beat else plain


def _rank(forest: Grown, known: Rows) -> float:
    """AUC-PR of votes by trees grown without a row."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(known.is_anomaly, forest.votes))
