"""How generative adversarial networks learn from normals, with what is common to all of them.

`train` is the loop; what is particular to a detector is its `Game`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from anoean_cli.errors import TrainingError
from anoean_cli.interfaces import ExampleSpec, FloatRows, Monitor, Rows, Scores
from anoean_cli.training import progress
from anoean_cli.training import selection as figures
from anoean_cli.training.losses import Terms, total
from anoean_plugins.gans.networks import filled_up, folded, scaling_of
from anoean_plugins.gans.settings import GanParameters

Scorer: TypeAlias = Callable[[FloatRows], Scores]

BATCH = {"table": 50, "image": 100}
LATENT_DIM = 32
FEWEST_STEPS, MOST_STEPS = 50, 500
SPREAD_DRAWS = 64
LEAST_SPREAD = 1e-3

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
    ) -> Terms:
        """What the critics minimise, the sum of these, with what was made held fixed."""

    def maker_terms(
        self, players: nn.ModuleDict, x: Tensor, z: Tensor, made: Sequence[Tensor]
    ) -> Terms:
        """What the makers minimise, with the critics held fixed."""

    def scorer(self, players: nn.ModuleDict) -> Scorer:
        """From preprocessed rows to scores, with players that learn no more."""


def module_scorer(module: nn.Module) -> Scorer:
    """Scores by a module from rows to (n,)."""

    def score(rows: FloatRows) -> Scores:
        return progress.embed(module, rows).astype(np.float64)

    return score


# --------------------------------------------------------------------------- training


@dataclass(kw_only=True)
class Run(progress.Run):
    """All that changes while training runs, and the seed that all its randomness comes from."""

    players: nn.ModuleDict
    averaged: nn.ModuleDict
    critic_adam: torch.optim.Adam
    maker_adam: torch.optim.Adam
    seed: int

    @property
    def scorer(self) -> nn.ModuleDict:
        """All players, their weights averaged and plain."""
        return _folded_players(self.averaged)


def train(
    game: Game,
    train: Rows,
    selection: Rows,
    spec: ExampleSpec,
    parameters: GanParameters,
    rng: np.random.Generator,
    monitor: Monitor,
    epochs: int,
    fewest_steps: int = FEWEST_STEPS,
) -> tuple[nn.ModuleDict, Run]:
    """Play until the selection figure has not risen for ``patience`` epochs, on normals alone.

    ``epochs`` is the most there are, unless the parameters say so. An epoch is one pass over the
    normals, but no fewer than ``fewest_steps``, and no more than 500 or these. Without selection
    anomalies there is no figure, and the last epoch is taken.

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

    def epoch() -> dict[str, float]:
        # A seed for each epoch: nothing of the random state has to go into a checkpoint.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.seed + run.epoch)
            terms = _epoch(game, run, normals, batch, steps, d, parameters.averaging)
        return {**terms, **_figures(game.scorer(run.scorer), selection)}

    progress.run_epochs(run, parameters.epochs or epochs, parameters, monitor, epoch)
    players = run.scorer
    players.load_state_dict(run.best)
    _refuse_one_row(players, normals, d, run.seed)
    return players, run


def _epoch(
    game: Game, run: Run, normals: Tensor, batch: int, steps: int, d: int, averaging: float
) -> dict[str, float]:
    """Means of all loss terms over one epoch."""
    run.players.train()
    averages, weights = _averaged(run.averaged), _averaged(run.players)
    means = progress.Means()
    passes = math.ceil(steps * batch / len(normals))
    order = torch.cat([torch.randperm(len(normals)) for _ in range(passes)])
    for step in range(steps):
        x = normals[order[step * batch : (step + 1) * batch]]
        z = torch.randn(len(x), d)
        means.add(_step(game, run, x, z))
        _average(averages, weights, averaging, run.epoch * steps + step)
    return means.finite(run.epoch + 1)


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
    loss = total(terms)
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
    return Run(
        players=players,
        averaged=copy.deepcopy(players),
        critic_adam=adam(critics),
        maker_adam=adam(makers),
        seed=seed,
    )


def latent_dim(spec: ExampleSpec, parameters: GanParameters) -> int:
    """32, but no more than half of what a row holds."""
    return parameters.latent_dim or min(LATENT_DIM, max(1, math.prod(spec.shape) // 2))


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
    scores = progress.finite(score(selection.examples), "scores")
    return figures.of_distances(scores, selection.is_anomaly)


def _refuse_one_row(players: nn.ModuleDict, normals: Tensor, latent_dim: int, seed: int) -> None:
    z = torch.randn(SPREAD_DRAWS, latent_dim, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        made = players["generator"](z).std(dim=0).mean()
    if len(normals) > 1 and made <= LEAST_SPREAD * normals.std(dim=0).mean():
        raise TrainingError(
            "training collapsed: the generator makes the same row of every z; "
            "try another seed or a smaller learning rate"
        )
