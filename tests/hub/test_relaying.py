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
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from fedmed.errors import DeviceRefused, StoreError
from fedmed.hub import relaying
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
