"""AnoEAN as a scikit-learn outlier detector."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from numbers import Real
from typing import Any, Self

import numpy as np
from joblib import effective_n_jobs
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from anoean_cli.data.splits import SplitRequest
from anoean_cli.errors import DataError, UsageError
from anoean_cli.inference.inputs import array_table, as_images
from anoean_cli.inference.model import Model
from anoean_cli.interfaces import Dataset, Scores
from anoean_cli.training.request import TrainRequest
from anoean_cli.training.run import Watcher, train_model
from anoean_cli.wording import counted

NORMAL, ANOMALY = 1, -1
FEWEST_ROWS = 3


class AnoEAN(OutlierMixin, BaseEstimator):  # type: ignore[misc]
    """Encoding adversarial network for anomaly detection (Gherbi et al., ACML 2019).

    An encoder learns against a discriminator to map normal rows onto draws of N(0, I) and
    anomalies elsewhere; the score is the Mahalanobis distance from the normals, Eq. (3).

    Parameters
    ----------
    contamination : "auto" or float in (0, 0.5], default="auto"
        Share of anomalies in ``X``, which sets ``offset_`` to that quantile of its scores, as
        scikit-learn's detectors do. Rows that it has learnt from score lower than new ones of
        their kind, of which several times that share may be called anomalies: where new rows are
        to be judged, "auto", or `anoean calibrate --fpr` of the saved model, keeps a rate.
        "auto" sets it by normals that training did not see, to a false-positive rate of 1 %
        (or what their number allows), but so that at least the most anomalous row of ``X`` is
        an anomaly, as scikit-learn asks of an outlier detector.
    detector : str, default="anoean"
        Detector plugin.
    encoder : str or None, default=None
        Encoder plugin; None is "conv" for images and "mlp" for other rows.
    image_shape : tuple (channels, height, width) or None, default=None
        Take the rows of ``X`` as images of that shape, of bytes 0..255.
    preset : str, default="default"
        Preset of the detector, such as "paper".
    latent_dim : int or None, default=None
        Dimension of the decision space; None is 32, or the number of features that inputs have
        besides bins where that is smaller, but two at least.
    max_iter : int or None, default=None
        Epochs; None lets the detector choose.
    batch_size : int or None, default=None
        Rows of a batch; None lets the detector choose.
    learning_rate : float or None, default=None
        Learning rate; None lets the detector choose.
    covariance : {"empirical", "ledoit-wolf", "mcd", "spherical"} or None, default=None
        Estimator of the covariance of normal embeddings; None is what the detector finds fitting:
        "spherical" where experts move embeddings, as by default on tables, else "ledoit-wolf", and
        "empirical" for the paper's preset.
    parameters : dict or None, default=None
        Further plugin parameters by name, as ``anoean plugins`` shows them.
    n_jobs : int or None, default=None
        Threads of torch, -1 for all cores; None is one for tables, and for images
        ``OMP_NUM_THREADS`` or all cores.
    random_state : int, RandomState or None, default=None
        Everything random.

    Attributes
    ----------
    offset_ : float
        ``decision_function`` is ``score_samples`` minus this.
    model_ : anoean_cli.inference.model.Model
        The trained model; ``model_.save("anoean.h5")`` writes what ``anoean score`` reads, and
        ``model_.config["notes"]`` says what there is to know of its rows.
    n_iter_ : int
        Epochs that training took.
    n_features_in_ : int
        Features seen by ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where ``X`` has some.

    Examples
    --------
    >>> import numpy as np
    >>> from anoean_cli import AnoEAN
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(size=(500, 2)), rng.normal(6, 1, size=(50, 2))])
    >>> y = np.repeat([1, -1], [500, 50])
    >>> detector = AnoEAN(random_state=0).fit(X, y)
    >>> detector.predict([[0.0, 0.0], [6.0, 6.0]])
    array([ 1, -1])
    """

    def __init__(
        self,
        *,
        contamination: float | str = "auto",
        detector: str = "anoean",
        encoder: str | None = None,
        image_shape: tuple[int, int, int] | None = None,
        preset: str = "default",
        latent_dim: int | None = None,
        max_iter: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        covariance: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.contamination = contamination
        self.detector = detector
        self.encoder = encoder
        self.image_shape = image_shape
        self.preset = preset
        self.latent_dim = latent_dim
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.covariance = covariance
        self.parameters = parameters
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Learn from the rows of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            NaN is a missing value, but of images.
        y : array-like of shape (n_samples,), default=None
            1 for normal rows and -1 for known anomalies. Without it all rows are taken as
            normal, and artificial anomalies take the place of known ones. As scikit-learn's
            outlier detectors ignore ``y``, one with other values is ignored, with a warning.
            Normal rows that look like known anomalies are not learnt from, with a warning, unless
            ``parameters={"label_filter": 1}``; their positions are
            ``model_.split.get("doubtful")``.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            Too few rows, infinite values, missing ones of images, or parameters out of range.
        anoean_cli.errors.TrainingError
            Training collapsed or diverged.
        """
        rows = self._validated(X, ensure_min_samples=FEWEST_ROWS)
        share = _checked_contamination(self.contamination)
        labels = _labels(y, len(rows))
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        own: dict[str, Any] = {
            "epochs": self.max_iter,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
        }
        settings = {**own, **_checked_parameters(self.parameters, own)}
        request = TrainRequest(
            split=SplitRequest(normal=(str(NORMAL),)),
            detector=self.detector,
            encoder=self.encoder,
            preset=self.preset,
            settings={name: value for name, value in settings.items() if value is not None},
            latent_dim=self.latent_dim,
            covariance=self.covariance,
            seed=int(seed),
            threads=_threads(self.n_jobs),
        )
        self.model_: Model = train_model(self._dataset(rows, labels), request, Watcher())
        _warn_of_doubtful(self.model_)
        self.n_iter_ = max(1, self.model_.config["detector"]["metadata"]["epochs"])
        self.offset_ = self._offset(self._scores(rows), share)
        return self

    def fit_predict(self, X: ArrayLike, y: ArrayLike | None = None) -> NDArray[np.int64]:
        """Return ``fit(X, y).predict(X)``; unlike in its base class the known anomalies count.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,), default=None
            As `fit` takes it.

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        return self.fit(X, y).predict(X)

    def _offset(self, scores: Scores, share: float | None) -> float:
        if share is not None:
            return float(np.percentile(-scores, 100 * share))
        calibration = self.model_.calibration
        if not calibration.exact:  # few rows: it learned from all, and new ones score higher
            return -calibration.threshold
        return -min(calibration.threshold, float(np.nextafter(scores.max(), -np.inf)))

    def score_samples(self, X: ArrayLike) -> Scores:
        """Return minus the anomaly score of each row: the lower, the more anomalous.

        That is the Mahalanobis distance, but of detectors that give scores of their own.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        check_is_fitted(self)
        return -self._scores(self._validated(X, reset=False))

    def decision_function(self, X: ArrayLike) -> Scores:
        """Return ``score_samples`` minus ``offset_``: negative for anomalies.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """Return 1 for normal rows and -1 for anomalies.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        return np.where(self.decision_function(X) < 0, ANOMALY, NORMAL)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.image_shape is None
        return tags

    def _validated(self, X: ArrayLike, **how: Any) -> NDArray[Any]:
        how["ensure_all_finite"] = "allow-nan" if self.image_shape is None else True
        with np.errstate(over="ignore", invalid="ignore"):  # it sums, of the largest numbers too
            rows: NDArray[Any] = validate_data(self, X, dtype=[np.float64, np.float32], **how)
        return rows

    def _scores(self, rows: NDArray[Any]) -> Scores:
        return self.model_.score(self._examples(rows)).scores

    def _examples(self, rows: NDArray[Any]) -> Any:
        if self.image_shape is not None:
            return as_images(rows, self.image_shape)
        return array_table(rows.astype(np.float64, copy=False), self._names(rows.shape[1]))

    def _dataset(self, rows: NDArray[Any], labels: NDArray[np.str_]) -> Dataset:
        names = self._names(rows.shape[1])
        varying = np.fmin.reduce(rows) < np.fmax.reduce(rows)  # NaN is no value
        return Dataset(
            name="array",
            examples=self._examples(rows),
            labels=labels,
            provenance={"source": "array", "rows": len(rows)},
            columns=() if self.image_shape is not None else tuple(names),
            vouched=tuple(name for name, varies in zip(names, varying, strict=True) if varies),
        )

    def _names(self, width: int) -> list[str]:
        """Those of a data frame that ``fit`` got, so that the model knows its columns again."""
        names = [str(name) for name in getattr(self, "feature_names_in_", ())]
        if names and len(set(names)) == len(names):
            return names
        return [f"x{index}" for index in range(width)]


