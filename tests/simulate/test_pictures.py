from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from fedmed.simulate.pictures import FALSE, GAP, HIT, MISSED, SIDE, draw
from fedmed.sites.cases import Cases


def case(x: np.ndarray, y: np.ndarray) -> Cases:
    return Cases(x[None], y[None].astype(np.uint8), ("none", "a", "b"), spatial=3 if y.ndim == 3 else 2)


def opened(picture: dict) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(picture["png"]))) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def squares() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A black image; truth in the upper half, drawn in the left half."""
    truth, drawn = np.zeros((40, 40), np.uint8), np.zeros((40, 40), np.uint8)
    truth[:20], drawn[:, :20] = 1, 1
    return np.zeros((40, 40), np.float32), truth, drawn


def near(pixel: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool(np.abs(pixel - 0.85 * np.array(colour)).max() < 12)


def test_hits_misses_and_false_voxels_have_their_colours():
    image, truth, drawn = squares()
    picture = draw(case(image, truth), drawn, 0.5)
    pixels = opened(picture)
    assert (picture["dice"], picture["slice"]) == (0.5, None)
    height, width = pixels.shape[:2]
    assert height == SIDE
    right = pixels[:, width - SIDE :]
    quarter = SIDE // 4
    assert near(right[quarter, quarter], HIT)
    assert near(right[quarter, 3 * quarter], MISSED)
    assert near(right[3 * quarter, quarter], FALSE)
    assert right[3 * quarter, 3 * quarter].max() < 10
    assert pixels[:, :SIDE].max() < 10


def test_what_is_rare_keeps_its_colour():
    rng = np.random.default_rng(0)
    truth, drawn = np.zeros((360, 360), np.uint8), np.zeros((360, 360), np.uint8)
    truth[100:103, 50:53], drawn[200:203, 50:53] = 1, 1
    pixels = opened(draw(case(rng.uniform(0, 40, truth.shape).astype(np.float32), truth), drawn, 0.0))[:, -SIDE:]
    for at, colour in ((101, MISSED), (201, FALSE)):
        # over a mean grey
        assert np.abs(pixels[at, 51] - (0.85 * np.array(colour) + 0.15 * 128)).max() < 25


def test_another_class_is_no_hit():
    image, truth, _ = squares()
    pixels = opened(draw(case(image, truth), truth * 2, 0.0))
    assert near(pixels[SIDE // 4, -SIDE // 2], FALSE)


def test_of_a_volume_the_slice_with_most_in_it_is_shown():
    truth = np.zeros((5, 8, 8), np.uint8)
    truth[1, :2], truth[3, :4] = 1, 1
    assert draw(case(np.zeros((5, 8, 8), np.float32), truth), np.zeros_like(truth), 0.0)["slice"] == 3


@pytest.mark.parametrize("x", [np.random.default_rng(0).normal(size=(3, 30, 60)), np.ones((30, 60)) * 7])
def test_colour_and_constant_images_and_long_ones_fit(x):
    truth = np.zeros((30, 60), np.uint8)
    pixels = opened(draw(case(x.astype(np.float32), truth), truth, 0.0))
    assert pixels.shape == (SIDE // 2, 2 * SIDE + GAP, 3)
