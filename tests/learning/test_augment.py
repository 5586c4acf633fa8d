from __future__ import annotations

import pytest
import torch

from fedmed.learning.augment import MASKED, TABLE, none, xray


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


GRIDS = pytest.mark.parametrize("grid", [(24, 24), (24, 16), (12, 16, 20)])


def masked_batch(*grid: int, count: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth images whose mask is where they are bright."""
    axes = torch.meshgrid(*(torch.linspace(-1, 1, side) for side in grid), indexing="ij")
    x = sum(((axis - 0.25 * (1 + number)) ** 2 for number, axis in enumerate(axes)), torch.zeros(grid))
    x = (0.3 - x).expand(count, 1, *grid).clone()
    return x, (x[:, 0] > 0).to(torch.uint8)


@GRIDS
@pytest.mark.parametrize("name", MASKED)
def test_a_mask_stays_on_its_image(name, grid):
    x, y = masked_batch(*grid)
    made, mask = MASKED[name](x, y, seeded(3))
    assert (made.shape, made.dtype) == (x.shape, x.dtype)
    assert (mask.shape, mask.dtype) == (y.shape, torch.uint8)
    assert torch.isfinite(made).all()
    for image, drawn in zip(made[:, 0], mask.bool(), strict=True):
        # tone is monotone within an image: the voxels of the mask are the brightest, but for those at its border
        assert drawn.any()
        assert (image[drawn].unsqueeze(0) > image[~drawn].unsqueeze(1)).float().mean() > 0.97


@GRIDS
@pytest.mark.parametrize("name", [name for name in MASKED if name != "none"])
def test_every_pair_is_changed_in_its_own_way_by_the_generator_alone(name, grid):
    x, y = masked_batch(*grid)
    before = x.clone(), y.clone()
    first, again, other = (MASKED[name](x, y, seeded(seed)) for seed in (3, 3, 4))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    assert len({image.numpy().tobytes() for image in first[0]}) > 1
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])


def test_a_mirror_changes_no_value():
    x, y = masked_batch(8, 12)
    made, mask = MASKED["mirror"](x, y, seeded(0))
    torch.testing.assert_close(made.flatten(1).sort(1).values, x.flatten(1).sort(1).values)
    assert torch.equal(mask.flatten(1).sum(1), y.flatten(1).sum(1))


@GRIDS
def test_a_turned_box_keeps_its_size(grid):
    """A rotation in voxels, whatever the sides: areas change by the scale alone."""
    y = torch.zeros(40, *grid, dtype=torch.uint8)
    y[(slice(None), *(slice(side // 2 - 3, side // 2 + 3) for side in grid))] = 1
    made = MASKED["scan"](torch.zeros(40, 1, *grid), y, seeded(1))[1]
    share = made.flatten(1).sum(1) / y.flatten(1).sum(1)
    assert share.min() > 0.85 ** len(grid) * 0.6
    assert share.max() < (1 / 0.85) ** len(grid) * 1.4
    assert abs(float(share.mean()) - 1) < 0.15
