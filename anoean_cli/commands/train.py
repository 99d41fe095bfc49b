"""``anoean train``: from a data set to a calibrated model."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anoean_cli import process
from anoean_cli.choices import Covariance, Scheme, Unlabelled
from anoean_cli.commands import options
from anoean_cli.commands.options import TableFlags
from anoean_cli.console import Console
from anoean_cli.environment import MOST_THREADS
from anoean_cli.errors import DataError, ExitStatus, SettingError, UsageError
from anoean_cli.parameters import positive
from anoean_cli.wording import split_list

if TYPE_CHECKING:
    from anoean_cli.data.splits import SplitRequest
    from anoean_cli.inference.model import Model
    from anoean_cli.interfaces import Apportionment, Dataset, Kind, TableOptions
    from anoean_cli.training.request import TrainRequest


DOUBTFUL_COLUMNS = ("row", "label")
MOST_ANOMALIES = 1000  # a normal


@dataclass(frozen=True)
class DataFlags:
    """Which rows to train on."""

    source: options.Source = "auto"
    normal: options.Normal = None
    label: options.Label = None
    ignore: options.Ignore = None
    numeric: options.Numeric = None
    categorical: options.Categorical = None
    datetime: options.Datetime = None
    dates: options.Dates = None
    schema: options.Schema = None
    image_size: options.ImageSize = None
    max_rows: options.MaxRows = None
    unlabeled: Annotated[
        Unlabelled,
        typer.Option(help="What rows without a label are; if normal, --normal may be left out."),
    ] = "drop"
    anomaly_types: Annotated[
        str | None,
        typer.Option(
            metavar="V[,V...]|random:N|all",
            help="Anomaly labels or families that training may show; the rest only the test has.",
        ),
    ] = None
    anomaly_fraction: Annotated[
        str | None,
        typer.Option(metavar="F|all", help="Training anomalies per training normal; 0: one-class."),
    ] = None
    train_size: Annotated[
        str | None, typer.Option(metavar="N|all", help="Normals for all roles but the test.")
    ] = None
    test_size: Annotated[
        float | None,
        typer.Option(
            min=0,
            callback=options.finite,
            help="Rows to set aside for evaluate: below 1 a share of each class, else so many, of "
            "which a fifth are anomalies, as in the paper.",
        ),
    ] = None
    distinct: Annotated[
        bool | None,
        options.flag("--distinct", help="Take equal rows once; leave out those of two classes."),
    ] = None
    split: Annotated[
        Scheme,
        typer.Option(help="Draw the test rows, or take the test partition of the publisher."),
    ] = "drawn"

    def table_options(self, table: TableFlags, dataset: str) -> TableOptions:
        """How to read the table, and what its columns are.

        Raises:
            UsageError: options that the data set does not take, or a schema that does not fit.
        """
        from anoean_cli.commands.loading import check_table_options, described_by

        given = table.options(
            self.label, self.ignore, self.numeric, self.categorical, self.datetime, self.dates
        )
        check_table_options(dataset, self.source, given)
        return described_by(self.schema, dataset, self.source, given)

    def inputs(self, dataset: str) -> list[tuple[str, str | Path]]:
        """The options that name what is read, and what they name."""
        return [
            ("--dataset", dataset),
            ("--source", self.source),
            ("--schema", self.schema or ""),
        ]

    def load(self, dataset: str, options: TableOptions, console: Console, seed: int) -> Dataset:
        """The rows of the data set, of a large table those drawn.

        Raises:
            UsageError: it resizes no images but is to, or has no rows to be drawn but is to.
        """
        from anoean_cli.commands.loading import check_image_size, drawing_for, load_dataset

        check_image_size(dataset, self.source, self.image_size)
        return load_dataset(
            dataset,
            self.source,
            options,
            console,
            seed=seed,
            image_size=self.image_size,
            drawing=drawing_for(self.max_rows, dataset, self.source, seed, self._likely_normal()),
        )

    def _likely_normal(self) -> tuple[str, ...]:
        """Labels that are normal, before it is known which there are: one may hold a comma."""
        text = self.normal or ""
        unlabelled = ("",) if self.unlabeled == "normal" else ()
        return (*dict.fromkeys([text.strip(), *split_list(text)]), *unlabelled)


@dataclass(frozen=True)
class DetectorFlags:
    """What to train."""

    detector: Annotated[str, typer.Option(autocompletion=options.complete_detectors)] = "anoean"
    preset: Annotated[
        str,
        typer.Option(
            autocompletion=options.complete_presets,
            help="default; small: for tables, encoders without experts, two to three times as fast "
            "to score; or paper: the paper to the letter.",
        ),
    ] = "default"


# Plugin parameters that have a flag of their own.
FLAGS = {
    "epochs": "epochs",
    "patience": "patience",
    "batch_size": "batch_size",
    "learning_rate": "lr",
    "device": "device",
}
# The same, and those that are options of any detector, a parameter of some.
OPTIONS_TOO = {**FLAGS, "covariance": "covariance", "latent_dim": "latent_dim"}


@dataclass(frozen=True)
class LearningFlags:
    """How to train."""

    encoder: Annotated[str | None, typer.Option(autocompletion=options.complete_encoders)] = None
    latent_dim: Annotated[
        int | None, typer.Option(min=1, max=4096, help="Dimension of the decision or latent space.")
    ] = None
    epochs: Annotated[int | None, typer.Option(min=1)] = None
    patience: Annotated[
        int | None, typer.Option(min=1, help="Epochs without a better selection figure.")
    ] = None
    batch_size: Annotated[int | None, typer.Option(min=2)] = None
    lr: Annotated[float | None, typer.Option("--lr", help="Learning rate.")] = None
    covariance: Annotated[
        Covariance | None,
        typer.Option(help="Estimator of the covariance of normal embeddings."),
    ] = None
    seed: Annotated[int, typer.Option(min=0)] = 0
    device: Annotated[str | None, typer.Option(help="Torch device, such as cpu or cuda.")] = None
    threads: Annotated[
        int | None, typer.Option(min=1, max=MOST_THREADS, help="CPU threads for training.")
    ] = None
    set: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A plugin parameter; may be repeated."),
    ] = None

    def settings(self) -> dict[str, Any]:
        """The plugin parameters that were given, by name.

        Raises:
            SettingError: one that has an option of its own is given in both ways.
        """
        given = {name: getattr(self, flag) for name, flag in FLAGS.items()}
        found: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        for pair in self.set or ():
            key, equals, value = pair.partition("=")
            if not equals:
                raise SettingError(f"--set {pair!r} is not of the form KEY=VALUE", pair)
            key = key.strip()
            option = key.removeprefix("detector.")
            if given.get(option) is not None:
                flag = FLAGS[option].replace("_", "-")
                raise SettingError(f"--set {pair} and --{flag} say the same: give one", key)
            found[key] = value.strip()
        return found


def run(
    console: Console,
    data: DataFlags,
    what: DetectorFlags,
    learning: LearningFlags,
    table: TableFlags,
    dataset: options.DatasetName,
    model: options.Model = options.DEFAULT_MODEL,
    resume: Annotated[
        bool, options.flag("--resume", help="Go on with an interrupted run.")
    ] = False,
    doubtful: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv",
            help="Where to write which rows labelled normal look like known anomalies, and were "
            "left out.",
        ),
    ] = None,
    force: options.Force = False,
    json: options.AsJson = False,
    print_config: Annotated[
        bool,
        typer.Option(
            "--print-config", help="Print all options, resolved, as TOML for --config; train not."
        ),
    ] = False,
) -> ExitStatus:
    """Train a detector, calibrate it, and write the model."""
    from anoean_cli.commands import configuration
    from anoean_cli.commands.summary import show_model
    from anoean_cli.commands.targets import check_outputs
    from anoean_cli.data.text import nulls_of
    from anoean_cli.inference.model import load_model
    from anoean_cli.storage.atomic import identity
    from anoean_cli.storage.checkpoint import Checkpoint
    from anoean_cli.storage.claims import claimed

    before = identity(model)
    checkpoint = Checkpoint.beside(model)
    resume, force = resume and not print_config, force or print_config
    unfinished = resume and checkpoint.path.exists()
    there = load_model(model) if resume and not unfinished and model.exists() else None
    is_replaced = force or unfinished or there is not None
    list_is_replaced = force or (is_replaced and _is_list(doubtful))
    check_outputs(
        {"--model": model, "--doubtful": doubtful},
        data.inputs(dataset),
        {"--model": is_replaced, "--doubtful": list_is_replaced},
    )
    table_options = data.table_options(table, dataset)
    rows = data.load(dataset, table_options, console, learning.seed)
    request = _request(split_request(rows, data, nulls_of(table_options)), what, learning)
    _check_doubts(doubtful, request, rows.kind)
    if print_config:
        config = _planned(rows, request)
        found = effective(config, request, dataset, model, data, learning, table)
        console.document(configuration.written("train", found).rstrip())
        return ExitStatus.OK

    from anoean_cli.training.run import Watcher, train_model

    with (
        claimed(model, before) as check_unchanged,
        console.training() as progress,
        _graceful(console) as signals,
    ):
        watcher = Watcher(
            show=progress.show,
            warn=console.warn,
            begin=lambda config: _compare(there, config, model, force),
            stopping=lambda: bool(signals),
            checkpoint=checkpoint,
            resume=resume,
        )
        try:
            trained = train_model(rows, request, watcher)
        except _CompleteError as complete:
            console.note(f"{model} is complete: nothing to resume")
            _write_doubtful(console, doubtful, rows, complete.model, list_is_replaced)
            show_model(console, complete.model, model, json)
            return ExitStatus.OK
        check_unchanged()
        _write_doubtful(console, doubtful, rows, trained, list_is_replaced)
        trained = replace(trained, digest=trained.save(model, overwrite=force or unfinished))
        interrupted = trained.config["detector"]["metadata"]["interrupted"]
        if not interrupted:
            checkpoint.remove()
    if interrupted:
        console.note(f"stopped early: {model} is the best so far; --resume goes on")
    else:
        show_model(console, trained, model, json)
    if signals and not interrupted:
        console.note(f"{model} is complete: no epoch was left to stop after")
    return ExitStatus(128 + signals[0]) if signals else ExitStatus.OK


def _request(split: SplitRequest, what: DetectorFlags, learning: LearningFlags) -> TrainRequest:
    from anoean_cli import environment
    from anoean_cli.training.request import TrainRequest

    return TrainRequest(
        split=split,
        detector=what.detector,
        encoder=learning.encoder,
        preset=what.preset,
        settings=learning.settings(),
        latent_dim=learning.latent_dim,
        covariance=learning.covariance,
        seed=learning.seed,
        threads=environment.threads(learning.threads),
    )


def _check_doubts(path: Path | None, request: TrainRequest, kind: Kind) -> None:
    """Raises UsageError where a file is asked for of what nobody looks at."""
    from anoean_cli.training.request import filters_labels

    if path is not None and not filters_labels(request, kind):
        looks = f"{request.detector} of images" if kind == "image" else request.detector
        raise UsageError(
            f"--doubtful {path}: {looks} looks for no wrong labels, by these options; leave it out"
        )


def _is_list(path: Path | None) -> bool:
    """Whether it is what an earlier run wrote of doubtful rows, which going on may write again."""
    head = ",".join(DOUBTFUL_COLUMNS).encode() + b"\n"
    if path is None or not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(len(head)) == head


def _write_doubtful(
    console: Console, path: Path | None, rows: Dataset, trained: Model, overwrite: bool
) -> None:
    """Rows whose labels are doubtful, and that were left out, by their numbers in the source."""
    if path is None:
        return
    import numpy as np
    import pyarrow as pa

    from anoean_cli.commands.output import CsvOutput
    from anoean_cli.storage.atomic import replacing

    sizes = trained.config["split"]
    if not sizes["training"]["anomalies"] or not sizes["calibration"]["normals"]:
        console.warn(
            f"{path} lists no rows, as none were looked for: that takes known anomalies, and rows "
            "for calibration"
        )
    at = trained.split.get("doubtful", np.empty(0, np.int64))
    numbers = rows.places()[at] + 1
    labels = pa.array(rows.labels[at].tolist(), pa.string())
    columns = dict(zip(DOUBTFUL_COLUMNS, (numbers, labels), strict=True))
    with replacing(path, overwrite=overwrite) as temporary, temporary.open("wb") as stream:
        output = CsvOutput(stream, head=True)
        output.write(output.encoded(pa.table(columns)))


class _PlannedError(Exception):
    """Ends a training before anything is learnt."""


def _planned(rows: Dataset, request: TrainRequest) -> dict[str, Any]:
    """The configuration that the model of such a training would record."""
    from anoean_cli.training.run import Watcher, train_model

    found: dict[str, Any] = {}

    def begin(config: Mapping[str, Any]) -> None:
        found.update(config)
        raise _PlannedError

    with suppress(_PlannedError):
        train_model(rows, request, Watcher(begin=begin))
    return found


def effective(
    config: Mapping[str, Any],
    request: TrainRequest,
    dataset: str,
    model: Path,
    data: DataFlags,
    learning: LearningFlags,
    table: TableFlags,
) -> dict[str, Any]:
    """Every option of a training by its long name, as it is after all defaults.

    Left out are those that say how to run rather than what (--force, --json), and how to read the
    text of the table where that is found out from the table itself.
    """
    sizes, encoder = config["apportionment"], config["encoder"] or {}
    of_detector = dict(config["detector"]["parameters"])
    # One that is None stays a setting: no option says that, and a preset may say otherwise.
    flags = {
        flag.replace("_", "-"): of_detector.pop(name)
        for name, flag in FLAGS.items()
        if of_detector.get(name) is not None
    }
    of_any = {
        "latent-dim": encoder.get("latent_dim", request.latent_dim),
        "covariance": config["covariance"],
    }
    for name, value in of_any.items():
        if value is not None:
            of_detector.pop(name.replace("-", "_"), None)
    is_plugin = dataset == config["dataset"]["reload"]["plugin"]
    types = sizes["seen_types"]
    settings = {"detector": of_detector, "encoder": encoder.get("parameters", {})}
    return {
        "dataset": dataset,
        "source": config["dataset"]["reload"]["source"] if is_plugin else data.source,
        "model": str(model),
        "normal": data.normal or ",".join(config["normal"]) or None,
        "label": data.label,
        "ignore": data.ignore,
        "numeric": data.numeric,
        "categorical": data.categorical,
        "datetime": data.datetime,
        "dates": data.dates,
        "schema": None if data.schema is None else str(data.schema),
        "image-size": data.image_size,
        "max-rows": data.max_rows,
        "unlabeled": data.unlabeled,
        "anomaly-types": data.anomaly_types or ("all" if types is None else f"random:{types}"),
        "anomaly-fraction": _or_all(sizes["anomaly_fraction"]),
        "train-size": _or_all(sizes["train_size"]),
        "test-size": sizes["test_size"],
        "distinct": sizes["distinct"],
        "split": data.split,
        **{name.replace("_", "-"): value for name, value in vars(table).items()},
        "detector": config["detector"]["name"],
        "preset": config["detector"]["preset"],
        "encoder": encoder.get("name"),
        **of_any,
        "seed": config["seed"],
        "threads": config["threads"],
        **flags,
        "set": {
            owner: {name: "none" if value is None else value for name, value in values.items()}
            for owner, values in settings.items()
            if values
        },
    }


def _or_all(value: float | None) -> float | str:
    return "all" if value is None else value


class _CompleteError(Exception):
    """The model that is there already is what was asked for."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model


