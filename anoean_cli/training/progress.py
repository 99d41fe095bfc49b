"""What every training loop does besides its steps: rates, means, the best epoch, checkpoints.

All that changes while training runs is in a `Run`, and goes into a checkpoint after an epoch, so
that a run that was cut off goes on as if it had not been.
"""

from __future__ import annotations

import copy
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from anoean_cli.errors import TrainingError, UsageError
from anoean_cli.interfaces import FloatRows, Monitor, State
from anoean_cli.training.batches import Plan
from anoean_cli.training.export import array_of
from anoean_cli.training.losses import Terms
from anoean_cli.training.selection import NEGLIGIBLE
from anoean_cli.training.settings import LoopParameters

ROWS_AT_ONCE = 1024
CPU = torch.device("cpu")

Array = TypeVar("Array", bound=NDArray[np.floating])


class Selecting(Protocol):
    """The parameters that say which epoch is taken: see `LoopParameters`."""

    @property
    def selection(self) -> str | None: ...

    @property
    def patience(self) -> int | None: ...


@dataclass(kw_only=True)
class Run(ABC):
    """All that changes while training runs.

    A loop adds its networks, optimisers and generators as fields; every one of them is kept in
    checkpoints.
    """

    history: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    best_figure: float = -math.inf
    best_epoch: int = 0
    risen_epoch: int = 0  # the last whose figure was higher than all before

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return len(self.history)

    @property
    @abstractmethod
    def scorer(self) -> nn.Module:
        """What would score if training ended now."""


class Average(AveragedModel):
    """The moving average of a network's weights and buffers, which begins with the first update.

    The tensors are listed once: torch looks them up anew at each update, which takes an eighth of
    an epoch of small networks.

    Args:
        network: what is followed, on the device where it stays.
        decay: share of the average that an update keeps.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._average = get_ema_multi_avg_fn(decay)
        super().__init__(network, multi_avg_fn=self._average, use_buffers=True)
        own, followed = _tensors_by_type(self.module), _tensors_by_type(network)
        self._pairs = [(own[kind], followed[kind]) for kind in own]

    @torch.no_grad()
    def update(self) -> None:
        """Take in what the followed modules are now."""
        for own, followed in self._pairs:
            if self.n_averaged == 0:
                torch._foreach_copy_(own, followed)
            else:
                self._average(own, followed, self.n_averaged)
        self.n_averaged += 1


def _tensors_by_type(network: nn.Module) -> dict[torch.dtype, list[Tensor]]:
    found: dict[torch.dtype, list[Tensor]] = {}
    for tensor in chain(network.parameters(), network.buffers()):
        found.setdefault(tensor.dtype, []).append(tensor.detach())
    return found


@dataclass(kw_only=True)
class AveragedRun(Run):
    """A run that scores by an average of its network's weights."""

    averaged: Average
    generator: torch.Generator

    @property
    def scorer(self) -> nn.Module:
        """The network as it would be used now: with averaged weights."""
        return self.averaged.module


# --------------------------------------------------------------------------- start


@contextmanager
def weights_drawn_from(rng: np.random.Generator) -> Iterator[None]:
    """Initialisers know torch's global generator only: seed it, and put it back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**63)))
        yield


@contextmanager
def noise_after(generator: torch.Generator) -> Iterator[None]:
    """Seed torch's global generator, which layers such as dropout draw from, and put it back.

    The seed is what the run's own generator would give next. It is not drawn, so that networks
    without noise train as ever, and a checkpoint needs no second state.
    """
    twin = torch.Generator()
    twin.set_state(generator.get_state())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**63 - 1, (), generator=twin)))
        yield


def generator_from(rng: np.random.Generator) -> torch.Generator:
    """A torch generator that goes on from NumPy's."""
    return torch.Generator().manual_seed(int(rng.integers(2**63)))


def adam_of(
    network: nn.Module, parameters: LoopParameters, slower: float = 1.0
) -> torch.optim.Adam:
    """Adam at the learning rate, or at that share of it throughout."""
    rate = slower * parameters.learning_rate
    return torch.optim.Adam(
        [{"params": list(network.parameters()), "initial_lr": rate}],
        lr=rate,
        betas=(parameters.beta1, 0.999),
        fused=True,
    )


