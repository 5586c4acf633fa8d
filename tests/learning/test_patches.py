from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.config.scenario import Patches
from fedmed.learning.patches import Sampler, padded


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbered(*grid: int, count: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Images whose voxels name their own place, and masks with few voxels in front."""
    x = torch.arange(count * int(np.prod(grid)), dtype=torch.float32).reshape(count, 1, *grid)
    y = torch.zeros(count, *grid, dtype=torch.uint8)
    y.reshape(count, -1)[:, 3] = 1
    y.reshape(count, -1)[:, -2] = 2
    return x, y


@settings(deadline=None, max_examples=50)
@given(st.data(), st.integers(2, 3))
def test_patches_lie_inside_and_image_and_mask_at_the_same_place(data, axes):
    grid = [data.draw(st.integers(2, 9)) for _ in range(axes)]
    size = tuple(data.draw(st.integers(1, side)) for side in grid)
    x, _ = numbered(*grid)
    y = (x[:, 0] % 251).to(torch.uint8)
    patches = Patches(size=size, foreground=data.draw(st.sampled_from([0.0, 0.5, 1.0])))
    images, masks = Sampler(x, y, patches, seeded(data.draw(st.integers(0, 99)))).batch(torch.tensor([1, 0, 1]))
    assert images.shape == (3, 1, *size)
    assert masks.shape == (3, *size)
    assert torch.equal((images[:, 0] % 251).to(torch.uint8), masks)


@pytest.mark.parametrize("grid", [(20, 30), (8, 9, 10)])
def test_a_foreground_patch_holds_foreground_of_each_class_alike(grid):
    x, y = numbered(*grid)
    sampler = Sampler(x, y, Patches(size=(3,) * len(grid), foreground=1.0), seeded())
    _, masks = sampler.batch(torch.zeros(200, dtype=torch.int64))
    assert all(mask.any() for mask in masks)
    ones = sum(bool((mask == 1).any()) for mask in masks)
    assert 60 < ones < 140


def test_the_share_of_foreground_is_a_share():
    x, y = numbered(40, 40)
    _, masks = Sampler(x, y, Patches(size=(3, 3), foreground=0.5), seeded()).batch(torch.zeros(400, dtype=torch.int64))
    assert 150 < sum(bool(mask.any()) for mask in masks) < 250
    _, masks = Sampler(x, y, Patches(size=(3, 3), foreground=0.0), seeded()).batch(torch.zeros(400, dtype=torch.int64))
    assert sum(bool(mask.any()) for mask in masks) < 40


def test_patches_anywhere_reach_every_corner():
    x, y = numbered(6, 6, count=1)
    images, _ = Sampler(x, y, Patches(size=(3, 3), foreground=0.0), seeded()).batch(torch.zeros(300, dtype=torch.int64))
    assert {int(image[0, 0, 0]) for image in images} == {6 * row + column for row in range(4) for column in range(4)}


def test_the_generator_alone_decides():
    x, y = numbered(12, 12)
    rows = torch.tensor([0, 1] * 8)
    patches = Patches(size=(4, 4))
    first = Sampler(x, y, patches, seeded(5)).batch(rows)
    again = Sampler(x, y, patches, seeded(5)).batch(rows)
    other = Sampler(x, y, patches, seeded(6)).batch(rows)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


def test_a_case_smaller_than_a_patch_is_padded_behind():
    x, y = numbered(3, 4)
    images, masks = Sampler(x, y, Patches(size=(5, 4), foreground=1.0), seeded()).batch(torch.tensor([1]))
    assert torch.equal(images[0, :, :3], x[1])
    assert not images[0, :, 3:].any()
    assert torch.equal(masks[0, :3], y[1])
    assert padded(x, (2, 2)) is x
