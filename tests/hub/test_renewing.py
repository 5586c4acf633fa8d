from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from fedmed.errors import Unreachable
from fedmed.hub.client import HubClient
from fedmed.hub.tls import grpc
from tests.hub.clinic import serving
from tests.system.hospitals import until


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


def test_renewals_at_once_and_one_beside_the_end_leave_no_line_open(place):
    line = place.client("mri")
    dialled, both = line._dialled, threading.Barrier(2)
    made = [line._channel]

    def slowly() -> object:
        made.append(mine := dialled())
        both.wait(30)
        return mine

    line._dialled = slowly  # type: ignore[method-assign]
    with ThreadPoolExecutor(2) as pool:
        for each in [pool.submit(line.renew) for _ in range(2)]:
            each.result(30)
        assert [is_closed(each) for each in made].count(False) == 1
        renewing = pool.submit(line.renew)
        until(lambda: len(made) == 4)
        line.close()
        both.wait(30)
        renewing.result(30)
    assert all(map(is_closed, made))


def is_closed(channel) -> bool:
    try:
        channel.unary_unary("/fedmed.hub.v1/beat")(b"", timeout=20)
    except ValueError:
        return True
    except grpc.RpcError:  # no message
        return False
    raise AssertionError
