from __future__ import annotations

import pytest
import torch

from fedmed.learning.augment import TABLE, none, xray


def batch(count: int = 16, channels: int = 1) -> torch.Tensor:
    """A bright block at the upper left of each image."""
    x = torch.rand(count, channels, 32, 32, generator=torch.Generator().manual_seed(1)) * 0.2
    x[:, :, 6:14, 4:12] += 0.7
    return x


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("channels", [1, 3])
def test_shape_and_type_stay_and_values_are_finite(name, channels):
    x = batch(channels=channels)
    made = TABLE[name](x, seeded(0))
    assert (made.shape, made.dtype) == (x.shape, x.dtype)
    assert torch.isfinite(made).all()


@pytest.mark.parametrize("x", [torch.zeros(4, 1, 8, 8), torch.ones(4, 1, 8, 8), torch.full((4, 1, 8, 8), -3.0)])
def test_extreme_images_stay_finite(x):
    assert torch.isfinite(xray(x, seeded(0))).all()


def test_the_generator_alone_decides():
    x = batch()
    torch.manual_seed(5)
    first = xray(x, seeded(7))
    torch.manual_seed(6)
    assert torch.equal(xray(x, seeded(7)), first)
    assert not torch.equal(xray(x, seeded(8)), first)


def test_every_image_of_a_batch_is_changed_in_its_own_way():
    made = xray(batch(1).expand(6, -1, -1, -1), seeded(0))
    assert len({image.numpy().tobytes() for image in made}) == 6


def test_the_batch_itself_is_not_changed():
    x = batch()
    before = x.clone()
    xray(x, seeded(0))
    assert torch.equal(x, before)


def test_none_is_none():
    x = batch()
    assert none(x, seeded(0)) is x


def test_changes_are_small_and_no_mirror_images():
    """The heart is on the left: the block must stay in its quarter."""
    made = xray(batch(200), seeded(3))
    weight = (made[:, 0] - made[:, 0].amin((1, 2), keepdim=True)) ** 2
    places = torch.arange(32, dtype=torch.float32)
    down = (weight.sum(2) * places).sum(1) / weight.sum((1, 2))
    right = (weight.sum(1) * places).sum(1) / weight.sum((1, 2))
    assert (down < 16).all()
    assert (right < 16).all()
    assert 0.5 < right.std() < 4
    assert abs(float(made.mean() - batch(200).mean())) < 0.1
