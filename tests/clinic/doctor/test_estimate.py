"""A round's seconds from the line, the disk and the model."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.clinic.doctor.estimate import read_parameters, round_time, terms
from fedmed.errors import ConfigError
from fedmed.flower.calls import CHUNK
from fedmed.operation.doctor.machine import Written
from fedmed.operation.doctor.speed import Speed

DISK = Written(Path("/spool"), 100e6, 300.0)


def test_each_term_by_hand():
    found = {each.name: each.seconds for each in terms(10_000_000, 16, Speed(10e6, 2e6, 0.03), DISK)}
    assert found == pytest.approx({"down": 4.0, "up": 10.0, "trips": (8 + 8 + 4) * 0.03, "spool": 0.6, "syncs": 0.02})
    assert "15.2 s for 10,000,000 parameters" in round_time(terms(10_000_000, 16, Speed(10e6, 2e6, 0.03), DISK), 10**7).got


def test_chunks_are_those_of_the_node():
    from fedmed.clinic.doctor import estimate

    assert estimate.CHUNK == CHUNK


@given(st.integers(1, 10**9), st.floats(1e3, 1e9), st.floats(1e3, 1e9), st.floats(1e-4, 2))
def test_narrow_lanes_and_fast_lines_never_cost_more(parameters: int, down: float, up: float, trip: float):
    def total(lanes: int, factor: float) -> float:
        return sum(each.seconds for each in terms(parameters, lanes, Speed(down * factor, up * factor, trip), DISK))

    assert total(16, 1) <= total(32, 1)
    assert total(32, 2) <= total(32, 1)


@pytest.mark.parametrize(
    ("text", "number"), [("10M", 10**7), ("250k", 250_000), ("1.5B", 1_500_000_000), ("7", 7), (" 2m ", 2 * 10**6)]
)
def test_sizes_of_models(text: str, number: int):
    assert read_parameters(text) == number


@pytest.mark.parametrize("text", ["", "0", "-1", "1e9", "10 M", "200B", "M", "9" * 500, "١"])
def test_other_sizes_are_refused(text: str):
    with pytest.raises(ConfigError, match="250k, 10M"):
        read_parameters(text)
