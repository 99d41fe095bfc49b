"""From a dataset to a model: split, preprocess, fit, calibrate.

`train_model` is what the command line, the estimator and the benchmarks all call.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anoean_cli import environment, parameters, registry
from anoean_cli.calibration.gaussian import (
    Gaussian,
    fitting_estimator,
    leave_one_out,
)
from anoean_cli.choices import COVARIANCES
from anoean_cli.data.content import digest_of_rows
from anoean_cli.data.fitting import fit_table
from anoean_cli.data.preprocessing import ImagePreprocessor, Preprocessor, TablePreprocessor
from anoean_cli.data.schema import TableSchema, infer_schema
from anoean_cli.data.splits import Split, SplitRequest, draw
from anoean_cli.errors import PluginError, SettingError, TrainingError, UsageError, blaming
from anoean_cli.examples import differ
from anoean_cli.inference.contents import ROLES
from anoean_cli.inference.model import KeptRows, Model, as_columns, raw_scores
from anoean_cli.inference.recalibration import by_rate
from anoean_cli.inference.runner import GraphRunner, PluginRunner, Runner
from anoean_cli.interfaces import (
    Dataset,
    DetectorPlugin,
    Encoder,
    ExampleSpec,
    Fitted,
    FloatRows,
    Kind,
    Monitor,
    Rows,
    State,
)
from anoean_cli.storage.checkpoint import Checkpoint
from anoean_cli.training.columns import told_of_columns
from anoean_cli.training.contract import blaming_for_graph, check_held_out, checked, try_graph
from anoean_cli.training.mislabelled import is_asked_for, without_doubtful
from anoean_cli.training.settings import AUTO_INPUTS

DEFAULT_ENCODERS: dict[Kind, str] = {"image": "conv", "table": "mlp"}
LARGEST_LATENT_DIM = 32  # unless a wider one is asked for
WIDEST_LATENT_DIM = 4096
SECONDS_BETWEEN_CHECKPOINTS = 5.0
LIBRARIES = ("torch", "numpy", "scikit-learn", "onnxruntime")
_LOCK = threading.RLock()  # a detector may train others


@dataclass(frozen=True)
class TrainRequest:
    """What to train, besides the data.

    Attributes:
        split: which rows play which role.
        detector, encoder: plugin names; None: conv for images, mlp for tables.
        preset: of the detector.
        settings: parameters by name, ``detector.`` or ``encoder.`` before them where both have
            one of that name.
        latent_dim: of the decision space, or of the detector's own latent space where it takes
            no encoder; None: 32, or the number of features besides bins where smaller.
        covariance: estimator of Σ; None: what the detector finds fitting.
        seed: of everything random.
        threads: of each library; None: for images all cores that are this process's, one for
            tables, whose networks are too small to share.
    """

    split: SplitRequest
    detector: str = "anoean"
    encoder: str | None = None
    preset: str = "default"
    settings: Mapping[str, Any] = field(default_factory=dict)
    latent_dim: int | None = None
    covariance: str | None = None
    seed: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        """Raises UsageError for what no data would make right."""
        if self.covariance not in (None, *COVARIANCES):
            raise UsageError(
                f"no covariance {self.covariance!r}: choose from {', '.join(COVARIANCES)}"
            )
        latent_dim: Any = self.latent_dim
        if latent_dim is not None and not (
            isinstance(latent_dim, int | np.integer) and 1 <= latent_dim <= WIDEST_LATENT_DIM
        ):
            raise UsageError(
                f"latent_dim is {latent_dim!r}; a whole number from 1 to {WIDEST_LATENT_DIM} "
                "is needed"
            )


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
    with _at_most(_threads(request, dataset.kind)):
        model = _trained(dataset, request, watcher)
    return replace(model, timing={"fit_seconds": time.perf_counter() - began})


@dataclass(frozen=True)
class _Prepared:
    """A data set's rows as a detector gets them: parted, and preprocessed by the training rows.

    Attributes:
        schema: None for images.
    """

    dataset: Dataset
    split: Split
    schema: TableSchema | None
    preprocessor: Preprocessor

    def rows(self, positions: NDArray[np.int64]) -> Rows:
        examples = self.preprocessor.transform(take(self.dataset, self.schema, positions))
        return Rows(examples, self.split.is_anomaly[positions])


def _trained(dataset: Dataset, request: TrainRequest, watcher: Watcher) -> Model:
    split_rng, fit_rng, filter_rng = (
        np.random.default_rng(seed) for seed in np.random.SeedSequence(request.seed).spawn(3)
    )
    detector: DetectorPlugin = registry.get("detectors", request.detector)
    encoder_name = encoder_for(detector, request.encoder, dataset.kind)
    split = draw(dataset, request.split, split_rng)
    for note in split.notes:
        watcher.warn(note)
    detector_parameters, encoder_parameters = _built(request, detector, encoder_name)
    prepared = _prepared(dataset, split, detector, detector_parameters, filter_rng)
    for note in prepared.split.notes[len(split.notes) :]:
        watcher.warn(note)
    if prepared.schema is not None and isinstance(prepared.preprocessor, TablePreprocessor):
        for told in told_of_columns(prepared.schema, prepared.preprocessor):
            watcher.warn(told)
    encoder = _encoder(encoder_name, encoder_parameters, prepared.preprocessor, request)
    config = _config(dataset, request, prepared.split, detector, detector_parameters, encoder)
    watcher.begin(config)

    culprit = f"detector plugin {detector.name!r}"
    line = _Line(watcher, config)
    rows_to_learn = learns_from(prepared.split, detector)
    with blaming(culprit):
        given = detector.fit(
            prepared.rows(rows_to_learn),
            prepared.rows(prepared.split.selection),
            encoder,
            detector_parameters,
            fit_rng,
            line,
        )
        fitted = _steady(checked(given, culprit))
    if not _uses_selection(detector) and fitted.output == "embedding":
        raise PluginError(
            f"{culprit} gives embeddings, whose Gaussian comes from the selection rows: "
            "its uses_selection cannot be False"
        )
    metadata = {
        **fitted.metadata,
        "rows": len(rows_to_learn),
        "interrupted": line.stopped,
        "epochs": len(fitted.history),
    }
    with blaming_for_graph(culprit):
        model = _calibrated_model(fitted, prepared, request, watcher)
    return replace(
        model, config={**config, "detector": {**config["detector"], "metadata": metadata}}
    )


def _prepared(
    dataset: Dataset,
    split: Split,
    detector: DetectorPlugin,
    detector_parameters: Any,
    rng: np.random.Generator,
) -> _Prepared:
    """Preprocessing of the training rows, without those whose labels look wrong if the detector
    leaves such out."""
    inputs = _inputs(detector_parameters, split)
    prepared = _Prepared(dataset, split, *_fit_preprocessing(dataset, split, inputs))
    # Without a calibration base the selection normals give the references, and those that a forest
    # likes would keep no rate.
    if not is_asked_for(detector, detector_parameters, dataset.kind) or not len(split.calibration):
        return prepared
    least_vote, plain = detector_parameters.label_filter, prepared.preprocessor.spec.plain
    split = without_doubtful(split, prepared.rows, plain, least_vote, rng, detector.name)
    if len(split.doubtful) == 0:
        return prepared
    return _Prepared(dataset, split, *_fit_preprocessing(dataset, split, inputs))


def learns_from(split: Split, detector: DetectorPlugin) -> NDArray[np.int64]:
    """The training rows, and the selection rows where nobody else needs them.

    Without a calibration base the selection normals give the reference scores, which must come
    from rows that training has not seen.
    """
    if _uses_selection(detector) or len(split.calibration) == 0:
        return split.training
    return np.sort(np.concatenate([split.training, split.selection]))


def _uses_selection(detector: DetectorPlugin) -> bool:
    return bool(getattr(detector, "uses_selection", True))


def take(dataset: Dataset, schema: TableSchema | None, rows: NDArray[np.int64]) -> Any:
    """The examples at those positions, of the schema's columns."""
    if schema is None:
        return dataset.examples[rows]
    return dataset.examples.select(list(schema.columns)).take(rows)