def _compare(there: Model | None, config: Mapping[str, Any], path: Path, force: bool) -> None:
    """Tell a model that --resume finds without a checkpoint from what is asked for.

    Raises:
        _CompleteError: it is the same.
        UsageError: it is another, which only --force replaces.
    """
    from anoean_cli.training.config import differing

    if there is None:
        return
    detector = dict(there.config["detector"])
    interrupted = detector.pop("metadata")["interrupted"]
    different = differing(config, {**there.config, "detector": detector})
    # The libraries may have been updated since; that makes no other run of it.
    different = [key for key in different if key != "versions"]
    if not different and not interrupted:
        raise _CompleteError(there)
    if not force:
        what = f"of a run with another {', '.join(different)}" if different else "unfinished"
        raise UsageError(
            f"{path} is {what}, and there is no checkpoint to resume from: give the same options, "
            "or --force to train anew"
        )


def split_request(dataset: Dataset, flags: DataFlags, nulls: Sequence[str] = ()) -> SplitRequest:
    """The data set's protocol with what the user said put in its place.

    Raises:
        UsageError: a size that is none, or normal labels that nobody named.
        DataError: a normal label that no row has.
    """
    from anoean_cli.data.labels import normal_labels
    from anoean_cli.data.splits import SplitRequest

    _check_labelled(dataset, flags.normal)
    normal = normal_labels(
        flags.normal, dataset.normal, dataset.labels, dataset.name, nulls, flags.unlabeled
    )
    sizes = dataset.apportionment
    if flags.distinct is not None:
        sizes = replace(sizes, distinct=flags.distinct)
    if flags.anomaly_fraction is not None:
        sizes = replace(sizes, anomaly_fraction=_anomaly_fraction(flags.anomaly_fraction))
    if sizes.anomaly_fraction != 0:
        _check_two_classes(dataset, normal)
    if flags.train_size is not None:
        sizes = replace(sizes, train_size=_train_size(flags.train_size))
    if flags.test_size is not None:
        if flags.test_size > 1 and flags.test_size % 1:
            raise UsageError(f"--test-size {flags.test_size:g} is neither a share nor whole rows")
        sizes = replace(sizes, test_size=flags.test_size)
    if flags.split == "publisher" and flags.test_size is None:
        sizes = replace(sizes, test_size=0)
    types, sizes = _anomaly_types(dataset, flags.anomaly_types, normal, sizes)
    return SplitRequest(normal, sizes, types, flags.unlabeled, flags.split)