def _warn_of_doubtful(model: Model) -> None:
    """All else that training tells is in its notes: most of it follows from the rows given."""
    count = len(model.split.get("doubtful", ()))
    if count:
        warnings.warn(
            f"{counted(count, 'row')} labelled normal that look like known anomalies were left "
            "out, model_.split['doubtful']; if their labels are right, rows like these will be "
            "false alarms, unless none is left out: parameters={'label_filter': 1}",
            stacklevel=3,
        )


def _checked_contamination(contamination: Any) -> float | None:
    if isinstance(contamination, str) and contamination == "auto":
        return None
    is_number = isinstance(contamination, int | float | np.number)
    if not is_number or not 0 < contamination <= 0.5:
        raise DataError(f"contamination is {contamination!r}; 'auto' or a share in (0, 0.5]")
    return float(contamination)


def _checked_parameters(parameters: Any, own: Mapping[str, Any]) -> Mapping[str, Any]:
    """Those given as a mapping, none of which is given by an argument of its own as well."""
    if parameters is not None and not isinstance(parameters, Mapping):
        raise UsageError(f"parameters is {parameters!r}; a mapping from names to values is needed")
    for name in parameters or {}:
        plain = str(name).removeprefix("detector.")
        if own.get(plain) is not None:
            argument = "max_iter" if plain == "epochs" else plain
            raise UsageError(f"{argument} and {name} among parameters say the same: give one")
    return parameters or {}


