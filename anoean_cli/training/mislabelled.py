"""Rows that are labelled normal and look like known anomalies.

One in a hundred costs E, whose normals they are, more than a point of AUC-PR, and one in ten ruins
it, the experts' references and Σ, while a forest hardly minds. So a forest is asked for its opinion
of each row by the trees grown without it, and where most of them say anomaly, the row is left out:
a filter as that of Brodley and Friedl (1999), Identifying mislabeled training data, with
out-of-bag votes instead of cross-validation.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anoean_cli.data.splits import Split
from anoean_cli.interfaces import DetectorPlugin, Kind, Rows
from anoean_cli.training.sampling import MOST_ROWS, random_state
from anoean_cli.wording import counted

TREES = 100
LEAF = 5  # rows at least; smaller leaves hold what single wrong labels say
# Of the labels around a row; where fewer are anomalies, it is a kind of normals that some anomalies
# resemble, however many more of all anomalies than of all normals lie there.
LEAST_ANOMALIES = 0.25
# Of the normals: where fewer are doubtful, they are normals that are hard to tell, and training
# without these would call the next of them anomalies; where more are, there is little to go by.
SMALLEST_SHARE, LARGEST_SHARE = 0.002, 0.2
FEWEST = 5
UNDECIDED = 0.2  # of the votes short of what is asked for
# Times as many as are undecided: where classes overlap up to 1.8 times as many have most votes as
# are undecided, and 3 to 13 times as many where labels are wrong.
DECIDED = 2


def is_asked_for(detector: DetectorPlugin, parameters: Any, kind: Kind) -> bool:
    """Whether a detector with these parameters wants such rows left out."""
    least_vote = getattr(parameters, "label_filter", None)
    is_on = least_vote is not None and least_vote < 1 and detector.uses_anomalies
    return is_on and kind == "table"


def without_doubtful(
    split: Split,
    rows_of: Callable[[NDArray[np.int64]], Rows],
    features: NDArray[np.intp],
    least_vote: float,
    rng: np.random.Generator,
    detector: str,
) -> Split:
    """The split without the normals that look like known anomalies, but for those of the test.

    The forest learns nothing from calibration rows, so that what it leaves of them are references
    as before, for normals that it would leave as well. What is to be said is added to the notes.

    Args:
        rows_of: preprocessed rows at positions of the data set.
        features: those which the forest sees.
        least_vote: as `doubtful` takes it.
        detector: who leaves them out, for the note.
    """
    learnt = np.concatenate([split.training, split.selection])
    at = np.concatenate([learnt, split.calibration])
    held = np.arange(len(at)) >= len(learnt)
    rows = rows_of(at)
    found = np.sort(at[doubtful(rows, held, features, least_vote, rng)])
    if len(found) == 0:
        return split
    training, selection, calibration = (
        np.setdiff1d(role, found, assume_unique=True)
        for role in (split.training, split.selection, split.calibration)
    )
    note = (
        f"{detector} leaves out {counted(len(found), 'row')} labelled normal, "
        f"{len(found) / (~rows.is_anomaly).sum():.1%} of them, that look like known anomalies: "
        "train --doubtful FILE tells which; if their labels are right, rows like these will be "
        "false alarms, unless none is left out (--set label_filter=1)"
    )
    return replace(
        split,
        training=training,
        selection=selection,
        calibration=calibration,
        notes=(*split.notes, note),
        doubtful=found,
    )


def doubtful(
    rows: Rows,
    held: NDArray[np.bool_],
    features: NDArray[np.intp],
    least_vote: float,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """(n,) the normals that get more votes than ``least_vote`` for an anomaly, where that is plain.

    It is not where they are no more than 1 in 500 normals, fewer than 5, or more than a fifth; nor
    where half as many normals get nearly as many votes, or enough of them among far more normals,
    as where classes overlap.

    Args:
        rows: (n, features) of both classes.
        held: (n,) rows that the forest does not learn from, and that it is not judged by.
        features: those which the forest sees.
    """
    normal = ~rows.is_anomaly
    votes = _votes(rows, held, features, rng)
    learnt = int((normal & ~held).sum())
    most_votes = normal & (votes > least_vote)
    found = most_votes & (_share_around(votes, learnt, rows) > LEAST_ANOMALIES)
    undecided = normal & (votes > least_vote - UNDECIDED) & ~found
    count, others = int((found & ~held).sum()), int((undecided & ~held).sum())
    is_plain = count >= FEWEST and SMALLEST_SHARE < count / learnt <= LARGEST_SHARE
    return found if is_plain and count > DECIDED * others else np.zeros_like(found)


def _share_around(votes: NDArray[np.float64], normals: int, rows: Rows) -> NDArray[np.float64]:
    """(n,) votes as they would be if each row counted the same, instead of each class."""
    anomalous = votes * rows.is_anomaly.sum()
    share: NDArray[np.float64] = anomalous / (anomalous + (1 - votes) * normals)
    return share


def _votes(
    rows: Rows, held: NDArray[np.bool_], features: NDArray[np.intp], rng: np.random.Generator
) -> NDArray[np.float64]:
    """(n,) the share of votes for an anomaly, by trees grown without the row; anomalies get any."""
    from sklearn.ensemble import RandomForestClassifier

    chosen = [
        rng.permutation(np.flatnonzero((rows.is_anomaly == kind) & ~held))[:MOST_ROWS]
        for kind in (False, True)
    ]
    learnt = np.sort(np.concatenate(chosen))
    votes = np.zeros(len(held))
    if min(len(some) for some in chosen) == 0:
        return votes
    examples = rows.examples[:, features]
    # Classes count the same: of rows like anomalies, more may be labelled normal than anomalous.
    forest = RandomForestClassifier(
        TREES,
        min_samples_leaf=LEAF,
        class_weight="balanced",
        oob_score=True,
        random_state=random_state(rng),
    )
    with warnings.catch_warnings():
        # Anomalies of few are in every tree, and have no votes, NaN; nobody asks for theirs.
        warnings.filterwarnings("ignore", "Some inputs do not have OOB scores")
        warnings.filterwarnings("ignore", "invalid value", RuntimeWarning)
        forest.fit(examples[learnt], rows.is_anomaly[learnt])
    votes[learnt] = np.nan_to_num(forest.oob_decision_function_[:, 1])
    others = np.setdiff1d(np.flatnonzero(~rows.is_anomaly), learnt, assume_unique=True)
    if len(others):
        votes[others] = forest.predict_proba(examples[others])[:, 1]
    return votes
