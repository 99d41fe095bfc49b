"""The three plugin contracts: datasets, encoders and detectors.

All of them are small Protocols over plain data, so that a third party needs one module and one
entry point (``anoean.datasets``, ``anoean.encoders``, ``anoean.detectors``). Importing a plugin's
module must not import torch: ``build`` and ``fit`` do that when they are called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from anoean_cli.choices import FirstIfOpen, Output
from anoean_cli.errors import PluginError, blaming
from anoean_cli.examples import (
    ColumnKind,
    Drawing,
    ExampleSpec,
    First,
    FloatRows,
    Json,
    Kind,
    Scores,
    State,
    TableOptions,
    column_kind,
    column_type,
    firsts_of,
    with_firsts,
)

if TYPE_CHECKING:
    import torch

__all__ = [
    "Apportionment",
    "ColumnKind",
    "Dataset",
    "DatasetPlugin",
    "DetectorPlugin",
    "Drawing",
    "Encoder",
    "EncoderPlugin",
    "ExampleSpec",
    "First",
    "FirstIfOpen",
    "Fitted",
    "FloatRows",
    "Json",
    "Kind",
    "LoadRequest",
    "Monitor",
    "RestorablePlugin",
    "Rows",
    "Scores",
    "Scoring",
    "State",
    "TableOptions",
    "column_kind",
    "column_type",
    "firsts_of",
    "with_firsts",
]

TRIAL_ROWS = 8
NEGLIGIBLE = 1e-3

Scoring: TypeAlias = Callable[[FloatRows], NDArray[Any]]


# --------------------------------------------------------------------------- datasets


@dataclass(frozen=True)
class LoadRequest:
    """What a dataset plugin is asked for.

    Attributes:
        source: ``"auto"`` (data folder, cache, download, sample), ``"full"`` (never the sample),
            ``"sample"``, a file or folder, or a URL.
        data_folder: the folder that ``ANOEAN_DATA`` names, or None.
        cache: the folder for downloads.
        table: how to read text tables.
        image_size: side in pixels of the square that image files are resized to; None lets the
            plugin choose.
        seed: for datasets that are generated.
        drawing: what to do about a text table with too many rows; None takes them all.
        warn: called with one line for everything the user should know.
    """

    source: str = "auto"
    data_folder: Path | None = None
    cache: Path = Path()
    table: TableOptions = TableOptions()
    image_size: int | None = None
    seed: int = 0
    drawing: Drawing | None = None
    warn: Callable[[str], None] = lambda message: None


@dataclass(frozen=True)
class Apportionment:
    """How many rows the protocol of a dataset draws for which role (section 4.1 of the paper).

    Attributes:
        train_size: normals for training, selection and calibration together; None takes all.
        test_size: test rows, 80 % of them normal; 0 sets none aside; below 1 a share of all.
        anomaly_fraction: training anomalies as a share of the training normals; None takes all.
        seen_types: how many anomaly types training may show; None shows all.
        pooled: draw from the publisher's training and test partitions together.
        distinct: drop exact duplicates before drawing.
    """

    train_size: int | None = None
    test_size: float = 0
    anomaly_fraction: float | None = None
    seen_types: int | None = None
    pooled: bool = False
    distinct: bool = False


@dataclass(frozen=True)
class Dataset:
    """Rows, what is known about each of them, and where they come from.

    Attributes:
        name: the plugin's name.
        examples: images as ``uint8`` of shape (n, channels, height, width), or an Arrow table
            that holds the feature columns only (numbers as float64, categories as strings, dates
            as timestamps in µs, without a time zone or of UTC; `firsts_of` tells how these
            were written).
        labels: (n,) strings; ``""`` where the label is not known.
        provenance: JSON: source, checksum, licence, sample or full.
        normal: labels that are normal unless the user says otherwise.
        partition: (n,) of ``"train"`` and ``"test"``, as the publisher parted the rows.
        family: (n,) strings, the broader kind of each label.
        apportionment: the protocol that holds unless the user says otherwise.
        columns: all fields of a row of the source, in its order, the label included.
        label_column: the name of the label among ``columns``.
        vouched: feature columns that the user called features: they are never dropped.
        positions: (n,) where the rows stand in their source, rising, if some were drawn from it.
    """

    name: str
    examples: Any
    labels: NDArray[np.str_]
    provenance: Mapping[str, Json]
    normal: tuple[str, ...] = ()
    partition: NDArray[np.str_] | None = None
    family: NDArray[np.str_] | None = None
    apportionment: Apportionment = Apportionment()
    columns: tuple[str, ...] = ()
    label_column: str | None = None
    vouched: tuple[str, ...] = ()
    positions: NDArray[np.int64] | None = None

    def places(self) -> NDArray[np.int64]:
        """(n,) where the rows stand in their source."""
        return np.arange(len(self.labels)) if self.positions is None else self.positions

    @property
    def kind(self) -> Kind:
        """Images come as an array, tables as columns."""
        return "image" if isinstance(self.examples, np.ndarray) else "table"


@runtime_checkable
class DatasetPlugin(Protocol):
    """A named source of rows."""

    name: ClassVar[str]
    summary: ClassVar[str]

    def load(self, request: LoadRequest) -> Dataset:
        """Return the rows.

        Raises:
            DatasetUnavailableError: the rows are not to be had from ``request.source``.
            DataError: the files are there but damaged.
        """


# --------------------------------------------------------------------------- encoders


@runtime_checkable
class EncoderPlugin(Protocol):
    """A network E that maps preprocessed examples to the decision space.

    An encoder may also have ``presets``, as detectors do: settings of its parameters that hold
    under a preset of that name. Where it has none of that name, its defaults hold.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    Parameters: ClassVar[type]

    def supports(self, spec: ExampleSpec) -> bool:
        """Whether ``build`` can take examples of this kind and shape."""

    def build(self, spec: ExampleSpec, latent_dim: int, parameters: Any) -> torch.nn.Module:
        """Return an untrained module from (n, *spec.shape) float32 to (n, latent_dim)."""


