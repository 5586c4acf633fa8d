from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fedmed.config.scenario import Patches
from fedmed.learning.windows import gaussian, predict_case, windows_of

CPU = torch.device("cpu")


class Edges(nn.Module):
    """What it says of a voxel depends on where the voxel lies in the window."""

    def __init__(self, axes: int, outputs: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = {2: nn.Conv2d, 3: nn.Conv3d}[axes](1, outputs, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) * 3


def image(*grid: int) -> torch.Tensor:
    return torch.randn(1, *grid, generator=torch.Generator().manual_seed(1))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(1, 12), st.integers(0, 9)), min_size=1, max_size=3), st.floats(0, 0.95))
def test_windows_cover_the_grid_and_stay_inside(sides, overlap):
    size = [want for want, _ in sides]
    grid = [want + more for want, more in sides]
    seen = np.zeros(grid, int)
    for window in windows_of(grid, size, overlap):
        assert all(one.start >= 0 and one.stop <= side for one, side in zip(window, grid, strict=True))
        seen[window] += 1
    assert (seen > 0).all()
    if overlap == 0:
        assert seen.max() <= 2 ** len(grid)


@pytest.mark.parametrize(("grid", "size"), [((40, 48), (16, 24)), ((12, 20, 16), (8, 8, 8))])
def test_it_is_monais_sliding_window_on_probabilities(grid, size):
    inferers = importlib.import_module("monai.inferers")  # seconds, which every worker would spend that collects this file
    model = Edges(len(grid)).eval()
    x = image(*grid)
    ours = predict_case(model, x, Patches(size=size, overlap=0.5), CPU)
    with torch.inference_mode():
        theirs = inferers.sliding_window_inference(
            x[None], size, 4, lambda part: torch.sigmoid(model(part)), overlap=0.5, mode="gaussian", sigma_scale=0.125
        )
    assert ours.shape == (2, *grid)
    torch.testing.assert_close(ours[1], theirs[0, 0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_a_network_that_looks_at_single_voxels_gives_what_it_gives_the_whole(overlap):
    model = nn.Conv2d(1, 3, 1)
    x = image(21, 34)
    found = predict_case(model, x, Patches(size=(8, 16), overlap=overlap), CPU)
    with torch.inference_mode():
        whole = torch.softmax(model(x[None]), 1)[0]
    torch.testing.assert_close(found, whole)
    torch.testing.assert_close(predict_case(model, x, None, CPU), whole)


def test_an_image_smaller_than_a_window_is_padded_and_cut_back():
    model = nn.Conv2d(1, 1, 1)
    found = predict_case(model, image(5, 40), Patches(size=(8, 16)), CPU)
    assert found.shape == (2, 5, 40)
    torch.testing.assert_close(found.sum(0), torch.ones(5, 40))


def test_a_windows_middle_weighs_most_and_its_corner_something():
    weight = gaussian((9, 5))
    assert weight.shape == (9, 5)
    assert weight[4, 2] == weight.max() == 1
    assert weight.min() > 0
    torch.testing.assert_close(weight, weight.flip(0, 1))
