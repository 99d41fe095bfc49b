"""Networks of the generative adversarial detectors.

For tables they are those that Zenati et al. publish for KDD99, for images those for MNIST, in
*Efficient GAN-Based Anomaly Detection* (2018, appendix and code): of their BiGAN and of the AnoGAN
that they compare it with. Images of other sizes are halved more often.

E has an activation behind its first convolution of images. Their code got it only in November 2018
(its issue 11), after the publication. Batch normalisation has PyTorch's constants, 1e-5 beside the
variance and a decay of 0.9; theirs are TensorFlow's, 1e-3 and 0.99. That decay forgets its first
values over hundreds of steps, while an epoch can have 50 here.

*Adversarially Learned Anomaly Detection* (Zenati et al. 2018) keeps E and G for KDD99. For colour
images of 32 × 32 it has deeper ones, of 128 to 512 filters. Here its images get those for MNIST as
well, so that the three detectors differ by their games and not by their size.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from anoean_cli.interfaces import ExampleSpec

SMALLEST_MAP = 8  # images are halved until no side is longer
ALIGNED = 16


def dense(sizes: Sequence[int], slope: float, dropout: float = 0.0) -> list[nn.Module]:
    """Linear layers between those sizes, each with a (leaky) ReLU and dropout behind it."""
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [linear(before, after), nn.LeakyReLU(slope)]
        layers += [nn.Dropout(dropout)] if dropout else []
    return layers


def linear(before: int, after: int) -> nn.Linear:
    """Weights by Glorot's rule and biases of zero, as published for tables.

    For images N(0, 0.02²) is published, by ALAD N(0, 0.01²). Glorot's rule comes to about 0.02 in
    large layers of full width and to more in narrow ones, which learn more slowly from weights
    that small. Convolutions begin as PyTorch has them for the same reason.
    """
    layer = nn.Linear(before, after)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def generator(spec: ExampleSpec, latent_dim: int, width: float) -> nn.Sequential:
    """z → x. Tables: 64, 128. Images: 1024, then maps of 128 and 64 filters, doubled each time."""
    if spec.kind == "table":
        return nn.Sequential(*dense([latent_dim, 64, 128], 0.0), linear(128, spec.shape[0]))
    channels, height, width_ = spec.shape
    halvings, rows, columns = _halved(height, width_)
    units, deep, shallow = (scaled(size, width) for size in (1024, 128, 64))
    layers: list[nn.Module] = [linear(latent_dim, units), nn.BatchNorm1d(units), nn.ReLU()]
    layers += [linear(units, deep * rows * columns), nn.BatchNorm1d(deep * rows * columns)]
    layers += [nn.ReLU(), nn.Unflatten(1, (deep, rows, columns))]
    before = deep
    for _ in range(halvings - 1):
        layers += [nn.ConvTranspose2d(before, shallow, 4, stride=2, padding=1)]
        layers += [nn.BatchNorm2d(shallow), nn.ReLU()]
        before = shallow
    layers += [nn.ConvTranspose2d(before, channels, 4, stride=2, padding=1), nn.Tanh()]
    return nn.Sequential(*layers, Cropped(height, width_))


def encoder(spec: ExampleSpec, latent_dim: int, width: float, slope: float) -> nn.Sequential:
    """x → z. Tables: 64. Images: 3×3 convolutions of 32 filters, then of stride 2 with 64, 128."""
    if spec.kind == "table":
        return nn.Sequential(*dense([spec.shape[0], 64], slope), linear(64, latent_dim))
    channels, height, width_ = spec.shape
    halvings, rows, columns = _halved(height, width_)
    filters = [scaled(size, width) for size in (32, 64, *[128] * (halvings - 1))]
    layers: list[nn.Module] = [nn.Conv2d(channels, filters[0], 3, padding=1), nn.LeakyReLU(slope)]
    for before, after in pairwise(filters):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after)]
        layers += [nn.LeakyReLU(slope)]
    layers += [nn.Flatten(), linear(filters[-1] * rows * columns, latent_dim)]
    return nn.Sequential(*layers)


def convolutions(
    spec: ExampleSpec,
    inputs: int,
    filters: Sequence[int],
    slope: float,
    dropout: float = 0.0,
    batch_norm: bool = True,
    kernel: int = 4,
) -> tuple[list[nn.Module], int]:
    """Convolutions of stride 2, the first without batch normalisation, and flattened.

    Returns the layers and how many features they give.
    """
    channels, height, width = spec.shape
    halvings, rows, columns = _halved(height, width)
    sizes = [inputs * channels, *filters, *[filters[-1]] * (halvings - len(filters))]
    layers: list[nn.Module] = []
    for at, (before, after) in enumerate(pairwise(sizes)):
        layers.append(nn.Conv2d(before, after, kernel, stride=2, padding=(kernel - 1) // 2))
        layers += [nn.BatchNorm2d(after)] if at and batch_norm else []
        layers.append(nn.LeakyReLU(slope))
        layers += [nn.Dropout(dropout)] if dropout else []
    return [Even(2**halvings), *layers, nn.Flatten()], sizes[-1] * rows * columns


class Critic(nn.Module):
    """A discriminator of one input or two: a branch for each, a trunk on both, a logit."""

    def __init__(self, branches: Sequence[nn.Module], trunk: nn.Module, logit: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.trunk = trunk
        self.logit = logit

    def both(self, real: Sequence[Tensor], fake: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Logits of two batches, in one pass unless batch normalisation would mix them."""
        if any(isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d) for part in self.modules()):
            return self(*real), self(*fake)
        logits = self(*(torch.cat(pair) for pair in zip(real, fake, strict=True)))
        return logits[: len(real[0])], logits[len(real[0]) :]

    def features(self, *inputs: Tensor) -> Tensor:
        """(n, k): the layer before the logit."""
        parts = [branch(value) for branch, value in zip(self.branches, inputs, strict=True)]
        features: Tensor = self.trunk(torch.cat(parts, dim=1))
        return features

    def forward(self, *inputs: Tensor) -> Tensor:
        """(n,) logits."""
        logits: Tensor = self.logit(self.features(*inputs)).flatten()
        return logits


