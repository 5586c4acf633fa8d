"""Handshakes at the hub's two ports that fail, each with its reason; and whose call a call is."""

from __future__ import annotations

import errno
import gc
import shutil
import socket
import ssl
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from fedmed.errors import DeviceRefused, StoreError
from fedmed.hub import relaying, service
from fedmed.hub.client import HubClient
from fedmed.hub.service import Ports
from fedmed.hub.serving import DEVICES
from fedmed.hub.tls import grpc
from fedmed.identity import files
from fedmed.identity.deviceca import DeviceAuthority
from fedmed.identity.issuing import certificate_pem
from fedmed.identity.member import MemberKeys
from fedmed.identity.requests import certificate_request, read_request
from fedmed.operation.handshakes import Fault, advice
from fedmed.store.audit.floods import AGAIN_S
from tests.hub.clinic import Place, Skewed, serving
from tests.system.hospitals import until

DAY = 86400.0


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with serving(tmp_path) as found:
        yield found


def shaking(pair: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    if pair is not None:
        context.load_cert_chain(*pair)
    return context


def knock(port: int, context: ssl.SSLContext) -> None:
    with socket.create_connection(("127.0.0.1", port), 10) as line, suppress(OSError), context.wrap_socket(line) as shaken:
        shaken.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        while shaken.recv(4096):
            pass


def certified(folder: Path, authority: DeviceAuthority) -> tuple[Path, Path]:
    """A device called echo, as `authority` has it."""
    keys = MemberKeys.generate()
    keys.save(folder / "a.keys")
    made = certificate_pem(authority.issue(read_request(certificate_request(keys, "echo")), 90))
    files.write_new(folder / "a.crt", made)
    return folder / "a.crt", folder / "a.keys"


def no_certificate(place: Place, folder: Path) -> None:
    knock(place.hub.ports.port, shaking())


def foreign(place: Place, folder: Path) -> None:
    knock(place.hub.ports.port, shaking(certified(folder, DeviceAuthority.generate(place.clock))))


def expired(place: Place, folder: Path) -> None:
    old = DeviceAuthority.load(place.folder.path, Skewed(-100 * DAY))
    knock(place.hub.ports.port, shaking(certified(folder, old)))


def older(place: Place, folder: Path) -> None:
    context = shaking(certified(folder, place.folder.authority()))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    knock(place.hub.ports.port, context)


def older_at_enrolment(place: Place, folder: Path) -> None:
    context = shaking()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    knock(place.hub.ports.enrolment_port, context)


def no_tls(place: Place, folder: Path) -> None:
    with socket.create_connection(("127.0.0.1", place.hub.ports.port), 10) as line, suppress(OSError):
        line.sendall(b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n")
        while line.recv(1000):
            pass


BAD = {
    no_certificate: Fault.NO_CERTIFICATE,
    foreign: Fault.UNKNOWN_AUTHORITY,
    expired: Fault.EXPIRED,
    older: Fault.TOO_OLD,
    older_at_enrolment: Fault.TOO_OLD,
    no_tls: Fault.NOT_TLS,
}


@pytest.mark.parametrize("knocks", BAD, ids=lambda knocks: knocks.__name__)
def test_a_bad_handshake_is_in_the_clinics_log_with_its_reason_and_who_knocked(place: Place, tmp_path: Path, knocks):
    knocks(place, tmp_path)
    until(lambda: place.events)
    [entry] = place.events
    assert (entry.action, entry.role, entry.outcome) == ("refuse.handshake", "site", "refused")
    assert entry.reason == advice(BAD[knocks], DEVICES)
    assert entry.details == {"peer": "127.0.0.1", "code": BAD[knocks].value, "number": 1}
    assert place.hub.standing()["handshakes"]["counts"] == {BAD[knocks].value: 1}
    with place.client("mri") as line:
        assert line.beat("idle", {}).hub_unix > 0


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not on PATH")
def test_openssl_without_a_certificate_is_told_apart_from_a_look_whether_the_port_is_open(place: Place):
    socket.create_connection(("127.0.0.1", place.hub.ports.port), 10).close()
    until(lambda: place.hub.standing()["handshakes"]["counts"].get("gone"))
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{place.hub.ports.port}", "-alpn", "h2"]
    subprocess.run(command, input=b"", capture_output=True, timeout=30, check=False)
    until(lambda: place.events)
    assert [each.details["code"] for each in place.events] == ["no-certificate"]


def test_a_flood_is_one_entry_and_a_number(place: Place):
    for _ in range(20):
        no_certificate(place, place.path)
    until(lambda: place.hub.standing()["handshakes"]["counts"].get("no-certificate") == 20)
    assert len(place.events) == 1
    place.hub.handshakes.floods._settle(place.clock.now() + AGAIN_S)
    assert [each.details["number"] for each in place.events] == [1, 19]


def test_who_gets_to_grpc_by_no_handshake_is_nobody_and_no_other_user_gets_there(place: Place):
    inner = place.hub.ports._relay.inner
    folder = Path(inner.removeprefix("unix:")).parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    with grpc.insecure_channel(inner) as channel, pytest.raises(grpc.RpcError, match="a call without a certificate"):
        channel.unary_unary("/fedmed.hub.v1/beat")(b"", timeout=30)
    with place.client("mri") as line:
        line.beat("idle", {})
        assert [path.name for path in folder.iterdir()] == ["hub"]
        [caller] = place.hub.ports._relay._callers.values()
        assert (caller.address, caller.certificate) == ("127.0.0.1", line.folder.certificate())
    until(lambda: not place.hub.ports._relay._callers)
    place.hub.ports.stop()
    assert not folder.exists()


def test_two_devices_at_once_are_told_apart(place: Place):
    with place.client("echo") as one, place.client("mri") as other:
        for _ in range(3):
            one.beat("idle", {})
            other.beat("busy", {})
        assert {name: each.state for name, each in place.hub.calls.state.devices.items()} == {"echo": "idle", "mri": "busy"}


def test_a_device_that_is_revoked_while_its_line_is_open_is_refused_by_its_next_call(place: Place):
    with HubClient(place.joined("echo")) as line:
        line.beat("idle", {})
        place.folder.revoke("echo")
        with pytest.raises(DeviceRefused, match="revoked"):
            line.beat("idle", {})


def test_a_connection_that_this_machine_has_no_room_for_is_cut_and_the_next_is_taken(
    place: Place, tmp_path: Path, monkeypatch
):
    def full(family: int) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    pair = certified(tmp_path, place.folder.authority())
    with monkeypatch.context() as patch:
        patch.setattr(relaying, "socket", SimpleNamespace(socket=full, AF_UNIX=socket.AF_UNIX))
        with (
            socket.create_connection(("127.0.0.1", place.hub.ports.port), 5) as line,
            shaking(pair).wrap_socket(line) as shaken,
        ):
            assert shaken.recv(4096) == b""  # the hub closed it
    with place.client("mri") as line:
        assert line.beat("idle", {}).hub_unix > 0


class Gone:
    """A transport whose other side went before its handshake's end was heard."""

    closed = 0

    def get_extra_info(self, name: str) -> object:
        shaken = SimpleNamespace(selected_alpn_protocol=lambda: "h2", getpeercert=lambda binary_form: b"certificate")
        return {"ssl_object": shaken}.get(name)

    def is_closing(self) -> bool:
        return True

    def close(self) -> None:
        self.closed += 1


def test_nothing_is_remembered_of_who_went_as_soon_as_the_handshake_was_done():
    relay = relaying.Relay(shaking(), lambda peer, error: None)
    outer = relaying._Outer(relay)
    outer.own = Gone()  # type: ignore[assignment]
    outer.connection_lost(None)
    relay._loop.run_until_complete(relay._joined(outer))
    assert relay._callers == {}
    relay.end()


def test_a_folder_too_deep_for_a_socket_is_refused_at_the_start(tmp_path: Path, monkeypatch):
    deep = tmp_path / ("d" * 60)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with pytest.raises(StoreError, match="TMPDIR"):
        relaying.Relay(shaking(), lambda peer, error: None)
    assert list(deep.iterdir()) == []


@pytest.mark.parametrize("name", ["a b", "ä", "a%20b"])
def test_a_device_is_known_whatever_the_folder_for_temporary_files_is_called(tmp_path: Path, monkeypatch, name: str):
    with tempfile.TemporaryDirectory() as short:  # that of the test is too deep for a socket beside other workers
        (Path(short) / name).mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(Path(short) / name))
        with serving(tmp_path) as place, place.client("mri") as line:
            assert line.beat("idle", {}).hub_unix > 0


def test_a_hub_that_cannot_begin_leaves_no_port_open(tmp_path: Path, monkeypatch):
    deep = tmp_path / ("d" * 60)
    deep.mkdir()
    with serving(tmp_path) as place:
        monkeypatch.setattr("tempfile.tempdir", str(deep))
        with pytest.raises(StoreError, match="TMPDIR"):
            Ports(place.folder, place.hub.calls, lambda address, error: None)
    gc.collect()  # a socket that is left would be told


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """gRPC's grace goes to connections whose other side does not speak HTTP/2: such are those of these tests."""
    monkeypatch.setattr(service, "DRAIN_S", 0.5)


def cut_at_the_end(place: Place, lines: list[socket.socket]) -> None:
    """The hub ends with these connections; each is over then, and nothing of them is left."""
    relay = place.hub.ports._relay
    place.hub.ports.stop()
    assert relay._open == set()
    assert relay._callers == {}
    gc.collect()  # a transport that is left would be told
    for line in lines:
        line.settimeout(30)
        with line, suppress(OSError):
            while line.recv(4096):
                pass


@pytest.mark.usefixtures("brisk")
def test_a_hub_that_ends_cuts_a_hundred_connections_and_the_handshakes_under_way(place: Place, tmp_path: Path):
    at, lines = ("127.0.0.1", place.hub.ports.port), list[socket.socket]()
    for number in range(25):
        (tmp_path / str(number)).mkdir()
        context = shaking(certified(tmp_path / str(number), place.folder.authority()))
        lines += [context.wrap_socket(socket.create_connection(at, 10)) for _ in range(relaying.MOST_LINES)]
    until(lambda: len(place.hub.ports._relay._open) == 200)
    lines += [socket.create_connection(at, 10) for _ in range(50)]
    cut_at_the_end(place, lines)


@pytest.mark.usefixtures("brisk")
def test_a_connection_that_is_closed_twice_is_cut_all_the_same(place: Place, tmp_path: Path):
    relay, context = place.hub.ports._relay, shaking(certified(tmp_path, place.folder.authority()))
    line = context.wrap_socket(socket.create_connection(("127.0.0.1", place.hub.ports.port), 10))
    until(lambda: len(relay._open) == 2)
    outer = next(each for each in relay._open if isinstance(each, relaying._Outer))

    async def close() -> None:
        for _ in range(2):  # the other side never says that it has heard it
            relaying._close(outer.own)

    relay._do(close)
    assert outer in relay._open
    cut_at_the_end(place, [line])


@pytest.mark.usefixtures("brisk")
def test_who_speaks_another_protocol_and_never_closes_is_cut_at_the_end(place: Place, tmp_path: Path):
    context = shaking(certified(tmp_path, place.folder.authority()))
    context.set_alpn_protocols(["http/1.1"])
    lines = [context.wrap_socket(socket.create_connection(("127.0.0.1", place.hub.ports.port), 10)) for _ in range(5)]
    until(lambda: len(place.hub.ports._relay._open) == 5)
    cut_at_the_end(place, lines)


class Stuck:
    """A transport that never says that it is over."""

    aborted = 0

    def abort(self) -> None:
        self.aborted += 1


def test_a_connection_whose_end_never_comes_holds_nobody_up(place: Place, monkeypatch):
    monkeypatch.setattr(relaying, "CUT_S", 0.1)
    relay = place.hub.ports._relay
    stuck = relaying._Outer(relay)
    stuck.own = Stuck()  # type: ignore[assignment]
    relay.opened(stuck)
    place.hub.ports.stop()
    assert stuck.own.aborted == 1
    assert not relay._thread.is_alive()


def test_a_grpc_that_takes_no_more_costs_the_device_its_connection_alone(place: Place, tmp_path: Path):
    relay, context = place.hub.ports._relay, shaking(certified(tmp_path, place.folder.authority()))
    inner = relay._place / "hub"
    inner.rename(inner.with_name("away"))
    with context.wrap_socket(socket.create_connection(("127.0.0.1", place.hub.ports.port), 10)) as line:
        assert line.recv(4096) == b""
    until(lambda: not relay._open)
    assert relay._callers == {}
    inner.with_name("away").rename(inner)
    with place.client("mri") as device:
        assert device.beat("idle", {}).hub_unix > 0


def test_who_opens_more_lines_than_a_device_has_loses_the_oldest_and_nobody_else_any(place: Place, tmp_path: Path):
    relay, at = place.hub.ports._relay, ("127.0.0.1", place.hub.ports.port)
    context = shaking(certified(tmp_path, place.folder.authority()))
    with place.client("mri") as other, ExitStack() as undo:
        other.beat("idle", {})
        lines = []
        for number in range(relaying.MOST_LINES + 2):
            lines.append(undo.enter_context(context.wrap_socket(socket.create_connection(at, 10))))
            most = min(number + 1, relaying.MOST_LINES)
            until(lambda most=most, last=str(number + 1): newest(relay) == last and len(relay._callers) == 1 + most)
        for each in lines[:2]:
            with suppress(ConnectionResetError):
                while each.recv(4096):
                    pass
        other.beat("idle", {})


def newest(relay: relaying.Relay) -> str:
    """The name of the newest connection, numbered from 0 on."""
    return list(relay._callers)[-1].rsplit("/", 1)[1]