@dataclass(frozen=True)
class Encoder:
    """An encoder plugin together with all it needs: what a detector gets and builds from."""

    plugin: EncoderPlugin
    spec: ExampleSpec
    latent_dim: int
    parameters: Any

    def build(self) -> torch.nn.Module:
        """Return a new module, after a trial on a few rows.

        Raises:
            PluginError: the plugin fails, or its module is not what the contract says.
        """
        culprit = f"encoder plugin {self.plugin.name!r}"
        with blaming(culprit):
            module = self.plugin.build(self.spec, self.latent_dim, self.parameters)
            breach = _breach(module, self.spec, self.latent_dim)
        if breach is not None:
            raise PluginError(f"{culprit} breaks its contract: {breach}")
        return module


def _breach(module: Any, spec: ExampleSpec, latent_dim: int) -> str | None:
    """What is wrong with a plugin's module, as far as a few rows tell."""
    import torch

    if not isinstance(module, torch.nn.Module):
        return f"it builds a {type(module).__name__}, not a torch.nn.Module"
    if not any(weight.requires_grad for weight in module.parameters()):
        return "its module has no weight to train"
    own = torch.Generator().manual_seed(0)  # the global one is about to draw weights
    rows = torch.rand(TRIAL_ROWS, *spec.shape, generator=own)
    was_training = module.training
    module.eval()
    with torch.no_grad():
        z, alone = module(rows), module(rows[:1])
    module.train(was_training)
    if not isinstance(z, torch.Tensor) or z.dtype != torch.float32:
        return f"its module gives {getattr(z, 'dtype', type(z).__name__)}, not float32"
    if z.shape != (TRIAL_ROWS, latent_dim):
        return f"its module gives {tuple(z.shape)} for {TRIAL_ROWS} rows in {latent_dim} dimensions"
    if not z.isfinite().all():
        return "its module gives numbers that are not finite, before any training"
    if not (alone - z[:1]).abs().max() <= NEGLIGIBLE * z.abs().max():  # NaN too
        return "its module gives a row alone another embedding than among others"
    return None


# --------------------------------------------------------------------------- detectors


