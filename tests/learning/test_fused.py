from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fedmed.learning import fused
from fedmed.preprocess.fused import backends, twin
from fedmed.preprocess.fused.augmentation import bound

BACKENDS = [name for name, state in backends.report().items() if state == "runs"]
NAMES = pytest.mark.parametrize("name", fused.RECIPES)
sides = st.integers(1, 14)
batches = st.tuples(st.integers(1, 3), st.integers(1, 2), sides, sides) | st.tuples(
    st.integers(1, 3), st.integers(1, 2), sides, sides, sides
)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pairs(shape: tuple[int, ...], seed: int) -> tuple[Tensor, Tensor]:
    """Standardised images and masks of four classes."""
    x = torch.randn(shape, generator=seeded(seed))
    return x, torch.randint(4, (shape[0], *shape[2:]), generator=seeded(seed + 1), dtype=torch.uint8)


def under(name: str, monkeypatch: pytest.MonkeyPatch, recipe: str, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    monkeypatch.setenv(backends.VARIABLE, name)
    return fused.masked(fused.RECIPES[recipe], x, y, seeded(5))


@NAMES
@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=20, deadline=None)
@given(batches, st.integers(0, 1000))
def test_every_back_end_stays_within_the_bound_of_the_definition(name, backend, shape, seed):
    x, y = pairs(shape, seed)
    ranges = fused.RECIPES[name]
    parameters = fused.drawn(ranges, x, seeded(5))
    values = fused.values_of(x)
    with pytest.MonkeyPatch.context() as patch:
        made, mask = under(backend, patch, name, x, y)
        assert torch.equal(fused.images(ranges, x, seeded(5)), made)
    wanted = twin.augment(x.numpy(), parameters, values=values)
    assert np.abs(made.numpy().astype(np.float64) - wanted).max() <= bound(x.numpy(), parameters, values, 0.0)
    assert np.array_equal(mask.numpy(), twin.augment_labels(y[:, None].numpy(), parameters)[:, 0])
    assert (made.shape, made.dtype, mask.shape, mask.dtype) == (x.shape, x.dtype, y.shape, y.dtype)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", [(5, 2, 9, 11), (5, 1, 6, 9, 11)])
def test_the_number_of_threads_changes_no_bit(backend, shape, monkeypatch):
    x, y = pairs(shape, 1)
    before, made = torch.get_num_threads(), []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            made.append(under(backend, monkeypatch, "fused-scan", x, y))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(*made, strict=True))


@NAMES
@pytest.mark.parametrize("grid", [(40, 48), (24, 40, 48)])
def test_a_ball_and_its_mask_move_together(name, grid):
    """Off the middle, so that turns, scales and flips move it; the mask is where the image is bright, before and after."""
    axes = torch.meshgrid(*(torch.arange(side, dtype=torch.float32) for side in grid), indexing="ij")
    squares = sum(
        (axis - (0.5 + 0.12 * turn) * len_ + 1) ** 2 for turn, (axis, len_) in enumerate(zip(axes, grid, strict=True))
    )
    ball = torch.sigmoid((8 - torch.sqrt(torch.as_tensor(squares))) * 2).expand(20, *grid)
    mask = (ball > 0.5).to(torch.uint8)
    made, moved = fused.masked(fused.RECIPES[name], ball[:, None].contiguous(), mask, seeded(2))
    middles = (made.flatten(1).amin(1) + made.flatten(1).amax(1)) / 2
    bright = made[:, 0] > middles.view(-1, *[1] * len(grid))
    both, either = (bright & (moved > 0)).flatten(1).sum(1), (bright | (moved > 0)).flatten(1).sum(1)
    assert (both / either).min() > 0.85
    stayed = ((mask > 0) & (moved > 0)).flatten(1).sum(1) / ((mask > 0) | (moved > 0)).flatten(1).sum(1)
    assert stayed.min() < 0.8


@NAMES
def test_one_number_is_drawn_whatever_the_batch(name):
    """What follows in a round does not depend on what the kernels needed."""
    states = []
    for shape in ((2, 1, 8, 8), (5, 3, 4, 8, 8)):
        generator = seeded(9)
        fused.images(fused.RECIPES[name], pairs(shape, 0)[0], generator)
        states.append(generator.get_state())
    assert torch.equal(*states)


def test_batches_of_one_value_stay_finite_and_a_table_is_refused():
    for value in (0.0, -3.0, 1e6):
        made = fused.images(fused.SCAN, torch.full((2, 1, 4, 8, 8), value), seeded(0))
        assert torch.allclose(made, torch.tensor(value), rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="must be"):
        fused.images(fused.SCAN, torch.zeros(4, 3), seeded(0))


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_adopted_is_not_copied_and_not_changed(backend):
    module = backends.chosen(backend)
    x = torch.rand(3, 4, generator=seeded(0))
    adopted = module.adopted(x)
    assert np.array_equal(module.to_host(adopted), x.numpy())
    if backend != "cupy":
        assert np.shares_memory(adopted, x.numpy())
