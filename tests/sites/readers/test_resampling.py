from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fedmed.sites.readers.resampling import train_test_rows

model_selection = pytest.importorskip("sklearn.model_selection", reason="scikit-learn is the reference")


@settings(deadline=None, max_examples=150)
@given(st.integers(8, 300), st.integers(1, 4), st.sampled_from([0.5, 0.66, 0.75, 0.8]), st.integers(0, 9999), st.booleans())
def test_rows_equal_those_of_scikit_learn(count: int, classes: int, share: float, seed: int, stratify: bool) -> None:
    labels = np.random.default_rng(seed).integers(0, classes, count)
    counts = np.unique(labels, return_counts=True)[1]
    assume(not stratify or (counts.min() >= 2 and (1 - share) * count >= classes))
    expected = model_selection.train_test_split(
        np.arange(count),
        train_size=share,
        test_size=1.0 - share,
        random_state=seed,
        stratify=labels if stratify else None,
    )
    found = train_test_rows(labels, share, seed, stratify=stratify)
    assert [rows.tolist() for rows in found] == [rows.tolist() for rows in expected]
