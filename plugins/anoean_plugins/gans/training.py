"""How generative adversarial networks learn from normals, with what is common to all of them.

`train` is the loop; what is particular to a detector is its `Game`.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from anoean_cli.errors import TrainingError
from anoean_cli.interfaces import ExampleSpec, FloatRows, Monitor, Rows, Scores, State
from anoean_cli.training import selection as figures
from anoean_plugins.gans.networks import filled_up, folded, scaling_of
from anoean_plugins.gans.settings import GanParameters

Terms: TypeAlias = dict[str, Tensor]
Scorer: TypeAlias = Callable[[FloatRows], Scores]

BATCH = {"table": 50, "image": 100}
LATENT_DIM = {"table": 32, "image": 200}
FEWEST_STEPS, MOST_STEPS = 50, 500
SPREAD_DRAWS = 64
LEAST_SPREAD = 1e-3
ROWS_AT_ONCE = 1024

# --------------------------------------------------------------------------- losses


def told_apart(name: str, real: Tensor, fake: Tensor) -> Terms:
    """−log D(real) and −log(1 − D(fake)), from logits, each a mean: what a critic minimises."""
    return {f"{name}_real": softplus(-real).mean(), f"{name}_fake": softplus(fake).mean()}


def passed_off(logits: Tensor) -> Tensor:
    """−log D of what should be taken for real: the non-saturating loss of who made it."""
    return softplus(-logits).mean()


def shunned(logits: Tensor) -> Tensor:
    """−log(1 − D) of what is real and should not be told from what is made (E in a BiGAN)."""
    return softplus(logits).mean()


def residual(x: Tensor, other: Tensor) -> Tensor:
    """(n,): the L1 distance of each row."""
    return filled_up((x - other).abs().flatten(1)).sum(dim=1)


# --------------------------------------------------------------------------- the game


class Game(Protocol):
    """Who plays, for what, and what the outcome says of a row.

    Players are modules by name; those in ``critics`` learn by ``critic_terms``, all others by
    ``maker_terms``. x are normals as the networks take them, z draws from N(0, I).
    """

    critics: ClassVar[tuple[str, ...]]

    def build(self, latent_dim: int, width: float) -> dict[str, nn.Module]:
        """Untrained players."""

    def make(self, players: nn.ModuleDict, x: Tensor, z: Tensor) -> tuple[Tensor, ...]:
        """What generator and encoder make of z and x."""

    def critic_terms(
        self, players: nn.ModuleDict, x: Tensor, z: Tensor, made: Sequence[Tensor]
    ) -> Terms: ...

    def maker_terms(
        self, players: nn.ModuleDict, x: Tensor, z: Tensor, made: Sequence[Tensor]
    ) -> Terms: ...

    def scorer(self, players: nn.ModuleDict) -> Scorer:
        """From preprocessed rows to scores, with players that learn no more."""


def module_scorer(module: nn.Module) -> Scorer:
    """Scores by a module from rows to (n,)."""

    def score(rows: FloatRows) -> Scores:
        with torch.no_grad():
            parts = [
                module(torch.from_numpy(rows[at : at + ROWS_AT_ONCE])).double().numpy()
                for at in range(0, len(rows), ROWS_AT_ONCE)
            ]
        return np.concatenate(parts)

    return score


# --------------------------------------------------------------------------- training


@dataclass
class Run:
    """All that changes while training runs, and the seed that all its randomness comes from."""

    players: nn.ModuleDict
    averaged: nn.ModuleDict
    critic_adam: torch.optim.Adam
    maker_adam: torch.optim.Adam
    seed: int
    best: dict[str, Tensor]
    history: list[dict[str, float]] = field(default_factory=list)
    best_figure: float = -math.inf
    best_epoch: int = 0

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return len(self.history)


def train(
    game: Game,
    train: Rows,
    selection: Rows,
    spec: ExampleSpec,
    parameters: GanParameters,
    rng: np.random.Generator,
    monitor: Monitor,
    fewest_steps: int = FEWEST_STEPS,
) -> tuple[nn.ModuleDict, Run]:
    """Play until the selection figure has not risen for ``patience`` epochs, on normals alone.

    An epoch is one pass over the normals, but no fewer than ``fewest_steps`` and no more than
    500 steps. Without selection anomalies there is no figure, and the last epoch is taken.

    Returns:
        The players of the best epoch, their weights averaged and plain, and the run.

    Raises:
        TrainingError: a loss or a score is not finite, or the generator makes one row only.
    """
    normals = torch.from_numpy(train.normals)
    batch = min(parameters.batch_size or BATCH[spec.kind], len(normals))
    steps = min(max(len(normals) // batch, fewest_steps), max(MOST_STEPS, fewest_steps))
    d = latent_dim(spec, parameters)
    run = start(game, spec, normals, parameters, int(rng.integers(2**62)))
    normals = scaling_of(run.players)(normals)
    restore(run, monitor.restore())

    patience = parameters.patience or parameters.epochs
    while run.epoch < parameters.epochs and run.epoch - run.best_epoch < patience:
        began = time.perf_counter()
        # A seed for each epoch: nothing of the random state has to go into a checkpoint.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.seed + run.epoch)
            terms = _epoch(game, run, normals, batch, steps, d, parameters.averaging)
        plain = _folded_players(run.averaged)
        record = {"epoch": run.epoch + 1.0, **terms, **_figures(game.scorer(plain), selection)}
        record["seconds"] = time.perf_counter() - began
        run.history.append(record)
        figure = record.get(parameters.selection, float(run.epoch))
        if figure > run.best_figure:
            run.best_figure, run.best_epoch = figure, run.epoch
            run.best = {name: t.detach().clone() for name, t in plain.state_dict().items()}
        monitor.report(record, parameters.epochs)
        is_stopping = monitor.stopping()
        monitor.save(lambda: state_of(run))
        if is_stopping:
            break

    players = _folded_players(run.averaged)
    players.load_state_dict(run.best)
    _refuse_one_row(players, normals, d, run.seed)
    return players, run


def _epoch(
    game: Game, run: Run, normals: Tensor, batch: int, steps: int, d: int, averaging: float
) -> dict[str, float]:
    """Means of all loss terms over one epoch."""
    run.players.train()
    averages, weights = _averaged(run.averaged), _averaged(run.players)
    sums: dict[str, Tensor] = {}
    passes = math.ceil(steps * batch / len(normals))
    order = torch.cat([torch.randperm(len(normals)) for _ in range(passes)])
    for step in range(steps):
        x = normals[order[step * batch : (step + 1) * batch]]
        z = torch.randn(len(x), d)
        terms = _step(game, run, x, z)
        _average(averages, weights, averaging, run.epoch * steps + step)
        for name, term in terms.items():
            sums[name] = sums.get(name, torch.zeros(())) + term.detach()
    means = {name: float(value) / steps for name, value in sums.items()}
    if not all(math.isfinite(value) for value in means.values()):
        raise TrainingError(
            f"training diverged in epoch {run.epoch + 1}: a loss is not finite "
            f"({', '.join(f'{k} {v:.3g}' for k, v in means.items())}); "
            "try a smaller --lr, and look for extreme values in the data"
        )
    return means


def _step(game: Game, run: Run, x: Tensor, z: Tensor) -> Terms:
    """A step of the critics and one of the makers; what was made serves both."""
    made = game.make(run.players, x, z)
    critic = game.critic_terms(run.players, x, z, [value.detach() for value in made])
    _descend(run.critic_adam, critic)
    maker = game.maker_terms(run.players, x, z, made)
    _descend(run.maker_adam, maker)
    return critic | maker


def _descend(adam: torch.optim.Adam, terms: Terms) -> None:
    adam.zero_grad(set_to_none=True)
    loss = torch.stack(list(terms.values())).sum()
    loss.backward(inputs=adam.param_groups[0]["params"])  # the other side does not move
    adam.step()


def start(
    game: Game, spec: ExampleSpec, normals: Tensor, parameters: GanParameters, seed: int
) -> Run:
    """Players and optimisers before the first step."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        players = nn.ModuleDict(game.build(latent_dim(spec, parameters), parameters.width))
    if spec.kind == "table" and parameters.scaling == "range":
        scaling_of(players).fit(normals)
    critics = [p for name, m in players.items() if name in game.critics for p in m.parameters()]
    makers = [p for name, m in players.items() if name not in game.critics for p in m.parameters()]
    adam: Callable[..., torch.optim.Adam] = lambda weights: torch.optim.Adam(  # noqa: E731
        weights, lr=parameters.learning_rate, betas=(parameters.beta1, 0.999), fused=True
    )
    return Run(players, copy.deepcopy(players), adam(critics), adam(makers), seed, best={})


