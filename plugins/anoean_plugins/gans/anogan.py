"""The GAN of AnoGAN, and the search for the latent vector that explains a row best."""

from __future__ import annotations

import copy
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from anoean_cli.errors import FileFormatError
from anoean_cli.interfaces import ExampleSpec, FloatRows, Scores, State
from anoean_cli.training.export import weights_of
from anoean_cli.training.losses import Terms
from anoean_plugins.gans import networks
from anoean_plugins.gans.networks import (
    Critic,
    Noise,
    Scaling,
    aligned,
    critic_of,
    dense,
    filled_up,
    linear,
    scaled,
    scaling_of,
)
from anoean_plugins.gans.training import (
    Scorer,
    passed_off,
    residual,
    told_apart,
)

SLOPE, DROPOUT = 0.1, 0.2
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
ROWS_AT_ONCE = 64
_THREADS = threading.Lock()  # how many there are belongs to the whole process
LARGEST = {"steps": 100_000, "step_size": 100, "feature_weight": 1, "width": 16}
MOST_STARTS, LARGEST_LATENT_DIM = 4096, 4096


@dataclass(frozen=True)
class Settings:
    """How to search: numbers that a model file stores beside the networks."""

    steps: int
    step_size: float
    feature_weight: float


class Gan:
    """The game: a generator against a critic of x."""

    critics: ClassVar[tuple[str, ...]] = ("critic",)

    def __init__(self, spec: ExampleSpec, noise: float, starts: Tensor, settings: Settings) -> None:
        self.spec = spec
        self.noise = noise
        self.starts = starts
        self.settings = settings

    def build(self, latent_dim: int, width: float) -> dict[str, nn.Module]:
        return players_of(self.spec, latent_dim, width, self.noise)

    def make(self, players: nn.ModuleDict, x: Tensor, z: Tensor) -> tuple[Tensor, ...]:
        return (players["generator"](z),)

    def critic_terms(
        self, players: nn.ModuleDict, x: Tensor, z: Tensor, made: Sequence[Tensor]
    ) -> Terms:
        return told_apart("d", *critic_of(players).both((x,), made))

    def maker_terms(
        self, players: nn.ModuleDict, x: Tensor, z: Tensor, made: Sequence[Tensor]
    ) -> Terms:
        return {"g": passed_off(players["critic"](*made))}

    def scorer(self, players: nn.ModuleDict) -> Scorer:
        return Search(self.spec, players, self.starts, self.settings)


def players_of(
    spec: ExampleSpec, latent_dim: int, width: float, noise: float = 0.0
) -> dict[str, nn.Module]:
    """Generator and critic. Tables: D of 256, 128, 128. Images: convolutions, then 1024."""
    players: dict[str, nn.Module] = {
        "scaling": Scaling(spec),
        "generator": networks.generator(spec, latent_dim, width),
    }
    if spec.kind == "table":
        layers, units = dense([spec.shape[0], 256, 128, 128], SLOPE, DROPOUT), 128
    else:
        filters, units = scaled(64, width), scaled(1024, width)
        layers, features = networks.convolutions(spec, 1, [filters, filters], SLOPE)
        layers += dense([features, units], SLOPE, DROPOUT)
    players["critic"] = Critic([Noise(noise)], nn.Sequential(*layers), linear(units, 1))
    return players


# --------------------------------------------------------------------------- scoring


