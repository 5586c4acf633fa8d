"""What a device may ask its hub without changing anything there."""

from __future__ import annotations

import pytest

from fedmed.errors import ProtocolRefused
from fedmed.hub.messages import MOST_BODY
from tests.hub.clinic import Skewed, serving


@pytest.fixture
def place(tmp_path):
    with serving(tmp_path) as found:
        yield found


def test_a_probe_measures_and_changes_nothing(place):
    with place.client("echo", Skewed(100.0)) as device:
        found = device.probe(MOST_BODY, MOST_BODY)
        assert found.seconds > 0
        assert abs(found.skew_s - 100) < 5
        assert "echo" not in place.hub.calls.state.devices
        with pytest.raises(ProtocolRefused, match="bytes"):
            device.probe(MOST_BODY + 1)
