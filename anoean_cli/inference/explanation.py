"""Why a row has its score: how much each column adds to that of the typical normal row.

The model is asked what the typical normal row would score if it had one column of the row, for
each column. Only values that differ count: equal ones add nothing. Where more columns differ than
there are questions, those least far from the typical values share the last one, by how far they
are. Images are asked about in patches, put into the typical image and taken out of the row's as
well, and a patch is shared among its pixels likewise.

The model file holds the typical row, and nothing is drawn at random, so that a row's explanation
depends on that row alone. Other ways were measured: docs/results/explanation-choice.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anoean_cli.data.preprocessing import Census, TablePreprocessor
from anoean_cli.errors import FileFormatError
from anoean_cli.examples import FloatRows, Scores
from anoean_cli.inference.model import Model, Scored, joined

QUESTIONS = 18  # about a row of a table; with the score itself below the cost of 20 scores
PATCHES = 3  # of an image, along each side; two questions about each
LEAST_SCORE = 1e-12  # of which a logarithm is taken
NEGLIGIBLE = 1e-9  # difference of logarithms


@dataclass(frozen=True)
class Explanation:
    """Contributions of columns to the scores of n rows.

    Attributes:
        contributions: (n, columns) in the score's unit; a row's add up to its score less
            ``baseline``. Of images there is one a pixel.
        baseline: the score of the typical normal row.
    """

    contributions: Scores
    baseline: float

    def largest(self, k: int) -> tuple[NDArray[np.intp], Scores]:
        """The k columns that add most to each score, (n, k), and what they add; the most first.

        Those that add nothing come last, behind what speaks for a row.
        """
        added = np.where(self.contributions == 0, -np.inf, self.contributions)
        order = np.argsort(-added, axis=1, kind="stable")[:, :k]
        return order, np.take_along_axis(self.contributions, order, axis=1)


class Explainer:
    """Explains the scores of a model. One instance serves any number of threads.

    Args:
        model: with a typical row.

    Raises:
        FileFormatError: the model has none, as those of older versions.
    """

    def __init__(self, model: Model) -> None:
        if model.typical is None:
            raise FileFormatError(
                "the model holds no typical normal row to explain by, as files of older versions: "
                "train it anew"
            )
        self.model = model
        self.spec = model.preprocessor.spec
        self._typical = model.typical.reshape(1, -1)
        scored = model.score_rows(model.typical[None])
        self.baseline = float(scored.scores[0])
        self._start = self._measured(scored.scores)[0]
        if isinstance(model.preprocessor, TablePreprocessor):
            self.columns = list(model.preprocessor.columns)
            self._widths = [column.width for column in model.preprocessor.columns.values()]
            self._patch = None
        else:
            channels, height, width = self.spec.shape
            self._patch = _patches(height, width)
            self._widths = [channels] * (height * width)
            self.columns = patch_names(height, width)
        self._plain = np.zeros(self._typical.shape[1], np.bool_)
        self._plain[self.spec.plain] = True

    def score(self, examples: Any, census: Census | None = None) -> tuple[Scored, Explanation]:
        """Score rows as `Model.score` does, and explain the scores.

        Args:
            examples: an Arrow table with the schema's columns, or uint8 images.
        """
        found, explained = [], []
        for rows in self.model.preprocessed(examples, census):
            part = self.model.score_rows(rows)
            found.append(part)
            explained.append(self.explain_rows(rows, part.scores).contributions)
        return joined(found), Explanation(np.concatenate(explained), self.baseline)

    def explain_rows(self, rows: FloatRows, scores: Scores) -> Explanation:
        """Explain preprocessed rows, (n, *shape), and their (n,) scores."""
        flat = rows.reshape(len(rows), self._typical.shape[1])
        return Explanation(self._explained(flat, scores), self.baseline)

    def named(self, explanation: Explanation) -> Explanation:
        """The contributions of what ``columns`` names: of tables the same, of images by patch."""
        if self._patch is None:
            return explanation
        together = np.zeros((len(explanation.contributions), len(self.columns)))
        for patch in range(len(self.columns)):
            inside = np.ascontiguousarray(explanation.contributions[:, self._patch == patch])
            together[:, patch] = _sums(inside)
        return Explanation(together, explanation.baseline)

    def _explained(self, rows: FloatRows, scores: Scores) -> Scores:
        """(n, features), (n,) → (n, columns) contributions that add up to the excess."""
        distance = self._distances(rows)
        asked = _ranks(distance).clip(max=QUESTIONS - 1) if self._patch is None else self._patch
        asked = np.broadcast_to(asked, distance.shape)
        measured = self._measured(scores)
        change, reach = self._answers(rows, measured, distance, asked)
        whole = measured - self._start
        excess = scores - self.baseline
        change += _shared(whole - _sums(change), np.abs(change), reach)
        if self.model.gaussian is not None:
            # Differences of logarithms, times the logarithmic mean of both scores.
            mean = np.where(np.abs(whole) > NEGLIGIBLE, excess / _nonzero(whole), scores)
            change *= mean[:, None]
        at = np.arange(len(rows))[:, None]
        result: Scores = change[at, asked] * distance / _nonzero(reach[at, asked])
        return result

    def _answers(
        self, rows: FloatRows, measured: Scores, distance: Scores, asked: NDArray[np.intp]
    ) -> tuple[Scores, Scores]:
        """(n, questions): what each one's columns add to the score, and how far they are."""
        count = QUESTIONS if self._patch is None else len(self.columns)
        change, reach = np.zeros((len(rows), count)), np.zeros((len(rows), count))
        for question in range(count):
            here = asked == question
            reach[:, question] = _sums(np.where(here, distance, 0.0))
            some = np.flatnonzero(reach[:, question])
            if len(some):
                own = self._features(here[some])
                added = self._mixed(own, rows[some]) - self._start
                if self._patch is not None:
                    taken = measured[some] - self._mixed(~own, rows[some])
                    added = (added + taken) / 2
                change[some, question] = added
        return change, reach

    def _mixed(self, own: NDArray[np.bool_], rows: FloatRows) -> Scores:
        """What rows score of which only some features are their own, the others typical."""
        mixed = np.where(own, rows, self._typical).reshape(-1, *self.spec.shape)
        return self._measured(self.model.score_rows(mixed).scores)

    def _distances(self, rows: FloatRows) -> Scores:
        """(n, columns): how far each column is from the typical row's, in its features."""
        squares = ((rows - self._typical) * self._plain).astype(np.float64) ** 2
        if self._patch is not None:
            channels = self.spec.shape[0]  # not -1 for the rest: there may be no row
            by_channel = squares.reshape(len(rows), channels, squares.shape[1] // channels)
            distances: Scores = np.sqrt(by_channel.sum(axis=1))
            return distances
        summed = np.zeros((len(rows), len(self._widths)))
        some = np.flatnonzero(self._widths)  # a column may have no feature
        starts = np.cumsum([0, *self._widths])[some]
        summed[:, some] = np.add.reduceat(squares, starts, axis=1)
        return np.sqrt(summed)

    def _features(self, columns: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(n, columns) → (n, features)."""
        if self._patch is not None:
            return np.tile(columns, self.spec.shape[0])
        return np.repeat(columns, self._widths, axis=1)

    def _measured(self, scores: Scores) -> Scores:
        """Distances multiply, so their logarithms are compared; other scores as they are."""
        if self.model.gaussian is None:
            return scores
        return np.log(np.maximum(scores, LEAST_SCORE))


def patch_names(height: int, width: int) -> list[str]:
    """Rows and columns of pixels, from 0, of each patch."""
    down, across = _edges(height), _edges(width)
    return [
        f"y{top}-{bottom - 1}/x{left}-{right - 1}"
        for top, bottom in pairwise(down)
        for left, right in pairwise(across)
    ]


def _edges(side: int) -> list[int]:
    parts = min(PATCHES, side)
    return [side * part // parts for part in range(parts + 1)]


def _patches(height: int, width: int) -> NDArray[np.intp]:
    """(pixels,): the patch of each."""
    down = np.searchsorted(_edges(height), np.arange(height), side="right") - 1
    across = np.searchsorted(_edges(width), np.arange(width), side="right") - 1
    return (down[:, None] * min(PATCHES, width) + across).ravel()


def _ranks(distance: Scores) -> NDArray[np.intp]:
    """(n, columns): 0 for the farthest, and so on; of equals the first column first."""
    order = np.argsort(-distance, axis=1, kind="stable")
    return np.argsort(order, axis=1, kind="stable")


def _shared(rest: Scores, weight: Scores, otherwise: Scores) -> Scores:
    """(n,) shared by (n, k) weights; where all are 0 by the others."""
    weight = np.where(_sums(weight)[:, None] > 0, weight, otherwise)
    return rest[:, None] * weight / _nonzero(_sums(weight))[:, None]


def _sums(values: Scores) -> Scores:
    """Of each row; einsum adds in the same order however many rows there are."""
    sums: Scores = np.einsum("ij->i", np.ascontiguousarray(values))
    return sums


def _nonzero(values: Scores) -> Scores:
    return np.where(values == 0, 1.0, values)
