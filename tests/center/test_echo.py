"""The measuring endpoint, behind the real listener."""

from __future__ import annotations

import json
from email.utils import parsedate_to_datetime

import pytest

from fedmed.center.echo import MOST, PATH, Echo
from fedmed.center.listening import Listener
from fedmed.clock import SystemClock
from fedmed.errors import ProtocolRefused
from tests.center.pki import Authority, ask, connect, context

NOW = 1_900_000_000.0


class Still(SystemClock):
    def unix(self) -> float:
        return NOW


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("echo") / "ca")


@pytest.fixture(scope="module")
def shaking(authority: Authority):
    return context(authority, authority.client("north"))


@pytest.fixture(scope="module")
def port(authority: Authority):
    with Listener(Echo(lambda _: None, Still()), authority.server(), "127.0.0.1", 0) as listener:
        yield listener.port


@pytest.mark.parametrize("size", [0, 1, 65536, 65537, 1_000_000, MOST])
def test_as_many_bytes_come_as_were_asked_for(port: int, shaking, size: int):
    assert ask(port, shaking, "GET", f"{PATH}?bytes={size}") == (200, bytes(size))


@pytest.mark.parametrize("size", [0, 1, 1_000_000, MOST])
def test_a_body_is_counted_and_dropped(port: int, shaking, size: int):
    status, said = ask(port, shaking, "POST", PATH, bytes(size))
    assert (status, json.loads(said)) == (200, {"bytes": size})


@pytest.mark.parametrize(
    "query", ["", "?bytes=", "?bytes=-1", "?bytes=1e3", f"?bytes={MOST + 1}", "?bytes=" + "9" * 5000, "?n=1"]
)
def test_any_other_question_is_refused(port: int, shaking, query: str):
    status, why = ask(port, shaking, "GET", PATH + query)
    assert status == 400
    assert str(MOST) in json.loads(why)["refused"]


def test_a_body_too_large_is_refused(port: int, shaking):
    assert ask(port, shaking, "POST", PATH, b"", Content_Length=str(MOST + 1))[0] == 413


def test_other_methods_are_refused(port: int, shaking):
    assert ask(port, shaking, "DELETE", PATH)[0] == 405


def test_the_centers_time_is_told(port: int, shaking):
    connection = connect(port, shaking)
    connection.request("GET", f"{PATH}?bytes=0")
    assert parsedate_to_datetime(connection.getresponse().headers["date"]).timestamp() == NOW
    connection.close()


def test_who_is_not_admitted_is_told_why(authority: Authority, shaking):
    def nobody(_: bytes) -> None:
        raise ProtocolRefused("revoked")

    with Listener(Echo(nobody, Still()), authority.server(), "127.0.0.1", 0) as listener:
        status, why = ask(listener.port, shaking, "GET", f"{PATH}?bytes=1")
    assert (status, json.loads(why)["refused"]) == (403, "revoked")