# --------------------------------------------------------------------------- what is asked for


def encoder_for(detector: DetectorPlugin, asked: str | None, kind: Kind) -> str | None:
    """The name of the encoder that a detector gets for rows of that kind, if it takes one."""
    if not detector.uses_encoder:
        if asked is not None:
            raise SettingError(
                f"the detector {detector.name} takes no --encoder: "
                "leave it out, or take a detector that does, such as anoean",
                "encoder",
            )
        return None
    return asked or DEFAULT_ENCODERS[kind]


def parameter_names(detector: DetectorPlugin, encoder: str | None) -> tuple[set[str], set[str]]:
    """The names of the parameters of a detector and of its encoder."""
    of_encoder: set[str] = set()
    if encoder is not None:
        plugin = registry.get("encoders", encoder)
        of_encoder = {entry["name"] for entry in parameters.describe(plugin.Parameters)}
    return {entry["name"] for entry in parameters.describe(detector.Parameters)}, of_encoder


def resolved(request: TrainRequest, kind: Kind) -> dict[str, dict[str, Any] | None]:
    """Every parameter of the detector and of its encoder (None where it takes none), by owner.

    Raises:
        UsageError: settings that they do not take, whatever the rows.
    """
    detector: DetectorPlugin = registry.get("detectors", request.detector)
    encoder = encoder_for(detector, request.encoder, kind)
    of_detector, of_encoder = _built(request, detector, encoder)
    return {
        "detector": vars(of_detector),
        "encoder": None if encoder is None else {"name": encoder, **vars(of_encoder)},
    }