def latent_dim(spec: ExampleSpec, parameters: GanParameters) -> int:
    """As published, but no more than half of what a row holds."""
    features = math.prod(spec.shape)
    return parameters.latent_dim or min(LATENT_DIM[spec.kind], max(1, features // 2))


def _averaged(players: nn.ModuleDict) -> list[Tensor]:
    """Weights, and what batch normalisation has counted."""
    return [
        *(weight.detach() for weight in players.parameters()),
        *(value for name, value in players.named_buffers() if "running_" in name),
    ]


def _average(averages: list[Tensor], values: list[Tensor], decay: float, done: int) -> None:
    """An exponential average; its decay grows with the steps, to forget the first weights."""
    torch._foreach_lerp_(averages, values, 1 - min(decay, (1 + done) / (10 + done)))


def _folded_players(players: nn.Module) -> nn.ModuleDict:
    plain = folded(players)
    assert isinstance(plain, nn.ModuleDict)
    return plain


def _figures(score: Scorer, selection: Rows) -> dict[str, float]:
    """The selection figures of one epoch; none where the selection rows lack a class."""
    if selection.is_anomaly.all() or not selection.is_anomaly.any():
        return {}
    scores = score(selection.examples)
    if not np.isfinite(scores).all():
        raise TrainingError("training diverged: scores are not finite; try a smaller --lr")
    return {
        "auc_pr": figures.auc_pr(scores, selection.is_anomaly),
        "ranking": figures.ranking(scores, selection.is_anomaly),
    }


def _refuse_one_row(players: nn.ModuleDict, normals: Tensor, latent_dim: int, seed: int) -> None:
    z = torch.randn(SPREAD_DRAWS, latent_dim, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        made = players["generator"](z).std(dim=0).mean()
    if len(normals) > 1 and made <= LEAST_SPREAD * normals.std(dim=0).mean():
        raise TrainingError(
            "training collapsed: the generator makes the same row of every z; "
            "try another --seed or a smaller --lr"
        )


# --------------------------------------------------------------------------- stop and go on


def state_of(run: Run) -> State:
    """All of a run as named arrays."""
    state = {
        f"{part}/{name}": tensor.detach().numpy().copy()
        for part, tensors in _parts(run).items()
        for name, tensor in tensors.items()
    }
    for name in {name for record in run.history for name in record}:
        state[f"history/{name}"] = np.array([r.get(name, math.nan) for r in run.history])
    state["best_figure"] = np.array(run.best_figure)
    state["best_epoch"] = np.array(run.best_epoch)
    return state


def restore(run: Run, state: State | None) -> None:
    """Bring a run to where `state_of` was called."""
    if state is None:
        return
    parts: dict[str, dict[str, Any]] = {}
    for key, value in state.items():
        part, _, name = key.partition("/")
        parts.setdefault(part, {})[name] = np.array(value)
    tensors = {
        part: {name: torch.from_numpy(value) for name, value in parts[part].items()}
        for part in _parts(run)
    }
    run.players.load_state_dict(tensors["players"])
    run.averaged.load_state_dict(tensors["averaged"])
    run.best = tensors["best"]
    for part, adam in (("critic_adam", run.critic_adam), ("maker_adam", run.maker_adam)):
        moments: dict[int, dict[str, Tensor]] = {}
        for key, tensor in tensors[part].items():
            index, name = key.split(".", 1)
            moments.setdefault(int(index), {})[name] = tensor
        adam.load_state_dict({**adam.state_dict(), "state": moments})
    columns = parts["history"]
    run.history = [
        {name: float(v[i]) for name, v in columns.items() if not math.isnan(v[i])}
        for i in range(len(columns["epoch"]))
    ]
    run.best_figure = float(state["best_figure"])
    run.best_epoch = int(state["best_epoch"])


def _parts(run: Run) -> dict[str, Mapping[str, Tensor]]:
    return {
        "players": run.players.state_dict(),
        "averaged": run.averaged.state_dict(),
        "best": run.best,
        "critic_adam": _moments(run.critic_adam),
        "maker_adam": _moments(run.maker_adam),
    }


def _moments(adam: torch.optim.Adam) -> dict[str, Tensor]:
    return {
        f"{index}.{name}": tensor
        for index, moments in adam.state_dict()["state"].items()
        for name, tensor in moments.items()
    }