def critic_of(players: nn.ModuleDict, name: str = "critic") -> Critic:
    critic = players[name]
    assert isinstance(critic, Critic)
    return critic


class Noise(nn.Module):
    """Gaussian noise on what a critic is shown in training, real or made (Sønderby et al. 2017)."""

    def __init__(self, deviation: float) -> None:
        super().__init__()
        self.deviation = deviation

    def forward(self, examples: Tensor) -> Tensor:
        if not self.training or not self.deviation:
            return examples
        return examples + self.deviation * torch.randn_like(examples)


class Scaling(nn.Module):
    """From preprocessed rows to what the networks take: images from 0…1 to −1…1, the range of
    tanh; the columns of tables so that normals lie in 0…1."""

    low: Tensor
    span: Tensor

    def __init__(self, spec: ExampleSpec) -> None:
        super().__init__()
        low, span = (0.5, 0.5) if spec.kind == "image" else (0.0, 1.0)
        shape = () if spec.kind == "image" else spec.shape
        self.register_buffer("low", torch.full(shape, low))
        self.register_buffer("span", torch.full(shape, span))

    def fit(self, normals: Tensor) -> None:
        """A column in which normals do not differ is moved only."""
        self.low = normals.amin(dim=0)
        span = normals.amax(dim=0) - self.low
        self.span = torch.where(span > 0, span, 1.0)

    def forward(self, rows: Tensor) -> Tensor:
        return (rows - self.low) / self.span


def scaling_of(players: nn.ModuleDict) -> Scaling:
    scaling = players["scaling"]
    assert isinstance(scaling, Scaling)
    return scaling


