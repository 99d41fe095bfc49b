"""What came in, beside what the model was made for: scores and columns, and what to warn of."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NotRequired, Self, TypedDict

import numpy as np

from anoean_cli.calibration.drift import ScoreCounts, ScoreDrift
from anoean_cli.data.preprocessing import SURPRISES, Census, Surprise
from anoean_cli.data.shares import Share
from anoean_cli.examples import Json
from anoean_cli.inference.model import Model, Scored

REMEDY = "if they have, p-values mislead until anoean calibrate --data NEW_NORMALS"

MOST_COLUMNS = 10  # to warn of, each with a line
LARGEST = 2**53  # whatever a file says, a float holds it


class Seen(TypedDict):
    """What is counted, as JSON."""

    scores: list[int]
    rows: int
    missing: dict[str, int]
    unseen: dict[str, int]
    out_of_range: dict[str, int]
    empty: NotRequired[int]  # older manifests do not tell
    hollow: NotRequired[int]


@dataclass
class Incoming:
    """What is counted of rows while they are scored; it takes no more memory the more there are.

    What several workers have counted adds up to what one would have, in any order.
    """

    scores: ScoreCounts
    census: Census = field(default_factory=Census)

    @classmethod
    def beside(cls, model: Model) -> Self:
        """Nothing yet, to be held against the model's reference scores."""
        return cls(ScoreCounts(model.calibration.reference))

    def score(self, model: Model, examples: Any) -> Scored:
        """Score examples, as :meth:`Model.score`, and count them."""
        scored = model.score(examples, self.census)
        self.scores.add(scored.scores)
        return scored

    def merge(self, other: Self) -> None:
        """Add what was counted of other rows."""
        self.scores.merge(other.scores)
        self.census.merge(other.census)

    def to_json(self) -> Seen:
        """Return the counts, for `merge_json`."""
        census = self.census
        return {
            "scores": self.scores.counts.tolist(),
            "rows": census.rows,
            "missing": census.missing,
            "unseen": census.unseen,
            "out_of_range": census.out_of_range,
            "empty": census.empty,
            "hollow": census.hollow,
        }

    def can_merge(self, seen: Seen) -> bool:
        """Whether these can have been counted beside as many reference scores."""
        counts = seen["scores"]
        return len(counts) == len(self.scores.counts) and all(0 <= n <= LARGEST for n in counts)

    def merge_json(self, seen: Seen) -> None:
        """Add what was counted of other rows, by the same model."""
        self.scores.counts += np.array(seen["scores"], np.int64)
        kinds = seen["missing"], seen["unseen"], seen["out_of_range"]
        self.census.merge(Census(seen["rows"], *kinds, seen.get("empty", 0), seen.get("hollow", 0)))


class Drift(NamedTuple):
    """How rows differ from those that the model was calibrated with.

    Attributes:
        scores: their scores beside the reference scores.
        exact: whether the references are scores of rows that nothing has learned from. If not,
            scores are compared but not warned of.
        columns: the shares of what is missing, unseen or out of range.
        grown: those of them that are more than expected, beyond what chance explains.
    """

    scores: ScoreDrift
    exact: bool
    columns: dict[str, dict[Surprise, Share]]
    grown: list[tuple[str, Surprise]]

    @property
    def has_scores_warning(self) -> bool:
        """Whether scores alone are cause for a warning."""
        return self.exact and (self.scores.has_moved or self.scores.is_heavy)

    def warnings(self) -> list[str]:
        """A line for each column that is not what it was, or of many the ones that have changed
        most and how many others there are, and one for the scores."""
        told = []
        for name, kind in self._most_grown():
            share = self.columns[name][kind]
            told.append(
                f"column {name!r}: {share.count:,} of {share.of:,} values {SURPRISES[kind]}, "
                f"where {share.expected:.2%} were expected"
            )
        if len(told) < len(self.grown):
            told.append(
                f"{len(self.grown) - len(told):,} more shares of missing, unseen or out-of-range "
                "values have grown; --summary FILE lists the columns"
            )
        return [*told, self._of_scores()] if self.has_scores_warning else told

    def unwatched(self) -> list[str]:
        """A line for each thing that is never warned of, and why."""
        told = []
        if not self.exact:
            told.append(
                "scores are not watched for drift: the reference scores are approximate, so that "
                "normal rows may score otherwise all the same; anoean calibrate --data NEW_NORMALS "
                "gives exact ones"
            )
        for kind, what in SURPRISES.items():
            shares = [share[kind] for share in self.columns.values() if kind in share]
            unknown = sum(math.isnan(share.expected) for share in shares)
            if unknown:
                told.append(
                    f"{unknown:,} of {len(self.columns):,} columns are not watched for values that "
                    f"{what}: the model, of an older version, does not tell how many are usual; "
                    "train it anew"
                )
        return told

    def _most_grown(self) -> list[tuple[str, Surprise]]:
        def growth(at: tuple[str, Surprise]) -> float:
            share = self.columns[at[0]][at[1]]
            return share.value - share.expected

        chosen = set(sorted(self.grown, key=growth, reverse=True)[:MOST_COLUMNS])
        return [at for at in self.grown if at in chosen]

    def _of_scores(self) -> str:
        scores, found = self.scores, []
        if scores.is_heavy:
            found.append(
                f"{scores.tail:.0%} of the rows score higher than {1 - scores.tail_expected:.0%} "
                "of the calibration rows: they hold many anomalies, or normal rows have changed"
            )
        if scores.has_moved:
            found.append(
                "rows that do not stand out score otherwise than the calibration rows (distance "
                f"{scores.distance:.2f}, limit {scores.distance_limit:.2f}): normal rows have "
                "changed"
            )
        return f"{'; '.join(found)}; {REMEDY}"

    def to_json(self) -> dict[str, Json]:
        """Return figures and limits; of columns those that lacked values or had new ones."""
        columns: dict[str, dict[str, Json]] = {}
        for name, shares in self.columns.items():
            for kind, share in shares.items():
                if share.count:
                    columns.setdefault(name, {})[kind] = {
                        "share": share.value,
                        "expected": None if math.isnan(share.expected) else share.expected,
                        "warned": (name, kind) in self.grown,
                    }
        scores = {**self.scores.to_json(), "exact": self.exact, "warned": self.has_scores_warning}
        return {
            "warned": bool(self.warnings()),
            "unwatched": self.unwatched(),
            "scores": scores,
            "columns": columns,
        }


def drift_of(model: Model, incoming: Incoming) -> Drift:
    """Compare rows with those that a model was made from."""
    columns = model.preprocessor.shares(incoming.census)
    compared = [(name, kind) for name, shares in columns.items() for kind in shares]
    rows = _rows_behind(model)
    grown = [
        (name, kind) for name, kind in compared if columns[name][kind].is_more(rows, len(compared))
    ]
    return Drift(incoming.scores.compared(), model.calibration.exact, columns, grown)


def _rows_behind(model: Model) -> int:
    """How many rows the expected shares were counted in."""
    anew = model.config.get("recalibration")
    counts = model.config["split"]["training"] if anew is None else anew
    rows: int = sum(count for count in counts.values() if isinstance(count, int))
    return min(rows, LARGEST)