def usable_device(name: str) -> torch.device:
    """Raises UsageError for a device that torch does not know or does not have here."""
    try:
        torch.zeros(1, device=name).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).split("\n")[0]
        raise UsageError(f"device {name} cannot be used here: {reason}") from error
    return torch.device(name)


# --------------------------------------------------------------------------- within an epoch


def share_done(run: Run, plan: Plan, step: int) -> float:
    """How much of the whole training lies behind the beginning of a step, from 0 to 1."""
    return (run.epoch * plan.steps + step) / (plan.epochs * plan.steps)


def set_learning_rate(run: Run, plan: Plan, step: int, parameters: LoopParameters) -> None:
    """Half a cosine from the learning rate to its final share over the whole training."""
    last = parameters.final_learning_rate
    factor = last + (1 - last) * (1 + math.cos(math.pi * share_done(run, plan, step))) / 2
    for optimiser in _optimisers(run).values():
        for group in optimiser.param_groups:
            group["lr"] = group["initial_lr"] * factor


class Means:
    """The means of loss terms over steps."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._sums = torch.zeros(())
        self._steps = 0

    @torch.no_grad()
    def add(self, terms: Terms) -> None:
        """Take the terms of one step, the same ones in each."""
        self._steps += 1
        self._names = list(terms)
        self._sums = self._sums + torch.stack(list(terms.values()))

    def finite(self, epoch: int) -> dict[str, float]:
        """The means by name.

        Raises:
            TrainingError: one of them is not finite.
        """
        sums = zip(self._names, self._sums.tolist(), strict=True)
        means = {name: value / self._steps for name, value in sums}
        if not all(math.isfinite(value) for value in means.values()):
            raise TrainingError(
                f"training diverged in epoch {epoch}: a loss is not finite "
                f"({', '.join(f'{k} {v:.3g}' for k, v in means.items())}); "
                "try a smaller learning rate, and look for extreme values in the data"
            )
        return means


def embed(module: nn.Module, examples: FloatRows, device: torch.device = CPU) -> FloatRows:
    """What a network gives in evaluation mode, shape (n, d), or (n,) of one that gives scores."""
    module.eval()
    with torch.no_grad():
        parts = [
            module(torch.from_numpy(examples[at : at + ROWS_AT_ONCE]).to(device)).cpu().numpy()
            for at in range(0, len(examples), ROWS_AT_ONCE)
        ]
    return np.concatenate(parts)


# --------------------------------------------------------------------------- after an epoch


def run_epochs(
    run: Run,
    epochs: int,
    parameters: Selecting,
    monitor: Monitor,
    epoch: Callable[[], Mapping[str, float]],
) -> None:
    """Go on from the checkpoint that the monitor has, if any, for as long as there are epochs and
    patience, and nobody stops training.

    Args:
        epochs: the most there are, those of the checkpoint included.
        epoch: trains for one more; returns its loss terms and selection figures, of which
            ``parameters.selection`` names the one that picks the epoch. Where it is not among them
            the last epoch is taken.
    """
    restore(run, monitor.restore())
    is_stopping = False
    while run.epoch < epochs and not _exhausted(run, parameters) and not is_stopping:
        began = time.perf_counter()
        record = epoch()
        seconds = time.perf_counter() - began
        is_stopping = _close_epoch(run, record, seconds, epochs, parameters, monitor)


def _close_epoch(
    run: Run,
    record: Mapping[str, float],
    seconds: float,
    epochs: int,
    parameters: Selecting,
    monitor: Monitor,
) -> bool:
    """Note down an epoch, keep the best, report, save; returns whether training is to stop."""
    run.history.append({"epoch": run.epoch + 1.0, **record, "seconds": seconds})
    picks = parameters.selection or "ranking"
    figure = record.get(picks, float(run.epoch))
    _keep_best(run, figure, NEGLIGIBLE.get(picks, 0.0))
    monitor.report({**run.history[-1], "best_epoch": float(run.best_epoch)}, epochs)
    is_stopping = monitor.stopping()
    monitor.save(lambda: state_of(run))
    return is_stopping


def _exhausted(run: Run, parameters: Selecting) -> bool:
    """Whether the figure has not become better for as long as patience lasts."""
    patience = parameters.patience
    return patience is not None and run.epoch - run.risen_epoch >= patience


def _keep_best(run: Run, figure: float, negligible: float) -> None:
    # An equal figure takes the later epoch: its weights have seen more, in smaller steps.
    if figure > run.best_figure:
        run.best_figure, run.risen_epoch = figure, run.epoch
    if figure >= run.best_figure - negligible:
        run.best_epoch = run.epoch
        run.best = {name: t.detach().clone() for name, t in run.scorer.state_dict().items()}


def finite(values: Array, what: str) -> Array:
    """The values.

    Raises:
        TrainingError: one of them is not finite.
    """
    if not np.isfinite(values).all():
        raise TrainingError(
            f"training diverged: {what} are not finite; try a smaller learning rate"
        )
    return values


def best_of(run: AveragedRun) -> nn.Module:
    """The network as of the best epoch, in evaluation mode on the CPU."""
    module = copy.deepcopy(run.scorer)
    module.load_state_dict(run.best)
    return module.cpu().eval()


# --------------------------------------------------------------------------- stop and go on


def state_of(run: Run) -> State:
    """All of a run as named arrays."""
    state = {name: part.get_state().numpy().copy() for name, part in _generators(run).items()}
    for part, tensors in _parts(run).items():
        state |= {f"{part}/{name}": array_of(tensor) for name, tensor in tensors.items()}
    columns = sorted({name for record in run.history for name in record})
    for name in columns:
        state[f"history/{name}"] = np.array([r.get(name, math.nan) for r in run.history])
    state["best_figure"] = np.array(run.best_figure)
    state["best_epoch"] = np.array(run.best_epoch)
    state["risen_epoch"] = np.array(run.risen_epoch)
    return state


def restore(run: Run, state: State | None) -> None:
    """Bring a run to where ``state_of`` was called."""
    if state is None:
        return
    parts: dict[str, dict[str, Tensor]] = {}
    for key, value in state.items():
        part, _, name = key.partition("/")
        if name and part != "history":
            parts.setdefault(part, {})[name] = torch.from_numpy(np.array(value))
    for name, network in _networks(run).items():
        network.load_state_dict(parts[name])
    for name, optimiser in _optimisers(run).items():
        _load_adam(optimiser, parts[name])
    run.best = parts["best"]
    for name, generator in _generators(run).items():
        generator.set_state(torch.from_numpy(np.array(state[name])))
    columns = {k.removeprefix("history/"): v for k, v in state.items() if k.startswith("history/")}
    run.history = [
        {name: float(v[i]) for name, v in columns.items() if not math.isnan(v[i])}
        for i in range(len(columns["epoch"]))
    ]
    run.best_figure = float(state["best_figure"])
    run.best_epoch = int(state["best_epoch"])
    # Older ones had one, and those of GANs a 0 in its place.
    run.risen_epoch = int(state.get("risen_epoch", 0)) or run.best_epoch


def _generators(run: Run) -> dict[str, torch.Generator]:
    return {name: part for name, part in vars(run).items() if isinstance(part, torch.Generator)}


def _networks(run: Run) -> dict[str, nn.Module]:
    return {name: part for name, part in vars(run).items() if isinstance(part, nn.Module)}


def _optimisers(run: Run) -> dict[str, torch.optim.Adam]:
    return {name: part for name, part in vars(run).items() if isinstance(part, torch.optim.Adam)}


def _parts(run: Run) -> dict[str, Mapping[str, Tensor]]:
    networks = {name: network.state_dict() for name, network in _networks(run).items()}
    moments = {name: _adam_tensors(each) for name, each in _optimisers(run).items()}
    return {**networks, **moments, "best": run.best}


def _adam_tensors(adam: torch.optim.Adam) -> dict[str, Tensor]:
    return {
        f"{index}.{name}": tensor
        for index, moments in adam.state_dict()["state"].items()
        for name, tensor in moments.items()
    }


def _load_adam(adam: torch.optim.Adam, tensors: Mapping[str, Tensor]) -> None:
    moments: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split(".", 1)
        moments.setdefault(int(index), {})[name] = tensor
    adam.load_state_dict({**adam.state_dict(), "state": moments})
