"""From a dataset to a model: split, preprocess, fit, calibrate.

`train_model` is what the command line, the estimator and the benchmarks all call.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from anoean_cli import registry
from anoean_cli.data.preprocessing import TablePreprocessor
from anoean_cli.data.splits import draw
from anoean_cli.errors import PluginError, UsageError, blaming
from anoean_cli.inference.model import Model
from anoean_cli.interfaces import Dataset, DetectorPlugin, Encoder, Fitted, Monitor, State
from anoean_cli.storage.checkpoint import Checkpoint
from anoean_cli.training.calibrated import calibrated_model
from anoean_cli.training.columns import told_of_columns, told_of_order
from anoean_cli.training.config import config_of, differing
from anoean_cli.training.contract import blaming_for_graph, checked
from anoean_cli.training.preparation import (
    Prepared,
    learns_from,
    prepared_rows,
    take,
    uses_selection,
)
from anoean_cli.training.request import (
    TrainRequest,
    encoder_for,
    encoder_of,
    parameters_of,
    threads_of,
)

SECONDS_BETWEEN_CHECKPOINTS = 5.0
_LOCK = threading.RLock()  # a detector may train others


@dataclass
class Watcher:
    """Who watches a training run, and may stop it.

    Attributes:
        show: called with an epoch's figures and the number of epochs.
        warn: called with one line for the user.
        begin: called with the configuration before anything is learnt; what it raises ends the run.
        stopping: whether to finish after this epoch.
        checkpoint: where to keep the state of an unfinished run, or None.
        resume: whether to go on from it.
    """

    show: Callable[[Mapping[str, float], int], None] = lambda record, epochs: None
    warn: Callable[[str], None] = lambda message: None
    begin: Callable[[Mapping[str, Any]], None] = lambda config: None
    stopping: Callable[[], bool] = lambda: False
    checkpoint: Checkpoint | None = None
    resume: bool = False


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Let a thread wait for one that trains already.

    Torch's generator and number of threads, the exporter's logging and Python's warnings belong
    to the process: two trainings at once would take them for their own.
    """
    with _LOCK:
        yield


@_one_at_a_time()
def train_model(dataset: Dataset, request: TrainRequest, watcher: Watcher | None = None) -> Model:
    """Train one model.

    Raises:
        DataError, UsageError, PluginError: what was asked for does not fit the data.
        TrainingError: training collapsed or diverged.
    """
    watcher = watcher or Watcher()
    began = time.perf_counter()
    with _at_most(threads_of(request, dataset.kind)):
        model = _trained(dataset, request, watcher)
    return replace(model, timing={"fit_seconds": time.perf_counter() - began})


def _trained(dataset: Dataset, request: TrainRequest, watcher: Watcher) -> Model:
    split_rng, fit_rng, filter_rng = (
        np.random.default_rng(seed) for seed in np.random.SeedSequence(request.seed).spawn(3)
    )
    detector: DetectorPlugin = registry.get("detectors", request.detector)
    encoder_name = encoder_for(detector, request.encoder, dataset.kind)
    split = draw(dataset, request.split, split_rng)
    _tell(watcher, split.notes)
    parameters, encoder_parameters = parameters_of(request, detector, encoder_name)
    prepared = prepared_rows(dataset, split, detector, parameters, filter_rng)
    _tell(watcher, prepared.split.notes[len(split.notes) :])
    if prepared.schema is not None and isinstance(prepared.preprocessor, TablePreprocessor):
        _tell(watcher, told_of_columns(prepared.schema, prepared.preprocessor))
        # In no variable, which would keep the rows while the detector learns.
        _tell(
            watcher,
            told_of_order(
                take(dataset, prepared.schema, prepared.split.training),
                prepared.schema,
                dataset.vouched,
            ),
        )
    encoder = encoder_of(encoder_name, encoder_parameters, prepared.preprocessor, request)
    config = config_of(dataset, request, prepared.split, detector, parameters, encoder)
    watcher.begin(config)

    line = _Line(watcher, config)
    fitted = _fitted(detector, prepared, encoder, parameters, fit_rng, line)
    metadata = {
        **fitted.metadata,
        "rows": len(learns_from(prepared.split, detector)),
        "interrupted": line.stopped,
        "epochs": len(fitted.history),
    }
    with blaming_for_graph(_culprit(detector)):
        model = calibrated_model(fitted, prepared, request, watcher.warn)
    return replace(
        model, config={**config, "detector": {**config["detector"], "metadata": metadata}}
    )


def _tell(watcher: Watcher, notes: Iterable[str]) -> None:
    for note in notes:
        watcher.warn(note)


def _culprit(detector: DetectorPlugin) -> str:
    return f"detector plugin {detector.name!r}"


def _fitted(
    detector: DetectorPlugin,
    prepared: Prepared,
    encoder: Encoder | None,
    parameters: Any,
    rng: np.random.Generator,
    line: Monitor,
) -> Fitted:
    """What the detector's ``fit`` gives, once it is what a detector may give.

    Raises:
        PluginError: it is not.
    """
    culprit = _culprit(detector)
    with blaming(culprit):
        given = detector.fit(
            prepared.rows(learns_from(prepared.split, detector)),
            prepared.rows(prepared.split.selection),
            encoder,
            parameters,
            rng,
            line,
        )
        fitted = _steady(checked(given, culprit))
    if not uses_selection(detector) and fitted.output == "embedding":
        raise PluginError(
            f"{culprit} gives embeddings, whose Gaussian comes from the selection rows: "
            "its uses_selection cannot be False"
        )
    return fitted


def _steady(fitted: Fitted) -> Fitted:
    """With a graph whose sums do not depend on where in a block a row stands."""
    from anoean_cli.training.sums import steady  # only here: it imports onnx

    return fitted if fitted.graph is None else replace(fitted, graph=steady(fitted.graph))


@contextmanager
def _at_most(threads: int) -> Iterator[None]:
    """No library works with more threads than that; what they worked with before is put back.

    A model would else depend on the number of cores: torch, BLAS and scikit-learn's OpenMP add up
    in another order with each number of threads, and some in another order each time.
    """
    import sklearn.cluster  # noqa: F401  (a pool can be limited only once it is loaded)
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    with threadpool_limits(threads):
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


class _Line(Monitor):
    """A detector's line to the watcher, with checkpoints under this run's configuration."""

    def __init__(self, watcher: Watcher, config: Mapping[str, Any]) -> None:
        self._watcher = watcher
        self._config = config
        self._saved = time.monotonic()
        self.stopped = False

    def report(self, record: Mapping[str, float], epochs: int) -> None:
        self._watcher.show(record, epochs)

    def warn(self, message: str) -> None:
        self._watcher.warn(message)

    def stopping(self) -> bool:
        self.stopped = self.stopped or self._watcher.stopping()
        return self.stopped

    def restore(self) -> State | None:
        if self._watcher.checkpoint is None or not self._watcher.resume:
            return None
        found = self._watcher.checkpoint.load()
        if found is None:
            return None
        config, state = found
        different = differing(self._config, config)
        if different:
            raise UsageError(
                f"{self._watcher.checkpoint.path} is of a run with another "
                f"{', '.join(different)}: give the same options, or leave --resume out"
            )
        return state

    def save(self, state: Callable[[], State]) -> None:
        if self._watcher.checkpoint is None:
            return
        due = time.monotonic() - self._saved >= SECONDS_BETWEEN_CHECKPOINTS
        if due or self.stopped:
            self._watcher.checkpoint.save(self._config, state())
            self._saved = time.monotonic()
