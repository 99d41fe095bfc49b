"""The BiGAN of EGBAD: generator and encoder against a critic of pairs (x, z)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from anoean_cli.interfaces import ExampleSpec
from anoean_cli.training.losses import Terms
from anoean_plugins.gans import networks
from anoean_plugins.gans.networks import Critic, Noise, Scaling, critic_of, dense, linear, scaled
from anoean_plugins.gans.training import (
    Scorer,
    module_scorer,
    passed_off,
    residual,
    shunned,
    told_apart,
)

SLOPE = 0.1
DROPOUT = {"table": 0.2, "image": 0.5}


class BiGan:
    """The game; its score is (1 − w)·|x − G(E(x))| + w·|f(x, E(x)) − f(G(E(x)), E(x))|, L1."""

    critics: ClassVar[tuple[str, ...]] = ("critic",)

    def __init__(self, spec: ExampleSpec, noise: float, feature_weight: float) -> None:
        self.spec = spec
        self.noise = noise
        self.feature_weight = feature_weight

    def build(self, latent_dim: int, width: float) -> dict[str, nn.Module]:
        return {
            "scaling": Scaling(self.spec),
            "generator": networks.generator(self.spec, latent_dim, width),
            "encoder": networks.encoder(self.spec, latent_dim, width, SLOPE),
            "critic": pair_critic(self.spec, latent_dim, width, self.noise),
        }

    def make(self, players: nn.ModuleDict, x: Tensor, z: Tensor) -> tuple[Tensor, ...]:
        return players["generator"](z), players["encoder"](x)

    def critic_terms(
        self, players: nn.ModuleDict, x: Tensor, z: Tensor, made: Sequence[Tensor]
    ) -> Terms:
        fake, code = made
        return told_apart("d", *critic_of(players).both((x, code), (fake, z)))

    def maker_terms(
        self, players: nn.ModuleDict, x: Tensor, z: Tensor, made: Sequence[Tensor]
    ) -> Terms:
        fake, code = made
        real_logits, fake_logits = critic_of(players).both((x, code), (fake, z))
        return {"g": passed_off(fake_logits), "e": shunned(real_logits)}

    def scorer(self, players: nn.ModuleDict) -> Scorer:
        return module_scorer(BiGanScore(self, players))


class BiGanScore(nn.Module):
    """From rows to scores (n,)."""

    def __init__(self, game: BiGan, players: nn.ModuleDict) -> None:
        super().__init__()
        self.players = players
        self.weight = game.feature_weight

    def forward(self, rows: Tensor) -> Tensor:
        x = self.players["scaling"](rows)
        z = self.players["encoder"](x)
        rebuilt = self.players["generator"](z)
        features = critic_of(self.players).features
        matching = residual(features(x, z), features(rebuilt, z))
        return (1 - self.weight) * residual(x, rebuilt) + self.weight * matching


def pair_critic(spec: ExampleSpec, latent_dim: int, width: float, noise: float) -> Critic:
    """D(x, z). Tables: 128 for each, 128 on both. Images: convolutions and 512, then 1024."""
    dropout = DROPOUT[spec.kind]
    if spec.kind == "table":
        of_x, of_z, units = dense([spec.shape[0], 128], SLOPE, dropout), 128, 128
        features = 128
    else:
        filters, of_z, units = (scaled(size, width) for size in (64, 512, 1024))
        of_x, features = networks.convolutions(spec, 1, [filters, filters], SLOPE, dropout)
    return Critic(
        [
            nn.Sequential(Noise(noise), *of_x),
            nn.Sequential(*dense([latent_dim, of_z], SLOPE, dropout)),
        ],
        nn.Sequential(*dense([features + of_z, units], SLOPE, dropout)),
        linear(units, 1),
    )
