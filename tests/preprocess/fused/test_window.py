from __future__ import annotations

import numpy as np
import pytest

from fedmed.preprocess.fused.window import Window, from_centre


def test_linear_is_half_a_unit_off_and_a_unit_narrower():
    """The example of PS3.3 C.11.2.1.2.1: centre 2048, width 4096, output 0 to 255."""
    window = from_centre(2048, 4096, "LINEAR", (0, 255))
    assert (window.low, window.high) == (0, 4095)
    assert (window.out_low, window.out_high, window.function) == (0, 255, "linear")


def test_exact_and_sigmoid_span_the_whole_width():
    for function in ("LINEAR_EXACT", "SIGMOID"):
        window = from_centre(40, 400, function)
        assert (window.low, window.high) == (-160, 240)
    assert from_centre(40, 400, "SIGMOID").function == "sigmoid"


@pytest.mark.parametrize(("width", "function"), [(1, "LINEAR"), (0, "LINEAR_EXACT"), (-3, "SIGMOID"), (np.nan, "LINEAR")])
def test_a_window_without_width_is_refused(width, function):
    with pytest.raises(ValueError, match="no width"):
        from_centre(0, width, function)


def test_what_is_no_window_is_refused():
    for ends in ((1, 1), (2, 1)):
        with pytest.raises(ValueError, match="high must lie above low"):
            Window(*ends)
    for ends in ((np.nan, 1), (0, np.inf), (0, 1, np.nan)):
        with pytest.raises(ValueError, match="finite"):
            Window(*ends)
    with pytest.raises(ValueError, match="allowed: linear, sigmoid"):
        Window(0, 1, function="cubic")
    with pytest.raises(ValueError, match="LINEAR_EXACT"):
        from_centre(0, 1, "CUBIC")