def _threads(n_jobs: Any) -> int | None:
    """How many threads ``n_jobs`` means; -1 is all cores, as everywhere in scikit-learn."""
    if n_jobs is None:
        return None
    if not isinstance(n_jobs, int | np.integer) or n_jobs == 0:
        raise UsageError(f"n_jobs is {n_jobs!r}; a whole number but 0 is needed")
    return int(effective_n_jobs(n_jobs))


def _labels(y: ArrayLike | None, n: int) -> NDArray[np.str_]:
    """(n,) "1" for normals and "-1" for anomalies."""
    if y is None:
        return np.full(n, str(NORMAL))
    values = column_or_1d(y)
    if len(values) != n:
        raise DataError(f"X has {counted(n, 'row')} and y {len(values)}")
    found = set(values.tolist())
    if not (
        all(isinstance(value, Real | np.bool_) for value in found)
        or all(isinstance(value, str) for value in found)
    ):
        some = ", ".join(sorted({type(value).__name__ for value in found}))
        raise DataError(
            f"y holds values of the types {some}; known anomalies are -1 and normal rows 1"
        )
    if not found <= {NORMAL, ANOMALY}:
        some = ", ".join(map(str, sorted(found, key=str)[:5]))
        warnings.warn(
            f"y is ignored: its values are {some}; known anomalies are -1 and normal rows 1",
            UserWarning,
            stacklevel=3,
        )
        return np.full(n, str(NORMAL))
    if found == {ANOMALY}:
        raise DataError("y has no normal rows (1) to learn from")
    return np.where(values == NORMAL, str(NORMAL), str(ANOMALY))
