"""The game of ALAD: a BiGAN with critics of (x, x) and (z, z), all spectrally normalised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from anoean_cli.interfaces import ExampleSpec
from anoean_cli.training.losses import Terms
from anoean_plugins.gans import networks
from anoean_plugins.gans.networks import (
    Critic,
    Noise,
    Scaling,
    critic_of,
    dense,
    linear,
    normalised,
    scaled,
)
from anoean_plugins.gans.training import (
    Scorer,
    module_scorer,
    passed_off,
    residual,
    shunned,
    told_apart,
)

SLOPE = 0.2
DROPOUT = 0.2
PAIR_DROPOUT = {"table": 0.5, "image": 0.2}


class Alad:
    """The game; its score is |f_xx(x, x) − f_xx(x, G(E(x)))|, L1."""

    critics: ClassVar[tuple[str, ...]] = ("critic_xz", "critic_xx", "critic_zz")

    def __init__(self, spec: ExampleSpec, noise: float, spectral_norm: bool, score: str) -> None:
        self.spec = spec
        self.noise = noise
        self.spectral_norm = spectral_norm
        self.score = score

    def build(self, latent_dim: int, width: float) -> dict[str, nn.Module]:
        spec = self.spec
        batch_norm = not self.spectral_norm  # it would undo what a bounded norm is for
        players = {
            "scaling": Scaling(spec),
            "generator": networks.generator(spec, latent_dim, width),
            "encoder": networks.encoder(spec, latent_dim, width, SLOPE),
            "critic_xz": pair_critic(spec, latent_dim, width, self.noise, batch_norm),
            "critic_xx": example_critic(spec, width, self.noise),
            "critic_zz": latent_critic(spec, latent_dim, width),
        }
        if self.spectral_norm:
            for name in ("encoder", *self.critics):
                normalised(players[name])
        return players

    def make(self, players: nn.ModuleDict, x: Tensor, z: Tensor) -> tuple[Tensor, ...]:
        fake, code = players["generator"](z), players["encoder"](x)
        return fake, code, players["generator"](code), players["encoder"](fake)

    def critic_terms(
        self, players: nn.ModuleDict, x: Tensor, z: Tensor, made: Sequence[Tensor]
    ) -> Terms:
        fake, code, x_again, z_again = made
        xz, xx, zz = (critic_of(players, name) for name in self.critics)
        return {
            **told_apart("d_xz", *xz.both((x, code), (fake, z))),
            **told_apart("d_xx", *xx.both((x, x), (x, x_again))),
            **told_apart("d_zz", *zz.both((z, z), (z, z_again))),
        }

    def maker_terms(
        self, players: nn.ModuleDict, x: Tensor, z: Tensor, made: Sequence[Tensor]
    ) -> Terms:
        fake, code, x_again, z_again = made
        xz, xx, zz = (critic_of(players, name) for name in self.critics)
        real_logits, fake_logits = xz.both((x, code), (fake, z))
        return {
            "g_xz": passed_off(fake_logits),
            "e_xz": shunned(real_logits),
            "ge_xx": passed_off(xx(x, x_again)),
            "ge_zz": passed_off(zz(z, z_again)),
        }

    def scorer(self, players: nn.ModuleDict) -> Scorer:
        return module_scorer(AladScore(self, players))


class AladScore(nn.Module):
    """From rows to scores (n,)."""

    def __init__(self, game: Alad, players: nn.ModuleDict) -> None:
        super().__init__()
        self.players = players
        self.score = game.score

    def forward(self, rows: Tensor) -> Tensor:
        x = self.players["scaling"](rows)
        rebuilt = self.players["generator"](self.players["encoder"](x))
        if self.score == "l1":
            return residual(x, rebuilt)
        features = critic_of(self.players, "critic_xx").features
        return residual(features(x, x), features(x, rebuilt))


def pair_critic(
    spec: ExampleSpec, latent_dim: int, width: float, noise: float, batch_norm: bool
) -> Critic:
    """D(x, z). Tables: 128 for each, 128 on both. Images: convolutions and 512, 512, then 1024."""
    dropout = PAIR_DROPOUT[spec.kind]
    if spec.kind == "table":
        features, of_z, units = 128, [128], 128
        norm = [nn.BatchNorm1d(features)] if batch_norm else []
        of_x = [linear(spec.shape[0], features), *norm, nn.LeakyReLU(SLOPE)]
    else:
        filters, size, units = (scaled(size, width) for size in (64, 512, 1024))
        of_z = [size, size]
        of_x, features = networks.convolutions(
            spec, 1, [filters, filters], SLOPE, batch_norm=batch_norm
        )
    return Critic(
        [
            nn.Sequential(Noise(noise), *of_x),
            nn.Sequential(*dense([latent_dim, *of_z], SLOPE, dropout)),
        ],
        nn.Sequential(*dense([features + of_z[-1], units], SLOPE, dropout)),
        linear(units, 1),
    )


def example_critic(spec: ExampleSpec, width: float, noise: float) -> Critic:
    """D(x, x'). Tables: 128. Images: 5×5 convolutions of 64 and 128 filters on both at once."""
    both = [Noise(noise), Noise(noise)]
    if spec.kind == "table":
        layers, features = dense([2 * spec.shape[0], 128], SLOPE, DROPOUT), 128
    else:
        filters = [scaled(size, width) for size in (64, 128)]
        layers, features = networks.convolutions(
            spec, 2, filters, SLOPE, DROPOUT, batch_norm=False, kernel=5
        )
    return Critic(both, nn.Sequential(*layers), linear(features, 1))


def latent_critic(spec: ExampleSpec, latent_dim: int, width: float) -> Critic:
    """D(z, z'). Tables: 32. Images: 64, 32."""
    units = [32] if spec.kind == "table" else [64, 32]
    layers = dense([2 * latent_dim, *units], SLOPE, DROPOUT)
    return Critic([nn.Identity(), nn.Identity()], nn.Sequential(*layers), linear(units[-1], 1))