@dataclass(frozen=True)
class Rows:
    """Preprocessed examples with what is known of them.

    Attributes:
        examples: (n, *shape) float32.
        is_anomaly: (n,) bool.
    """

    examples: FloatRows
    is_anomaly: NDArray[np.bool_]

    @property
    def normals(self) -> FloatRows:
        """(m, *shape), in the order of the rows."""
        return self.examples[~self.is_anomaly]

    @property
    def anomalies(self) -> FloatRows:
        """(n - m, *shape), in the order of the rows."""
        return self.examples[self.is_anomaly]


class Monitor(Protocol):
    """A detector's line to whoever started the training."""

    def report(self, record: Mapping[str, float], epochs: int) -> None:
        """Take the figures of one finished epoch out of at most ``epochs``.

        ``epoch`` counts from 1; ``best_epoch`` is the one that would be taken if it ended now.
        """

    def warn(self, message: str) -> None:
        """Tell the user something."""

    def stopping(self) -> bool:
        """Whether training should end after this epoch and return its best."""

    def restore(self) -> State | None:
        """Return the state last saved by an interrupted run of the same configuration."""

    def save(self, state: Callable[[], State]) -> None:
        """Offer the state after an epoch; it is called for when a checkpoint is due, and always
        once `stopping` has said so."""


@dataclass(frozen=True)
class Fitted:
    """What training leaves behind.

    Attributes:
        graph: ONNX model bytes, one input of shape (n, *spec.shape) float32 and one output; None
            from a plugin that scores by itself (`RestorablePlugin`).
        output: ``"embedding"`` when the graph gives (n, latent_dim) float32, to be scored by the
            Gaussian; ``"score"`` when it gives (n,) float raw scores, high for anomalies.
        covariance: estimator of Σ that suits the embedding, unless the user names one.
        held_out: (m, latent_dim) embeddings that the graph would give for the selection normals, in
            their order, had nothing in it learned from them; None where it gives these.
        arrays: what such a plugin scores by, as named arrays of numbers.
        weights: the encoder's weights by name, for inspection and reuse.
        metadata: JSON that ``info`` shows.
        history: one mapping of figures an epoch.
    """

    graph: bytes | None = None
    output: Output = "embedding"
    covariance: str = "ledoit-wolf"
    held_out: FloatRows | None = None
    arrays: State = field(default_factory=dict)
    weights: State = field(default_factory=dict)
    metadata: Mapping[str, Json] = field(default_factory=dict)
    history: Sequence[Mapping[str, float]] = ()


@runtime_checkable
class DetectorPlugin(Protocol):
    """A way to learn from normals, and possibly anomalies, what an anomaly is.

    A detector may also have ``uses_selection`` (True where it is left out). False says that it
    chooses nothing by the selection rows: they are then among its training rows, unless they must
    give the reference scores because there are too few rows for a calibration base. Such a
    detector gives scores, not embeddings, whose Gaussian needs rows that training has not seen.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    uses_anomalies: ClassVar[bool]
    uses_encoder: ClassVar[bool]
    Parameters: ClassVar[type]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]]

    def fit(
        self,
        train: Rows,
        selection: Rows,
        encoder: Encoder | None,
        parameters: Any,
        rng: np.random.Generator,
        monitor: Monitor,
    ) -> Fitted:
        """Learn from the training rows; choose by the selection rows only.

        Raises:
            TrainingError: training collapsed or diverged.
        """


@runtime_checkable
class RestorablePlugin(DetectorPlugin, Protocol):
    """A detector whose scoring no graph can express, such as a search for each row.

    Its ``fit`` gives arrays instead of a graph, and scores as output. They are stored in the model
    file, and scoring asks the plugin of that name for what it makes of them.
    """

    needs_plugin: ClassVar[bool]

    def restore(self, arrays: State, spec: ExampleSpec) -> Scoring:
        """Return what scores rows by ``arrays``: from (n, *spec.shape) float32 to (n,).

        It is called with blocks of one size, the last one filled up with zeros, and must give
        each row a score that depends on that row alone.

        Raises:
            FileFormatError: arrays that ``fit`` would not give for such rows; they may come from
                anywhere, so names, types and shapes are to be checked before they are used.
        """
