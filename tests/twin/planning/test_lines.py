from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.config.topology import Line
from fedmed.twin.planning.lines import bandwidth, days_of_cap, down_s, rate, sent, up_s

CLINIC = Line.model_validate({"up": "4 Mbit/s", "down": "10 Mbit/s", "latency": "20 ms"})


def test_a_federation_needs_nodes_by_size_by_times_in_four_fifths_of_the_time():
    assert bandwidth(40, 45e6, 100, 3600) == pytest.approx(40 * 45e6 * 100 / (3600 * 0.8))
    with pytest.raises(ValueError, match="0 s to move"):
        bandwidth(1, 1, 1, 0)


@given(st.integers(1, 10**6), st.floats(1, 1e12), st.integers(1, 10**5), st.floats(1, 1e7))
def test_a_line_of_that_rate_is_done_with_a_fifth_of_the_time_left(nodes, size, times, seconds):
    assert nodes * size * times / bandwidth(nodes, size, times, seconds) == pytest.approx(0.8 * seconds)


def test_resnet_18_goes_up_a_clinics_line_in_89_seconds_and_in_22_as_int8():
    assert up_s(44.7e6, CLINIC) == pytest.approx(89.4, abs=0.1)
    assert up_s(sent(11.2e6, 8), CLINIC) == pytest.approx(22.4, abs=0.1)
    assert down_s(44.7e6, CLINIC) == pytest.approx(35.8, abs=0.1)


def test_lost_packets_slow_a_long_line_and_not_a_clean_one():
    lossy = CLINIC.model_copy(update={"loss": 0.05, "latency": 0.05})
    assert rate(lossy.up, lossy) == pytest.approx(1460 / 0.1 * (1.5 / 0.05) ** 0.5)
    assert rate(CLINIC.up, CLINIC) == CLINIC.up
    assert rate(lossy.up, lossy.model_copy(update={"latency": 0.0})) == lossy.up


def test_a_cap_ends_the_month_early():
    capped = CLINIC.model_copy(update={"cap": 10e9})
    assert days_of_cap(capped, 1e9) == pytest.approx(10)
    assert days_of_cap(capped, 1e6) == 30
    assert days_of_cap(CLINIC, 1e15) == 30


def test_compression_is_not_what_makes_an_update_small():
    weights = np.random.default_rng(7).normal(0, 0.02, 200_000).astype(np.float32)
    assert len(zlib.compress(weights.tobytes(), 6)) > weights.nbytes / 1.5  # never a third
    assert sent(200_000, 32) == weights.nbytes
    assert sent(200_000, 16) == weights.nbytes / 2
