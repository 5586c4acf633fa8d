from __future__ import annotations

import math

import numpy as np

from fedmed.serving.verdict import deviation


def test_deviation():
    expected = np.array([[3.0], [4.0]], np.float32)
    assert deviation(expected, expected) == 0
    assert math.isclose(deviation(expected * 1.1, expected), 0.1, rel_tol=1e-5)
    assert deviation(expected[:1], expected) == math.inf
    assert deviation(expected * np.float32(math.inf), expected) == math.inf
    assert deviation(np.zeros((1, 1), np.float32), np.zeros((1, 1), np.float32)) == 0
    assert deviation(np.ones((1, 1), np.float32), np.zeros((1, 1), np.float32)) > 1e9