def filters_labels(request: TrainRequest, kind: Kind) -> bool:
    """Whether normals that look like known anomalies would be left out, where rows are enough.

    Raises:
        UsageError: settings that the detector and its encoder do not take.
    """
    detector: DetectorPlugin = registry.get("detectors", request.detector)
    of_detector, _ = _built(request, detector, encoder_for(detector, request.encoder, kind))
    knows_anomalies = request.split.apportionment.anomaly_fraction != 0
    return knows_anomalies and is_asked_for(detector, of_detector, kind)


def _built(request: TrainRequest, detector: DetectorPlugin, encoder: str | None) -> tuple[Any, Any]:
    """The parameters of both, as what their plugins declare; None for no encoder."""
    of_detector, of_encoder = _sort_settings(request, detector, encoder)
    own = parameters.build(f"detector {detector.name}", detector.Parameters, of_detector)
    if encoder is None:
        return own, None
    plugin = registry.get("encoders", encoder)
    return own, parameters.build(f"encoder {encoder}", plugin.Parameters, of_encoder)


def _encoder_preset(name: str | None, preset: str) -> dict[str, Any]:
    """What an encoder has set for a preset; encoders need not have any."""
    if name is None:
        return {}
    return dict(getattr(registry.get("encoders", name), "presets", {}).get(preset, {}))


