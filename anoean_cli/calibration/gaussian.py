"""The Gaussian of the decision space: N(μ, Σ) of normals that training did not see, Eq. (3)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anoean_cli.choices import COVARIANCES
from anoean_cli.errors import DataError, FileFormatError, TrainingError, UsageError
from anoean_cli.examples import Scores

DEFAULT_COVARIANCE = "ledoit-wolf"
ROWS_PER_DIMENSION = 4

_FOLDS = 20
_BLOCK = 128  # rows: of 32 dimensions they and their products fit into the first cache
_UNEXPLAINED = 1e-12  # a smaller share of a dimension's variance is rounding


@dataclass(frozen=True, eq=False)
class Gaussian:
    """Mean and covariance of normal embeddings, and the distance they define.

    Attributes:
        mean: (d,) float64.
        covariance: (d, d) float64, symmetric and positive definite.
        ridge: what was added to the diagonal of an estimate that was not positive definite, as a
            multiple of its mean variance; it is part of ``covariance``.
    """

    mean: Scores
    covariance: Scores
    ridge: float = 0.0

    @classmethod
    def from_embeddings(
        cls,
        z: ArrayLike,
        estimator: str = "empirical",
        seed: int = 0,
        may_coincide: bool = False,
    ) -> Gaussian:
        """Estimate μ and Σ.

        ``empirical`` is the sample covariance with divisor n − 1, ``ledoit-wolf`` shrinks it
        towards a multiple of I, ``mcd`` is the minimum covariance determinant, which outliers
        among the rows do not move. ``spherical`` is a multiple of I about 0, as N(0, I) itself: the
        mean square of the coordinates. An estimate that is not positive definite in float64 (fewer
        rows than dimensions, a dead or a doubled dimension) gets the smallest ridge of 1e-10,
        1e-9, … times its mean variance that makes it so.

        Args:
            z: (n, d) embeddings of normals, n >= 2; more than 2·d for ``mcd``.
            estimator: one of ``COVARIANCES``.
            seed: of the subsets that ``mcd`` starts from.
            may_coincide: whether all embeddings may be the same, as those of equal rows are. Only
                ``spherical`` has a spread then, unless they are 0.

        Raises:
            UsageError: an unknown estimator.
            DataError: too few rows, embeddings that are not finite, or rows most of which
                coincide, for ``mcd``.
            TrainingError: the encoder collapsed: all embeddings are the same.
        """
        if estimator not in COVARIANCES:
            raise UsageError(f"no covariance {estimator!r}: choose from {', '.join(COVARIANCES)}")
        rows = _embeddings(z)
        if not may_coincide:
            _refuse_collapse(rows)
        mean, covariance = _estimate(rows.astype(np.float64), estimator, seed)
        return cls(mean, *_positive_definite((covariance + covariance.T) / 2))

    @classmethod
    def from_arrays(cls, mean: ArrayLike, covariance: ArrayLike) -> Gaussian:
        """Rebuild a Gaussian from arrays of a file.

        Raises:
            FileFormatError: shapes that do not match, numbers that are not finite, a covariance
                that is not symmetric or not positive definite.
        """
        centre = np.asarray(mean, dtype=np.float64)
        spread = np.asarray(covariance, dtype=np.float64)
        if centre.ndim != 1 or not len(centre) or spread.shape != 2 * centre.shape:
            raise FileFormatError(
                f"a mean of shape {centre.shape} and a covariance of shape {spread.shape} "
                "do not belong together"
            )
        if not (np.isfinite(centre).all() and np.isfinite(spread).all()):
            raise FileFormatError("the mean or the covariance holds numbers that are not finite")
        if not np.array_equal(spread, spread.T):
            raise FileFormatError("the covariance is not symmetric")
        if not _is_positive_definite(spread):
            raise FileFormatError("the covariance is not positive definite")
        return cls(centre, spread)

    @cached_property
    def whitener(self) -> Scores:
        """(d, d) float64 upper triangular W with ‖(z − μ)W‖ the Mahalanobis distance.

        With Σ = LLᵀ, W is L⁻ᵀ.
        """
        factor = np.linalg.cholesky(self.covariance)
        return np.ascontiguousarray(np.tril(np.linalg.inv(factor)).T)

    def whitened(self, z: ArrayLike) -> Scores:
        """(n, d) → (n, d), of which the lengths are the Mahalanobis distances."""
        return (np.asarray(z) - self.mean) @ self.whitener

    def mahalanobis(self, z: ArrayLike) -> Scores:
        """Return the distance of each embedding to μ under Σ: the raw score, Eq. (3).

        The distance of a row depends on that row alone, to the last bit. A BLAS product does not
        promise that: its kernels treat the rows at the edge of a block otherwise, and threads
        part blocks. ``einsum`` sums each element in the same order wherever it stands in blocks
        of one size, of which the rows stand side by side for it to go along them.

        Args:
            z: (n, d).

        Returns:
            (n,) float64.
        """
        rows = np.asarray(z)
        distances = np.empty(len(rows))
        centred = np.zeros((len(self.mean), _BLOCK))
        for at in range(0, len(rows), _BLOCK):
            block = rows[at : at + _BLOCK]
            np.subtract(block.T, self.mean[:, None], out=centred[:, : len(block)])
            white = np.einsum("ji,jk->ki", centred, self.whitener)
            squares = np.einsum("ki,ki->i", white, white)
            np.sqrt(squares[: len(block)], out=distances[at : at + _BLOCK])
        return distances


def fitting_estimator(z: ArrayLike, wanted: str | None = None) -> str:
    """Return the wanted estimator for (n, d) embeddings, or the default, but for the sample
    covariance where normals are few for their dimensions the shrunk one: there it is a poor
    estimate."""
    n, d = np.shape(z)
    wanted = wanted or DEFAULT_COVARIANCE
    return "ledoit-wolf" if wanted == "empirical" and n < ROWS_PER_DIMENSION * d else wanted


def leave_one_out(
    z: ArrayLike,
    estimator: str = "empirical",
    folds: int | None = None,
    may_coincide: bool = False,
) -> Scores:
    """Return the distance of each row under a Gaussian that was fitted without it.

    Reference scores for when rows are too few to set a calibration base aside. P-values from
    them are *approximate*: each row has its own Gaussian, none of which is the one that scores.

    ``empirical`` uses the closed form d²₍₋ᵢ₎ = n²(n − 2)·dᵢ² / ((n − 1)·((n − 1)² − n·dᵢ²)), dᵢ
    the distance under the Gaussian of all n rows. Where that is not defined (a covariance that is
    singular with or without some row), for the other estimators, and when ``folds`` is given,
    rows are parted at random and each part is scored by the Gaussian of all others.

    Args:
        z: (n, d), n >= 3.
        estimator: one of ``COVARIANCES``.
        folds: number of parts, by default min(n, 20).
        may_coincide: as :meth:`Gaussian.from_embeddings` takes it.

    Returns:
        (n,) float64, in the order of the rows.

    Raises:
        UsageError: fewer than two folds, or more than rows.
        DataError, TrainingError: as :meth:`Gaussian.from_embeddings`, for any part of the rows.
    """
    rows = _embeddings(z)
    n = len(rows)
    if n < 3:
        raise DataError(f"{n} rows are too few to score each by the others: at least 3 are needed")
    if folds is not None and not 2 <= folds <= n:
        raise UsageError(f"{folds} folds of {n} rows: choose between 2 and {n}")
    if estimator == "empirical" and folds is None:
        distances = _closed_form(rows)
        if distances is not None:
            return distances
    return _cross_fitted(rows, estimator, folds or min(n, _FOLDS), may_coincide)


def _closed_form(rows: NDArray[np.floating]) -> Scores | None:
    """Return (n,) leave-one-out distances; None where a covariance would be singular."""
    n = len(rows)
    gaussian = Gaussian.from_embeddings(rows)
    squared = gaussian.mahalanobis(rows) ** 2
    remainder = (n - 1) ** 2 - n * squared  # 0 when a dimension lives by row i alone
    if gaussian.ridge or remainder.min() <= 1e-8 * n**2:
        return None
    distances: Scores = np.sqrt(n**2 * (n - 2) * squared / ((n - 1) * remainder))
    return distances


def _cross_fitted(
    rows: NDArray[np.floating], estimator: str, folds: int, may_coincide: bool
) -> Scores:
    part = np.random.default_rng(0).permutation(len(rows)) % folds
    distances = np.empty(len(rows))
    for fold in range(folds):
        others = rows[part != fold]
        gaussian = Gaussian.from_embeddings(others, estimator, may_coincide=may_coincide)
        distances[part == fold] = gaussian.mahalanobis(rows[part == fold])
    return distances


# --------------------------------------------------------------------------- estimation


def _embeddings(z: ArrayLike) -> NDArray[np.floating]:
    """Return z as a floating (n, d) array, of its own precision."""
    rows = np.asarray(z)
    if not np.issubdtype(rows.dtype, np.floating):
        rows = rows.astype(np.float64)
    if rows.ndim != 2 or rows.shape[0] < 2 or rows.shape[1] < 1:
        raise DataError(f"mean and covariance need at least 2 normals; embeddings: {rows.shape}")
    broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(broken):
        raise DataError(
            f"the embedding of row {broken[0]} is not finite ({len(broken)} of {len(rows)} are not)"
        )
    return rows


def _refuse_collapse(rows: NDArray[np.floating]) -> None:
    """Raise when the rows are equal, or differ by no more than the rounding of their type."""
    if np.ptp(rows, axis=0).max() <= np.finfo(rows.dtype).eps * np.abs(rows).max():
        raise TrainingError(
            f"the encoder collapsed: the embeddings of {len(rows)} normals are all the same"
        )


def _estimate(rows: Scores, estimator: str, seed: int) -> tuple[Scores, Scores]:
    """Return the mean (d,) and the covariance (d, d) of (n, d) rows."""
    if estimator == "empirical":
        mean = rows.mean(axis=0)
        centred = rows - mean
        return mean, centred.T @ centred / (len(rows) - 1)
    if estimator == "ledoit-wolf":
        return _ledoit_wolf(rows)
    if estimator == "spherical":
        return np.zeros(rows.shape[1]), np.square(rows).mean() * np.eye(rows.shape[1])
    return _minimum_determinant(rows, seed)


def _ledoit_wolf(rows: Scores) -> tuple[Scores, Scores]:
    """Shrink the covariance towards a multiple of I by the optimal weight of Ledoit and Wolf
    ("A well-conditioned estimator for large-dimensional covariance matrices", 2004).

    As scikit-learn's LedoitWolf, whose import takes longer than calibrating does.
    """
    n, d = rows.shape
    mean = rows.mean(axis=0)
    centred = rows - mean
    covariance = centred.T @ centred / n
    variance = np.trace(covariance) / d
    squares = centred**2
    noise = ((squares.T @ squares) / n - covariance**2).sum() / n  # b̄² of the paper, times d
    spread = ((covariance - variance * np.eye(d)) ** 2).sum()  # δ², times d
    weight = min(noise, spread) / spread if spread > 0 else 0.0
    return mean, (1 - weight) * covariance + weight * variance * np.eye(d)


def _minimum_determinant(rows: Scores, seed: int) -> tuple[Scores, Scores]:
    from sklearn.covariance import MinCovDet

    n, d = rows.shape
    if n <= 2 * d:
        raise DataError(
            f"mcd needs more than {2 * d} normals for {d} dimensions, and there are {n}: "
            "give more, or choose ledoit-wolf"
        )
    # sklearn takes variances below 1e-8 for 0, so it is given rows of a scale of their own
    scale = np.median(np.abs(rows - np.median(rows, axis=0))) or 1.0
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*([Dd]eterminant|full rank)")
        try:
            robust = MinCovDet(random_state=seed).fit(rows / scale)
        except ValueError as error:
            raise DataError(
                f"mcd has no covariance for these {n} normals, most of which coincide: "
                "choose ledoit-wolf"
            ) from error
    return scale * robust.location_, scale**2 * robust.covariance_


def _positive_definite(covariance: Scores) -> tuple[Scores, float]:
    """Return the covariance with the smallest relative ridge that it needs, and that ridge."""
    if _is_positive_definite(covariance):
        return covariance, 0.0
    scale = np.trace(covariance) / len(covariance)
    for exponent in range(-10, 1):
        ridge = 10.0**exponent
        mended = covariance + ridge * scale * np.eye(len(covariance))
        if _is_positive_definite(mended):
            return mended, ridge
    raise DataError("the covariance of the embeddings cannot be made positive definite")


def _is_positive_definite(covariance: Scores) -> bool:
    """Return whether a symmetric matrix has a Cholesky factorisation that float64 can trust.

    A singular matrix may slip through the factorisation by its rounding errors, so each squared
    pivot (the variance of a dimension that the ones before it do not explain) must exceed them.
    """
    try:
        factor = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        return False
    return bool((np.diag(factor) ** 2 > _UNEXPLAINED * np.diag(covariance)).all())