def _check_labelled(dataset: Dataset, normal: str | None) -> None:
    """Raises UsageError where labels of a table are named, but not the column that holds them."""
    is_labelled = dataset.kind == "image" or dataset.label_column is not None
    if is_labelled or normal is None or set(dataset.labels.tolist()) != set(dataset.normal):
        return
    if normal not in dataset.normal:
        raise UsageError(f"--normal {normal}: which column holds the labels? Give --label COL")


def _check_two_classes(dataset: Dataset, normal: tuple[str, ...]) -> None:
    """Labels that tell nothing apart are a mistake; having none at all is one-class training."""
    from anoean_cli.data.labels import label_list

    labels = set(dataset.labels.tolist()) - {""}
    has_labels = dataset.label_column is not None or dataset.kind == "image"
    if has_labels and labels and labels <= set(normal):
        without = int((dataset.labels == "").sum())
        of_others = ""
        if without:
            of_others = (
                f" and {without:,} rows have none (NA, None and the like are read as none, unless "
                "--null-values '' says that they are labels)"
            )
        raise DataError(
            f"{dataset.name} has no anomalies: all its labels are normal "
            f"({label_list(sorted(labels))}){of_others}; name fewer with --normal, "
            "or give --anomaly-fraction 0 to train on normals alone"
        )