def _sort_settings(
    request: TrainRequest, detector: DetectorPlugin, encoder_name: str | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters of the detector and of the encoder, the preset's before the user's."""
    if request.preset not in detector.presets:
        raise UsageError(
            f"the detector {detector.name} has no preset {request.preset!r}; "
            f"it has: {', '.join(detector.presets)}"
        )
    of_detector, of_encoder = parameter_names(detector, encoder_name)
    sorted_settings: dict[str, dict[str, Any]] = {
        "detector": dict(detector.presets[request.preset]),
        "encoder": _encoder_preset(encoder_name, request.preset),
    }
    if request.covariance is not None and "covariance" in of_detector:
        sorted_settings["detector"]["covariance"] = request.covariance
    if request.latent_dim is not None and encoder_name is None:
        if "latent_dim" not in of_detector:
            raise SettingError(
                f"the detector {detector.name} takes no latent_dim (--latent-dim): "
                "leave it out, or take a detector that does, such as anoean",
                "latent_dim",
            )
        sorted_settings["detector"]["latent_dim"] = request.latent_dim
    for key, value in request.settings.items():
        owner, dot, name = key.partition(".")
        if dot and owner in sorted_settings:
            sorted_settings[owner][name] = value
        elif key in of_detector and key in of_encoder:
            raise SettingError(
                f"{key} is a parameter of both: write detector.{key} or encoder.{key}", key
            )
        elif key in of_detector or key in of_encoder:
            sorted_settings["detector" if key in of_detector else "encoder"][key] = value
        else:
            known = ", ".join(sorted(of_detector | of_encoder)) or "none"
            raise SettingError(
                f"{request.detector} and its encoder have no parameter {key!r}; they have: {known}",
                key,
            )
    return sorted_settings["detector"], sorted_settings["encoder"]


def _encoder(
    name: str | None, built: Any, preprocessor: Preprocessor, request: TrainRequest
) -> Encoder | None:
    if name is None:
        return None
    spec = preprocessor.spec
    plugin = registry.get("encoders", name)
    with blaming(f"encoder plugin {name!r}"):
        is_supported = plugin.supports(spec)
    if not is_supported:
        raise UsageError(
            f"the encoder {name} does not take {spec.kind} rows of shape {spec.shape}; "
            "anoean plugins shows the encoders"
        )
    narrow = min(LARGEST_LATENT_DIM, max(2, len(preprocessor.spec.plain)))
    latent_dim = int(request.latent_dim or narrow)
    return Encoder(plugin, spec, latent_dim, built)


def _inputs(parameters: Any, split: Split) -> str:
    """What numeric columns become: bins pay where no forest, which needs anomalies, helps E."""
    asked: str = getattr(parameters, "inputs", "quantile")
    if asked != AUTO_INPUTS:
        return asked
    return "quantile" if split.is_anomaly[split.training].any() else "bins"


def _fit_preprocessing(
    dataset: Dataset, split: Split, inputs: str
) -> tuple[TableSchema | None, Preprocessor]:
    if dataset.kind == "image":
        channels, height, width = dataset.examples.shape[1:]
        return None, ImagePreprocessor((channels, height, width))
    training = dataset.examples.take(split.training)
    places = dataset.places()[split.training]
    schema = infer_schema(training, dataset.columns, dataset.label_column, dataset.vouched, places)
    used = training.select(list(schema.columns))
    return schema, fit_table(used, split.is_anomaly[split.training], schema, inputs)


def _config(
    dataset: Dataset,
    request: TrainRequest,
    split: Split,
    detector: DetectorPlugin,
    detector_parameters: Any,
    encoder: Encoder | None,
) -> dict[str, Any]:
    """All that determines the model, as JSON; a run may be resumed under the same one only."""
    sizes = {
        role: {
            "normals": int((~split.is_anomaly[getattr(split, role)]).sum()),
            "anomalies": int(split.is_anomaly[getattr(split, role)].sum()),
        }
        for role in ROLES
    }
    return {
        "dataset": {
            **dataset.provenance,
            "name": dataset.name,
            "kind": dataset.kind,
            "content": digest_of_rows(dataset),
        },
        "normal": list(request.split.normal),
        "scheme": request.split.scheme,
        "unlabeled": request.split.unlabeled,
        "apportionment": {k: _whole(v) for k, v in vars(request.split.apportionment).items()},
        "split": sizes,
        "seen_types": list(split.seen),
        "detector": {
            "name": detector.name,
            "preset": request.preset,
            "parameters": vars(detector_parameters),
        },
        "encoder": None
        if encoder is None
        else {
            "name": encoder.plugin.name,
            "latent_dim": encoder.latent_dim,
            "parameters": vars(encoder.parameters),
        },
        "covariance": request.covariance,
        "seed": request.seed,
        "threads": _threads(request, dataset.kind),
        "notes": list(split.notes),
        "versions": {name: _version(name) for name in LIBRARIES},
    }


def _whole(value: Any) -> Any:
    """250.0 → 250: a size is the same however it was given, and so is the digest."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def differing(asked: Mapping[str, Any], stored: Mapping[str, Any]) -> list[str]:
    """The keys and parameters of which a stored configuration says something else."""
    asked, stored = _essential(_as_json(asked)), _essential(stored)
    return [key for key in asked if stored.get(key) != asked[key]]


def _essential(config: Mapping[str, Any]) -> dict[str, Any]:
    """Each parameter by a key of its own, and without where the data was found, what it is being
    said by its checksums, and what was told of it, in words that may change."""
    data = {k: v for k, v in config["dataset"].items() if k not in ("source", "test_files")}
    essential = {**config, "dataset": data}
    essential.pop("notes", None)
    for owner in ("detector", "encoder"):
        part = dict(config.get(owner) or {})
        for name, value in part.pop("parameters", {}).items():
            essential[f"{owner}.{name}"] = value
        essential[owner] = part
    return essential


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"


# --------------------------------------------------------------------------- while it runs


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


def _as_json(value: Any) -> Any:
    import json

    return json.loads(json.dumps(value))


def _threads(request: TrainRequest, kind: Kind) -> int:
    return request.threads or (environment.own_cores() if kind == "image" else 1)


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


# --------------------------------------------------------------------------- calibration


def _calibrated_model(
    fitted: Fitted, prepared: _Prepared, request: TrainRequest, watcher: Watcher
) -> Model:
    """Score with what was fitted: μ, Σ from selection normals, references from calibration."""
    split, spec = prepared.split, prepared.preprocessor.spec
    runner = _runner(fitted, request.detector, spec)
    rows = prepared.rows(split.selection)
    if isinstance(runner, GraphRunner):
        try_graph(runner, rows.examples, fitted.output)
    selection = _kept(prepared, rows, split.selection, runner)
    kept = {"selection": selection}
    if len(split.calibration):
        calibration = prepared.rows(split.calibration)
        kept["calibration"] = _kept(prepared, calibration, split.calibration, runner)
    normals = selection.output[~selection.is_anomaly]
    if fitted.held_out is not None:
        check_held_out(fitted.held_out, normals)
        normals = fitted.held_out.astype(normals.dtype)
        selection.output[~selection.is_anomaly] = normals
    estimator, gaussian = None, None
    equal = not differ(rows.normals)
    if fitted.output == "embedding":
        estimator = request.covariance or _chosen_estimator(normals, fitted, watcher)
        equal = equal and estimator == "spherical"
        gaussian = Gaussian.from_embeddings(normals, estimator, may_coincide=equal)
    if "calibration" in kept:
        reference = raw_scores(kept["calibration"].output, gaussian)
    elif estimator is not None:
        reference = leave_one_out(normals, estimator, may_coincide=equal)
    else:
        reference = raw_scores(normals, None)
    about: dict[str, Any] = {} if estimator is None else {"covariance": estimator}
    scores = raw_scores(selection.output, gaussian)
    if len(np.unique(scores)) == 1 and differ(rows.examples):
        raise TrainingError(_collapse(request.detector, scores, bool(fitted.history)))
    return Model(
        config={},
        schema=prepared.schema,
        preprocessor=prepared.preprocessor,
        graph=fitted.graph,
        output=fitted.output,
        gaussian=gaussian,
        calibration=by_rate(np.sort(reference), "calibration" in kept, **about),
        kept=kept,
        split=_positions(split),
        typical=_typical(rows, scores),
        arrays=fitted.arrays,
        weights=fitted.weights,
        history=_columns(fitted.history),
    )


def _typical(selection: Rows, scores: NDArray[np.float64]) -> FloatRows:
    """The normal that is least anomalous, which explanations start from."""
    normals = np.flatnonzero(~selection.is_anomaly)
    row: FloatRows = selection.examples[normals[np.argmin(scores[normals])]].copy()
    return row


def _steady(fitted: Fitted) -> Fitted:
    """With a graph whose sums do not depend on where in a block a row stands."""
    from anoean_cli.training.sums import steady  # only here: it imports onnx

    return fitted if fitted.graph is None else replace(fitted, graph=steady(fitted.graph))


def _runner(fitted: Fitted, detector: str, spec: ExampleSpec) -> Runner:
    if fitted.graph is not None:
        return GraphRunner(fitted.graph, spec)
    if fitted.output != "score" or not getattr(
        registry.get("detectors", detector), "needs_plugin", False
    ):
        raise PluginError(f"detector plugin {detector!r} breaks its contract: it gives no graph")
    return PluginRunner(detector, fitted.arrays, spec)


def _positions(split: Split) -> dict[str, NDArray[np.int64]]:
    positions = {role: getattr(split, role) for role in ROLES}
    if split.multiplicity is not None:
        positions["test_multiplicity"] = split.multiplicity[split.test]
    if len(split.doubtful):
        positions["doubtful"] = split.doubtful
    return positions


def _kept(
    prepared: _Prepared, rows: Rows, positions: NDArray[np.int64], runner: Runner
) -> KeptRows:
    return KeptRows(
        as_columns(runner(rows.examples)),
        prepared.dataset.labels[positions].tolist(),
        rows.is_anomaly,
        positions,
    )


def _chosen_estimator(normals: NDArray[np.float32], fitted: Fitted, watcher: Watcher) -> str:
    estimator = fitting_estimator(normals, fitted.covariance)
    if estimator != fitted.covariance:
        rows, dimensions = normals.shape
        watcher.warn(
            f"{rows} normals for a covariance in {dimensions} dimensions: "
            f"it is shrunk ({estimator})"
        )
    return estimator


def _collapse(detector: str, scores: NDArray[np.float64], learns_in_steps: bool) -> str:
    what = f"all {len(scores)} selection rows get the score {scores[0]:g}"
    if learns_in_steps:
        return f"training collapsed: {what}; try another --seed or a smaller --lr"
    return f"{detector} cannot tell these rows apart: {what}; take another --detector"


def _columns(history: Any) -> dict[str, NDArray[np.float64]]:
    names = sorted({name for record in history for name in record})
    return {n: np.array([record.get(n, np.nan) for record in history]) for n in names}