class Search:
    """Scores rows: the least (1 − w)·|x − G(z)| + w·|f(x) − f(G(z))|, L1, on a descent by z.

    Each row starts from whichever of the fixed latent vectors makes the row nearest to it, and
    takes Adam's steps of falling size by itself: losses and moments are its own. So its score
    depends on neither chance nor neighbours, given blocks of one size on one thread.
    """

    def __init__(
        self, spec: ExampleSpec, players: nn.ModuleDict, starts: Tensor, settings: Settings
    ) -> None:
        self.scaling = scaling_of(players)
        self.generator = aligned(copy.deepcopy(players["generator"])).eval().requires_grad_(False)
        critic = aligned(copy.deepcopy(players["critic"])).eval().requires_grad_(False)
        assert isinstance(critic, Critic)
        self.critic = critic
        self.starts = filled_up(starts)
        self.settings = settings
        with torch.no_grad():
            self.made = self.generator(self.starts).flatten(1)

    def __call__(self, rows: FloatRows) -> Scores:
        with _THREADS:
            threads = torch.get_num_threads()
            torch.set_num_threads(1)
            try:
                x = self.scaling(torch.from_numpy(rows))
                x = filled_up(x) if x.ndim == 2 else x
                parts = [self._least(part) for part in x.split(ROWS_AT_ONCE)]
            finally:
                torch.set_num_threads(threads)
        return torch.cat(parts).double().numpy()

    def _least(self, x: Tensor) -> Tensor:
        features = self.critic.features(x)
        z = self.starts[torch.cdist(x.flatten(1), self.made, p=1).argmin(dim=1)]
        mean, square = torch.zeros_like(z), torch.zeros_like(z)
        least = torch.full((len(x),), torch.inf)
        steps, size = self.settings.steps, self.settings.step_size
        for step in range(steps):
            z.requires_grad_()
            losses = self._losses(x, features, z)
            (slope,) = torch.autograd.grad(losses.sum(), z)
            least = torch.minimum(least, losses.detach())
            mean = BETA1 * mean + (1 - BETA1) * slope
            square = BETA2 * square + (1 - BETA2) * slope**2
            unbiased = (square / (1 - BETA2 ** (step + 1))).sqrt() + EPSILON
            falling = size * (1 - step / steps)
            z = z.detach() - falling * mean / (1 - BETA1 ** (step + 1)) / unbiased
        with torch.no_grad():
            return torch.minimum(least, self._losses(x, features, z))

    def _losses(self, x: Tensor, features: Tensor, z: Tensor) -> Tensor:
        weight = self.settings.feature_weight
        made = self.generator(z)
        matching = residual(features, self.critic.features(made))
        return (1 - weight) * residual(x, made) + weight * matching


# --------------------------------------------------------------------------- as arrays


def arrays_of(players: nn.ModuleDict, starts: Tensor, settings: Settings, width: float) -> State:
    """All that `restored` needs."""
    numbers = {**vars(settings), "width": width}
    return {
        **weights_of(players),
        "starts": starts.numpy(),
        **{name: np.array(value, np.float64) for name, value in numbers.items()},
    }


def restored(arrays: State, spec: ExampleSpec) -> Search:
    """The search that those arrays stand for.

    Raises:
        FileFormatError: they are not such as `arrays_of` gives for rows like these.
    """
    numbers = {name: _number(arrays, name, most) for name, most in LARGEST.items()}
    starts = arrays.get("starts", np.empty(0))
    if starts.dtype != np.float32 or starts.ndim != 2 or not starts.size:
        raise FileFormatError("anogan: the starts of the search are not rows of numbers")
    if starts.shape[0] > MOST_STARTS or starts.shape[1] > LARGEST_LATENT_DIM:
        raise FileFormatError(f"anogan: starts of shape {starts.shape} are not plausible")
    with torch.device("meta"):  # only shapes: nothing is allocated at the word of a file
        players = nn.ModuleDict(players_of(spec, starts.shape[1], numbers["width"]))
    expected = players.state_dict()
    found = {name: array for name, array in arrays.items() if name not in {*LARGEST, "starts"}}
    if found.keys() != expected.keys():
        names = ", ".join(sorted(found.keys() ^ expected.keys())[:3])
        raise FileFormatError(f"anogan: arrays are missing or unknown: {names}")
    weights = {name: torch.from_numpy(np.array(array)) for name, array in found.items()}
    for name, weight in weights.items():
        if weight.shape != expected[name].shape or weight.dtype != expected[name].dtype:
            raise FileFormatError(
                f"anogan: {name} is {weight.dtype} of shape {tuple(weight.shape)}, "
                f"not {expected[name].dtype} of shape {tuple(expected[name].shape)}"
            )
    players.load_state_dict(weights, assign=True)
    steps = int(numbers["steps"])
    settings = Settings(steps, numbers["step_size"], numbers["feature_weight"])
    return Search(spec, players, torch.from_numpy(np.array(starts)), settings)


def _number(arrays: State, name: str, most: float) -> float:
    array = arrays.get(name, np.empty(0))
    if array.dtype != np.float64 or array.shape != () or not 0 <= array <= most:
        raise FileFormatError(f"anogan: {name} is not a number from 0 to {most}")
    return float(array)
