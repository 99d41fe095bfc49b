import pytest
import torch

from anoean_cli.training.distortions import distort


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