def _train_size(text: str) -> int | None:
    if text == "all":
        return None
    number = positive(text)
    if number is None:
        raise UsageError(f"--train-size is {text!r}; a number of rows or 'all' is needed")
    return number


def _anomaly_fraction(text: str) -> float | None:
    if text == "all":
        return None
    try:
        fraction = float(text)
    except ValueError:
        fraction = math.nan
    if not 0 <= fraction <= MOST_ANOMALIES:
        wanted = f"a number from 0 to {MOST_ANOMALIES} or 'all'"
        raise UsageError(f"--anomaly-fraction is {text!r}; {wanted} is needed")
    return fraction


def _anomaly_types(
    dataset: Dataset, text: str | None, normal: tuple[str, ...], sizes: Apportionment
) -> tuple[tuple[str, ...] | None, Apportionment]:
    """The types that were named, and the apportionment with the number of those to draw."""
    from anoean_cli.data.labels import parts

    if text is None:
        if sizes.seen_types is None or len(normal) == 1:
            return None, sizes
        # n against m: four ninths of the anomaly classes, as in 1 against all.
        others = len(set(dataset.labels.tolist()) - set(normal) - {""})
        return None, replace(sizes, seen_types=max(1, round(4 * others / 9)))
    if text == "all":
        return None, replace(sizes, seen_types=None)
    if text.startswith("random:"):
        count = positive(text.removeprefix("random:"))
        if count is None:
            raise UsageError(f"--anomaly-types {text}: a number of types is needed after random:")
        return None, replace(sizes, seen_types=count)
    named = parts(text, set(dataset.labels.tolist()))
    if not named:
        raise UsageError(
            f"--anomaly-types {text!r} names no type; --anomaly-fraction 0 trains without any"
        )
    return named, sizes


@contextmanager
def _graceful(console: Console) -> Iterator[list[int]]:
    """The first Ctrl-C, SIGTERM or SIGHUP is taken down, the second one ends the command.

    What is ignored, as in what a shell starts in the background, stays so. Yields the list of
    signals that came.
    """
    came: list[int] = []
    handlers = {number: signal.getsignal(number) for number in process.ENDINGS}
    previous = {n: handler for n, handler in handlers.items() if handler is not signal.SIG_IGN}

    def take(number: int, frame: FrameType | None) -> None:
        for each, handler in previous.items():
            signal.signal(each, handler)
        came.append(number)
        console.note("stopping after this epoch; once more stops at once and writes nothing")

    for number in previous:
        signal.signal(number, take)
    try:
        yield came
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