class Cropped(nn.Module):
    """What halving rounded up, cut off again."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, images: Tensor) -> Tensor:
        return images[:, :, : self.height, : self.width]


class Even(nn.Module):
    """Images padded with their darkest value until their sides are multiples."""

    def __init__(self, multiple: int) -> None:
        super().__init__()
        self.multiple = multiple

    def forward(self, images: Tensor) -> Tensor:
        below, right = (-side % self.multiple for side in images.shape[2:])
        if not below and not right:
            return images
        return functional.pad(images, (0, right, 0, below), value=-1.0)


def scaled(size: int, width: float) -> int:
    return max(1, round(size * width / ALIGNED)) * ALIGNED


def filled_up(rows: Tensor) -> Tensor:
    """(n, k) → zeros behind, until k is a multiple of 16.

    Sums over other widths, and matrix products with them, come out differently in the last bits
    depending on where in a block a row stands.
    """
    missing = -rows.shape[1] % ALIGNED
    return functional.pad(rows, (0, missing)) if missing else rows


def aligned(module: nn.Module) -> nn.Module:
    """Fill up the weights of all linear layers inside likewise: for rows that are filled up."""
    for name, part in module.named_children():
        if isinstance(part, nn.Linear):
            weight = filled_up(filled_up(part.weight.detach()).T).T.contiguous()
            layer = nn.Linear(1, 1, device="meta")
            layer.weight = nn.Parameter(weight, requires_grad=False)
            layer.bias = nn.Parameter(filled_up(part.bias.detach()[None])[0], requires_grad=False)
            setattr(module, name, layer)
        else:
            aligned(part)
    return module


def _halved(height: int, width: int) -> tuple[int, int, int]:
    """How often an image is halved, at least twice, and the sides of the map that remains."""
    halvings = 2
    while max(height, width) > SMALLEST_MAP * 2**halvings:
        halvings += 1
    return halvings, -(-height // 2**halvings), -(-width // 2**halvings)


class Spectral(nn.Module):
    """A layer whose weight is divided by its largest singular value (Miyato et al. 2018).

    One step of the power iteration each time it is used in training follows that value.
    """

    left: Tensor

    def __init__(self, layer: nn.Linear | nn.Conv2d) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("left", functional.normalize(torch.randn(len(layer.weight)), dim=0))

    def forward(self, rows: Tensor) -> Tensor:
        matrix = self.layer.weight.flatten(1)
        with torch.no_grad():
            right = functional.normalize(self.left @ matrix, dim=0)
            if self.training:
                self.left = functional.normalize(matrix @ right, dim=0)
        layer, weight = self.layer, self.layer.weight / (self.left @ matrix @ right)
        if isinstance(layer, nn.Linear):
            return functional.linear(rows, weight, layer.bias)
        return functional.conv2d(rows, weight, layer.bias, layer.stride, layer.padding)

    def plain(self) -> nn.Module:
        """The layer with the normalised weight, by its exact norm."""
        layer = copy.deepcopy(self.layer)
        norm = torch.linalg.matrix_norm(layer.weight.detach().flatten(1), ord=2)
        layer.weight.data /= norm
        return layer


def normalised(module: nn.Module) -> nn.Module:
    """Bind the spectral norm of every layer inside to 1, except the last, as published."""
    layers = [(n, p) for n, p in module.named_modules() if isinstance(p, nn.Linear | nn.Conv2d)]
    for name, layer in layers[:-1]:
        parent, _, child = name.rpartition(".")
        setattr(module.get_submodule(parent), child, Spectral(layer))
    return module


def folded(module: nn.Module) -> nn.Module:
    """A copy for scoring, in evaluation mode, spectral normalisation made plain weights."""
    plain = copy.deepcopy(module)
    _fold(plain)
    return plain.eval().requires_grad_(False)


def _fold(module: nn.Module) -> None:
    for name, part in module.named_children():
        if isinstance(part, Spectral):
            setattr(module, name, part.plain())
        else:
            _fold(part)
