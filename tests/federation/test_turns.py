from __future__ import annotations

import numpy as np
import pytest

from fedmed.federation.likeness import cells_apart
from fedmed.federation.turns import TURNS, look, suspect, suspects
from fedmed.preprocess.fingerprint import statistics
from tests.federation.prints import images

DONE = {
    "to the right": lambda x: np.rot90(x, -1, (1, 2)),
    "to the left": lambda x: np.rot90(x, 1, (1, 2)),
    "rows and columns exchanged)": lambda x: np.swapaxes(x, 1, 2),
    "upside down": lambda x: np.rot90(np.swapaxes(x, 1, 2), 2, (1, 2)),
    "180 degrees": lambda x: np.rot90(x, 2, (1, 2)),
    "left to right": lambda x: x[:, :, ::-1],
    "top to bottom": lambda x: x[:, ::-1],
    "bright and dark": lambda x: -x,
}


@pytest.mark.parametrize("words", DONE)
def test_the_turn_is_found_that_was_done(words):
    found = suspect(look(statistics(DONE[words](images(200, 1)))), look(statistics(images(200, 2))))
    assert words in found.turn.done
    assert found.undone < 0.05 < found.gain
    assert found.as_they_are == pytest.approx(found.undone + found.gain)


def test_every_turn_is_tried_here():
    assert len(DONE) == len(TURNS)
    assert all(any(words in turn.done for words in DONE) for turn in TURNS)


def test_upright_images_gain_nothing_by_turning():
    mine, others = look(statistics(images(200, 1))), look(statistics(images(200, 2)))
    assert suspect(mine, others).gain < 0
    assert cells_apart(mine.cells.values, others.cells.values) < 0.05


@pytest.mark.parametrize("wrong", [1, 2, 3])
def test_several_wrong_sites_are_all_found_while_they_are_the_fewer(wrong):
    looks = {}
    for seed in range(7):
        drawn = images(150, seed)
        looks[f"site-{seed}"] = look(statistics(np.rot90(drawn, 1, (1, 2)) if seed < wrong else drawn))
    assert set(suspects(looks)) == {f"site-{seed}" for seed in range(wrong)}
    assert suspects({"alone": looks["site-0"]}) == {}
    assert suspects({}) == {}
