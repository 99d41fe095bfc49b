import pytest
import torch

from anoean_cli.examples import ExampleSpec
from anoean_cli.training.distortions import distort, shifted


def images(n: int = 6, channels: int = 1, height: int = 28, width: int = 28) -> torch.Tensor:
    return torch.rand(n, channels, height, width, generator=torch.Generator().manual_seed(0))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_strength_0_changes_nothing():
    assert torch.equal(distort(images(), 0.0, seeded()), images())


def test_a_tiny_strength_changes_next_to_nothing():
    assert torch.allclose(distort(images(), 1e-4, seeded()), images(), atol=0.01)


def test_distortions_are_those_of_the_generator():
    assert torch.equal(distort(images(), 1.0, seeded(3)), distort(images(), 1.0, seeded(3)))
    assert not torch.equal(distort(images(), 1.0, seeded(3)), distort(images(), 1.0, seeded(4)))


def test_each_image_is_distorted_in_its_own_way():
    same = images(1).repeat(8, 1, 1, 1)
    distorted = distort(same, 1.0, seeded())
    assert len({tuple(image.flatten().tolist()) for image in distorted}) == 8


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 8, 20), (2, 40, 9)])
def test_shape_and_range_are_kept(shape):
    distorted = distort(images(5, *shape), 3.0, seeded())
    assert distorted.shape == (5, *shape)
    assert float(distorted.min()) >= 0
    assert float(distorted.max()) <= 1


def test_the_pattern_stays_where_it_was_up_to_the_shift():
    dot = torch.zeros(200, 1, 28, 28)
    dot[:, :, 12:16, 12:16] = 1.0
    distorted = distort(dot, 1.0, seeded())
    rows = torch.arange(28.0)
    mass = distorted.sum(dim=(1, 2, 3))
    centre = (distorted.sum(dim=(1, 3)) * rows).sum(dim=1) / mass
    # 2.5 pixels of shift, stretched by at most 1 / 0.85, and rounding of a small blob
    assert float((centre - 13.5).abs().max()) <= 2.5 / 0.85 + 0.5
    assert float((centre - 13.5).abs().max()) > 1


class Pixels(torch.nn.Module):
    """An encoder that shows what it is given."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)


def test_an_image_is_embedded_as_the_mean_of_it_and_its_neighbours():
    dot = torch.zeros(1, 1, 28, 28)
    dot[..., 10, 10] = 5.0
    seen = shifted(Pixels(), image_spec(28, 28))(dot).reshape(28, 28)
    cross = {(10, 10), (9, 10), (11, 10), (10, 9), (10, 11)}
    assert {tuple(at) for at in seen.nonzero().tolist()} == cross
    assert seen[seen > 0].tolist() == pytest.approx([1.0] * 5)


def test_what_comes_in_at_a_border_is_as_the_border_was():
    white = torch.ones(2, 3, 28, 30)
    assert torch.allclose(shifted(Pixels(), image_spec(28, 30, 3))(white), white.flatten(1))


@pytest.mark.parametrize(("side", "pixels"), [(14, 0), (28, 1), (56, 2)])
def test_steps_go_by_the_size_of_images(side, pixels):
    dot = torch.zeros(1, 1, 64, side)
    dot[..., 8, 8] = 1.0
    seen = shifted(Pixels(), image_spec(64, side))(dot).reshape(64, side)
    assert int(seen.nonzero()[:, 0].max()) == 8 + pixels


def image_spec(height: int, width: int, channels: int = 1) -> ExampleSpec:
    return ExampleSpec("image", (channels, height, width))
