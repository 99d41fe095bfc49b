"""The experts on tables: which there are, of what they judge, and how much each is heard."""

from __future__ import annotations

import numpy as np

from anoean_cli.interfaces import ExampleSpec, FloatRows, Rows
from anoean_cli.training.artificial import recombined
from anoean_cli.training.density import features_at
from anoean_cli.training.progress import embed
from anoean_cli.training.sampling import MOST_ROWS, at_most_of_each
from anoean_cli.training.settings import AnoeanParameters
from anoean_plugins.experts.forest import forest_of
from anoean_plugins.experts.opinions import FOLDS, Opinion, expert_of, novelty, oddity, rarity
from anoean_plugins.experts.surprise import Expert, Experts, Together
from anoean_plugins.experts.weights import (
    ENOUGH_ANOMALIES,
    are_few,
    separation,
    share_by_number,
    share_of_forest,
    shares_of_all,
)
from anoean_plugins.scorers.modules import LogOddsOfVotes, Ranked, log_odds, tensor
from anoean_plugins.scorers.trees import Grown

ODDITY_BESIDE_PLENTY = 0.5  # of rows of both classes: more tells new kinds better, known ones worse
MADE_UP = 1000  # rows that distance and density are weighed by
MORE_TOLD = 0.1  # d′ / √2, where opinions on quantiles take the place of those to scale
STRAY_VOTES = 0.05  # of few rows: that many say nothing, where most normals have none


def experts_on_tables(
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
    few = are_few(train)
    known = at_most_of_each(_known(train, selection), MOST_ROWS, rng)
    anomalies = known.examples[known.is_anomaly & train.is_anomaly.any()]
    forest = None
    if parameters.forest > 0 and len(anomalies):
        forest = forest_of(known, spec, rng, few)
    on_rows: list[Expert | Together] = []
    if parameters.novelty > 0:
        # They look like anomalies of no kind that is known.
        made = recombined(known.normals, spec, MADE_UP, rng)
        opinions = [_distance(known.normals, spec, made, rng, odd=len(anomalies) > 0)]
        if few or forest is None:
            opinions.append(_density(known.normals, spec, made, rng, FOLDS if few else 1))
        shares = shares_of_all([_told(opinion, made) for opinion in opinions])
        experts = [
            expert_of(opinion, parameters.novelty * share)
            for opinion, share in zip(opinions, shares, strict=True)
        ]
        on_rows = [Together(experts)] if few else [*experts]
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
    stray = float(log_odds(tensor([STRAY_VOTES]), half_a_vote)[0]) if few else None
    on_votes = expert_of((LogOddsOfVotes(half_a_vote), of_normals), weight, stray)
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


def _told(opinion: Opinion, rows: FloatRows) -> float:
    """d′ / √2 of normals and the rows."""
    module, of_normals = opinion
    return separation(of_normals, embed(module, rows))


def _known(train: Rows, selection: Rows) -> Rows:
    """All rows, each once: very few normals are those of both roles. Selection's come last, as
    `graph_with_experts` takes for granted."""
    shared = np.array_equal(train.normals, selection.normals, equal_nan=True)
    more = selection.is_anomaly | (not shared)
    return Rows(
        np.concatenate([train.examples, selection.examples[more]]),
        np.concatenate([train.is_anomaly, selection.is_anomaly[more]]),
    )
