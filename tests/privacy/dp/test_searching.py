from __future__ import annotations

import sys

import numpy as np
import pytest

from fedmed.privacy.dp import searching
from fedmed.privacy.dp.searching import WORTH_COMPILING, by_numpy, search_for, undecided
from fedmed.privacy.dp.tables import table


def words_on_bounds(sigma: float) -> np.ndarray:
    """Every bound's upper bits, one below and one above, with either sign."""
    high = table(sigma).high[:-1]
    numbers = np.concatenate([high, high - np.uint64(1), high + np.uint64(1), np.array([0, 2**63 - 1], np.uint64)])
    numbers = numbers[numbers < 2**63] << np.uint64(1)
    return np.concatenate([numbers, numbers | np.uint64(1)])


@pytest.mark.parametrize("sigma", [0.5, 3.0, 512.0, 1024.0])
def test_compiled_or_not_the_draws_are_the_same(sigma):
    pytest.importorskip("numba", reason="numba is not installed: pip install 'fedmed[fl]'")
    compiled = search_for(WORTH_COMPILING)
    assert compiled is not by_numpy
    random = np.random.default_rng(1).integers(0, 2**64, 200_000, np.uint64)
    for words in (random, words_on_bounds(sigma)):
        (wanted, ties), (found, counted) = by_numpy(words, table(sigma)), compiled(words, table(sigma))
        assert (wanted == found).all()
        assert ties == counted
    assert ties >= 2


def test_a_word_on_a_bound_is_undecided_and_no_other():
    made = table(3.0)
    words = np.array([made.high[1] << np.uint64(1), (made.high[1] - np.uint64(1)) << np.uint64(1)], np.uint64)
    assert undecided(words, made).tolist() == [0]
    draws, ties = by_numpy(words | np.uint64(1), made)
    assert draws.tolist() == [-2, -1]
    assert ties == 1
    assert not len(undecided(np.zeros(1, np.uint64), made))


def test_without_numba_numpy_searches(monkeypatch):
    searching._compiled.cache_clear()
    monkeypatch.setitem(sys.modules, "numba", None)
    assert search_for(10**9) is by_numpy
    monkeypatch.undo()
    searching._compiled.cache_clear()
    assert search_for(WORTH_COMPILING - 1) is by_numpy
