"""Every status of C-STORE has one outcome."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.dicom.statuses import Outcome, meaning


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (0x0000, Outcome.STORED),
        (0x0111, Outcome.STORED),
        (0xB000, Outcome.CHANGED),
        (0xB006, Outcome.CHANGED),
        (0xB007, Outcome.CHANGED),
        (0xA700, Outcome.LATER),
        (0xA7FF, Outcome.LATER),
        (0xA900, Outcome.NEVER),
        (0xC000, Outcome.NEVER),
        (0xCFFF, Outcome.NEVER),
        (0x0122, Outcome.NEVER),
        (0x0124, Outcome.NEVER),
        (0x1234, Outcome.NEVER),
    ],
)
def test_the_table_of_the_standard(status, outcome):
    assert meaning(status)[0] is outcome


@given(st.integers(0, 0xFFFF))
def test_whatever_is_no_plain_success_is_said(status):
    outcome, said = meaning(status)
    assert bool(said) == (status != 0)
    assert (outcome is Outcome.LATER) == (0xA700 <= status <= 0xA7FF)
