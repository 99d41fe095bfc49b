"""A model's Gaussian, reference scores and threshold, made anew. No torch, no retraining."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anoean_cli.calibration.conformal import (
    Calibration,
    default_rate,
    finest_rate,
    threshold_for_contamination,
    threshold_for_f1,
    threshold_for_rate,
)
from anoean_cli.calibration.gaussian import (
    DEFAULT_COVARIANCE,
    Gaussian,
    fitting_estimator,
    leave_one_out,
)
from anoean_cli.data.content import MANY_COPIES
from anoean_cli.data.preprocessing import Census
from anoean_cli.errors import DataError, TrainingError, UsageError
from anoean_cli.examples import Json, Scores, differ
from anoean_cli.inference.model import KeptRows, Model, raw_scores
from anoean_cli.wording import counted

FEWEST_NORMALS = 6


@dataclass(frozen=True)
class Rule:
    """How to choose the threshold: by at most one of these; see `recalibrated` for none.

    Attributes:
        fpr: the rate of false positives among normals.
        confidence: the probability with which the rate of this one calibration is to stay within
            ``fpr`` (by default the default rate); without it, rates do on average.
        contamination: the share of anomalies in an unlabelled mixture.
        maximize_f1: the best F1 on labelled rows.
        threshold: the threshold itself.
    """

    fpr: float | None = None
    contamination: float | None = None
    maximize_f1: bool = False
    threshold: float | None = None
    confidence: float | None = None

    def __post_init__(self) -> None:
        given = [self.fpr, self.contamination, self.maximize_f1 or None, self.threshold]
        if sum(value is not None for value in given) > 1:
            raise UsageError(
                "give one of --fpr, --contamination, --maximize-f1 and --threshold, not several"
            )
        if self.confidence is not None and self.fpr is None and any(v is not None for v in given):
            raise UsageError("--confidence is that of a rate: give it with --fpr")
        shares = {
            "--fpr": self.fpr,
            "--contamination": self.contamination,
            "--confidence": self.confidence,
        }
        for name, share in shares.items():
            if share is not None and not 0 < share < 1:
                raise UsageError(f"{name} {share:g} is not between 0 and 1")
        if self.threshold is not None and not np.isfinite(self.threshold):
            raise UsageError(f"--threshold {self.threshold} is not a finite number")


@dataclass(frozen=True)
class Observed:
    """New rows as the model's graph gives them.

    Attributes:
        output: (n, d) embeddings or (n, 1) raw scores.
        is_anomaly: (n,) bool, or None where nothing is known of the rows.
        source: where the rows come from.
        are_new: whether the model did not learn from them.
        census: what the columns of normals lacked and had anew, which is no surprise from then on.
    """

    output: NDArray[np.float32]
    is_anomaly: NDArray[np.bool_] | None
    source: str = "the data"
    are_new: bool = True
    census: Census | None = None


def by_rate(
    reference: Scores,
    exact: bool,
    rate: float | None = None,
    confidence: float | None = None,
    **about: Json,
) -> Calibration:
    """Calibrate to a false-positive rate; by default the finest of at least one percent.

    Args:
        reference: (n,) sorted.
        confidence: see `Rule`.
        about: what else to note down of how the threshold came to be.

    Raises:
        UsageError: as `threshold_for_rate`; a confidence from rows that were learned from.
    """
    chosen = default_rate(len(reference), confidence) if rate is None else rate
    threshold = threshold_for_rate(reference, chosen, confidence)
    if confidence is not None:
        if not exact:
            raise UsageError(
                "--confidence needs calibration rows that nothing has learned from, and the "
                "reference scores are approximate: give new normal rows with --data"
            )
        about = {"confidence": confidence, **about}
    return Calibration(reference, threshold, {"rule": "fpr", "fpr": chosen, **about}, exact)


def recalibrated(
    model: Model,
    observed: Observed | None,
    rule: Rule,
    covariance: str | None = None,
    warn: Callable[[str], None] = lambda message: None,
) -> Model:
    """Return the model with a new threshold, and where rows or an estimator ask for it a new
    Gaussian and new reference scores.

    The normals among the rows are split in halves at random (seed 0): one gives μ and Σ, the
    other the references, so that p-values are exactly valid for rows like them, if these are new
    to the model. Of a detector that gives scores, which needs no μ and Σ, all are references. A
    contamination is read off the rows as they are; the references then stay.

    Without a rule, new references get the threshold by the rule that the model had, as far as it
    can do without the rows that it came from; else by the default rate.

    Args:
        warn: told what comes of a rule that the model had and that cannot simply be applied anew.

    Raises:
        UsageError: the rule needs rows that are not there.
        DataError: too few normals.
    """
    if rule.contamination is not None:
        return _by_contamination(model, observed, rule.contamination, covariance)
    if rule.maximize_f1 and (observed is None or observed.is_anomaly is None):
        raise UsageError("--maximize-f1 needs labelled rows: give --data FILE with its --label")
    if covariance is not None and model.gaussian is None:
        raise UsageError("--covariance: this detector gives scores, not embeddings")
    if observed is not None:
        return _from_rows(model, observed, rule, covariance, warn)
    if covariance is not None:
        before, model = model.calibration, _from_kept(model, covariance)
        calibration = model.calibration
        rule = _or_before(rule, before, len(calibration.reference), calibration.exact, warn)
    return _with_threshold(model, rule, _estimator(model, covariance))


def _or_before(
    rule: Rule, before: Calibration, n: int, exact: bool, warn: Callable[[str], None]
) -> Rule:
    """The rule, or if it is none the one of before, to be applied to n new references."""
    if rule != Rule():
        return rule
    kind, rate = before.rule.get("rule"), before.rule.get("fpr")
    confidence = before.rule.get("confidence")
    if kind == "given":
        warn(
            f"the threshold {before.threshold:g} that was given before is kept, though scores are "
            "measured anew; --fpr or --threshold chooses another"
        )
        return Rule(threshold=before.threshold)
    if kind != "fpr":
        warn(
            f"the threshold was chosen by a rule that needs its rows anew ({kind}): "
            "now it is by the default rate"
        )
        return Rule()
    # What is the default depends on how many references there are.
    usual = default_rate(len(before.reference), confidence)
    if confidence is not None and not exact:
        warn(
            f"the confidence of before, {confidence:g}, cannot be had of rows that the model "
            "learned from: the rate holds on average at best"
        )
        confidence = None
    if rate is None or rate == usual:
        return Rule(confidence=confidence)
    if rate < finest_rate(n, confidence):
        warn(
            f"the rate that was chosen before, {rate:g}, is finer than "
            f"{counted(n, 'calibration row')} can give: "
            f"{default_rate(n, confidence):.2%} is taken"
        )
        return Rule(confidence=confidence)
    return Rule(fpr=rate, confidence=confidence)


def _by_contamination(
    model: Model, observed: Observed | None, share: float, covariance: str | None
) -> Model:
    if observed is None or observed.is_anomaly is not None:
        raise UsageError(
            "--contamination is the share of anomalies in an unlabelled mixture: "
            "give --data FILE, without --label"
        )
    if covariance is not None:
        raise UsageError("--covariance needs normals, --contamination a mixture: give one of them")
    scores = raw_scores(observed.output, model.gaussian)
    threshold = threshold_for_contamination(scores, share)
    note = {"rule": "contamination", "contamination": share, "rows": len(scores)}
    note |= _estimator(model, None)
    return _replaced(model, replace(model.calibration, threshold=threshold, rule=note))


def _from_rows(
    model: Model,
    observed: Observed,
    rule: Rule,
    covariance: str | None,
    warn: Callable[[str], None],
) -> Model:
    flags = observed.is_anomaly
    normals = observed.output if flags is None else observed.output[~flags]
    if len(normals) < FEWEST_NORMALS:
        enough = 99 if model.gaussian is None else 198
        raise DataError(
            f"{counted(len(normals), 'normal row')}: too few to calibrate with; "
            f"at least {FEWEST_NORMALS} are needed, and {enough} for a rate of 1 %"
        )
    parts = _parted(len(normals), in_halves=model.gaussian is not None)
    gaussian, about = None, {}
    if model.gaussian is not None:
        chosen = normals[parts["selection"]]
        wanted = model.calibration.rule.get("covariance", DEFAULT_COVARIANCE)
        about = {"covariance": covariance or fitting_estimator(chosen, wanted)}
        try:
            gaussian = Gaussian.from_embeddings(chosen, about["covariance"])
        except TrainingError as error:  # the encoder is what it was: the rows are to blame
            raise _too_alike(normals, observed.source) from error
    reference = np.sort(raw_scores(normals[parts["calibration"]], gaussian))
    if gaussian is not None:
        _tell_of_copies(reference, raw_scores(normals[parts["selection"]], gaussian), warn)
    rule = _or_before(rule, model.calibration, len(reference), observed.are_new, warn)
    calibration = replace(model.calibration, reference=reference, exact=observed.are_new)
    model = _replaced(model, calibration, gaussian)
    if observed.census is not None:
        model = replace(model, preprocessor=model.preprocessor.expecting(observed.census))
    sizes = {role: len(rows) for role, rows in parts.items()}
    model = replace(
        model,
        kept={role: _kept(normals, rows) for role, rows in parts.items()},
        config={**model.config, "recalibration": {"data": Path(observed.source).name, **sizes}},
    )
    if not rule.maximize_f1:
        return _with_threshold(model, rule, about)
    assert flags is not None
    # Of all rows: with half of the normals anomalies would look twice as frequent as they are.
    threshold = threshold_for_f1(raw_scores(observed.output, gaussian), flags)
    note = {"rule": "f1", "rows": len(flags), **about}
    return _replaced(model, replace(model.calibration, threshold=threshold, rule=note), gaussian)


def _parted(count: int, in_halves: bool) -> dict[str, NDArray[np.int64]]:
    """The rows of each role, drawn at random; all calibrate where none has to be selected by."""
    order = np.random.default_rng(0).permutation(count)
    half = count // 2 if in_halves else 0
    return {"selection": order[:half], "calibration": order[half:]}


def _tell_of_copies(reference: Scores, selected: Scores, warn: Callable[[str], None]) -> None:
    """Rows that equal one of the other half, by which they are measured: equal rows score alike,
    but for what the place in a block does to the last digits."""
    copies = int(np.isin(reference.astype(np.float32), selected.astype(np.float32)).sum())
    if copies >= MANY_COPIES * len(reference):
        warn(
            f"{copies:,} of {counted(len(reference), 'row')} that p-values go by equal one of "
            "those that the Gaussian is fitted to: p-values hold for new rows of which as many are "
            "such copies; if rows came twice by mistake, give each once"
        )


def _too_alike(normals: NDArray[np.float32], source: str) -> DataError:
    distinct = len(np.unique(normals, axis=0))
    few = f"only {distinct:,} of {len(normals):,} rows differ"
    what = f"all {len(normals):,} rows are the same" if distinct == 1 else few
    return DataError(
        f"{source}: {what} to the model: give normal rows that vary in the columns it knows"
    )


def _kept(normals: NDArray[np.float32], rows: NDArray[np.int64]) -> KeptRows:
    labels = ["normal"] * len(rows)
    return KeptRows(normals[rows], labels, np.zeros(len(rows), np.bool_), rows)


def gaussian_and_references(
    normals: NDArray[np.float32],
    calibration: KeptRows | None,
    covariance: str,
    *,
    may_coincide: bool,
) -> tuple[Gaussian, Scores]:
    """Fit a Gaussian to (n, d) embeddings of normals, and score the calibration rows by it; each of
    the normals by the others where there is no calibration base.

    Raises:
        DataError, TrainingError: as :meth:`Gaussian.from_embeddings`.
    """
    gaussian = Gaussian.from_embeddings(normals, covariance, may_coincide=may_coincide)
    if calibration is not None:
        return gaussian, raw_scores(calibration.output, gaussian)
    return gaussian, leave_one_out(normals, covariance, may_coincide=may_coincide)


def _from_kept(model: Model, covariance: str) -> Model:
    """Another estimator of Σ on the rows that the model file keeps."""
    selection = model.kept["selection"]
    normals = selection.output[~selection.is_anomaly]
    equal = covariance == "spherical" and not differ(normals)  # as training takes equal rows
    try:
        gaussian, reference = gaussian_and_references(
            normals, model.kept.get("calibration"), covariance, may_coincide=equal
        )
    except TrainingError as error:  # no encoder is trained here: the rows are to blame
        raise _too_alike(normals, "the rows that the model keeps") from error
    return _replaced(model, replace(model.calibration, reference=np.sort(reference)), gaussian)


def _estimator(model: Model, covariance: str | None) -> dict[str, Json]:
    """The estimator of Σ to note down: a new one, or the one that was noted before."""
    name = covariance or model.calibration.rule.get("covariance")
    return {} if name is None else {"covariance": name}


def _with_threshold(model: Model, rule: Rule, about: Mapping[str, Json]) -> Model:
    old = model.calibration
    if rule.threshold is not None:
        note = {"rule": "given", **about}
        return _replaced(model, replace(old, threshold=float(rule.threshold), rule=note))
    return _replaced(model, by_rate(old.reference, old.exact, rule.fpr, rule.confidence, **about))


def _replaced(model: Model, calibration: Calibration, gaussian: Gaussian | None = None) -> Model:
    return replace(model, calibration=calibration, gaussian=gaussian or model.gaussian, digest="")
