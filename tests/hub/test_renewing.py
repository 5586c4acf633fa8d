from __future__ import annotations

import pytest

from fedmed.errors import Unreachable
from fedmed.hub.client import HubClient
from tests.hub.clinic import serving


@pytest.fixture
def place(tmp_path):
    with serving(tmp_path) as found:
        yield found


def beat(device: HubClient, **facts: object):
    return device.beat("idle", facts)


def test_a_call_in_the_moment_of_a_renewal_and_one_after_the_end_are_cut_and_nothing_worse(place):
    line = place.client("mri")
    dialled, during = line._dialled, []

    def slowly() -> object:
        during.append(line.beat("idle", {}))  # of another thread, before there is a newer line
        return dialled()

    line._dialled = slowly  # type: ignore[method-assign]
    line.renew()
    assert len(during) == 1
    assert line.beat("idle", {}).hub_unix > 0
    line.close()
    with pytest.raises(Unreachable, match="closed"):
        line.beat("idle", {})
