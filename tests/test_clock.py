from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedmed.clock import SystemClock, derive_seed, generator

paths = st.lists(st.text(st.characters(exclude_characters="\x1f", exclude_categories=("Cs",)), max_size=5), max_size=4)


def test_seed_is_fixed_for_good():
    # a change here would make every published run irreproducible
    assert derive_seed(42, "train", "cleveland", 3) == 4621978535057858110
    assert derive_seed(0) == 3456079177858693020


@given(st.integers(0, 2**63 - 1), paths)
def test_seed_fits_every_generator(root, path):
    seed = derive_seed(root, *path)
    assert 0 <= seed < 2**63
    np.random.default_rng(seed)


@given(st.integers(0, 2**63 - 1), paths, paths)
def test_other_paths_have_other_seeds(root, one, other):
    assert (derive_seed(root, *one) == derive_seed(root, *other)) == (one == other)


def test_parts_of_a_path_do_not_run_together():
    assert derive_seed(1, "ab", "c") != derive_seed(1, "a", "bc") != derive_seed(1, "abc")
    assert derive_seed(1, 23) != derive_seed(12, 3)


def test_seed_is_the_same_in_another_process():
    code = "from fedmed.clock import derive_seed; print(derive_seed(7, 'site', 2))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(said) == derive_seed(7, "site", 2)


def test_generator_repeats_and_leaves_the_global_one_alone():
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    draws = generator(5, "split", "north").random(4)
    assert (draws == generator(5, "split", "north").random(4)).all()
    assert (draws != generator(5, "split", "south").random(4)).all()
    assert (np.random.get_state()[1] == before).all()


def test_system_clock_runs_forward_in_seconds():
    clock = SystemClock()
    first, unix = clock.now(), clock.unix()
    clock.sleep(0.02)
    assert 0.02 <= clock.now() - first < 5
    assert abs(unix - time.time()) < 5
