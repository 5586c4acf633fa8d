from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import replace

import pytest

from fedmed.config.roles import Hub as Config
from fedmed.errors import ConfigError, JoinRefused, StoreError, Unreachable
from fedmed.hub.door import AT_ONCE, TRIES
from fedmed.hub.folder import make_hub
from fedmed.hub.greeting import Talk, dialled
from fedmed.hub.joining import CERTIFICATE_FILE, HUB_FILE, KEYS_FILE, greeted, join, open_device
from fedmed.identity.authority import read_certificate
from fedmed.identity.devicecode import letters_of, new_code, proof_of
from fedmed.identity.issuing import certificate_pem
from fedmed.identity.member import MemberKeys
from fedmed.identity.requests import certificate_request, read_request
from fedmed.wire import tls
from tests.hub.clinic import Place, Skewed, serving


@pytest.fixture
def place(tmp_path):
    with serving(tmp_path) as found:
        yield found


def join_at(place: Place, code: str, name: str = "box", clock=None):
    path = place.path.parent / name
    return join(code, "127.0.0.1", place.hub.ports.enrolment_port, path, clock or Skewed())


def test_a_device_joins_with_keys_that_never_left_it(place):
    device = place.joined("echo")
    assert (device.hub.name, device.hub.clinic, device.hub.port) == ("echo", "north", place.hub.ports.port)
    member = read_certificate(device.certificate(), place.folder.authority().public, place.clock.unix())
    assert member.fingerprint == device.keys().fingerprint
    assert oct((device.path / KEYS_FILE).stat().st_mode & 0o777) == "0o600"
    secret = (device.path / KEYS_FILE).read_bytes()
    assert not [path for path in place.path.rglob("*") if path.is_file() and path.read_bytes() == secret]
    [done] = [each for each in place.events if each.action == "enrol"]
    assert (done.resource, done.details["fingerprint"]) == ("device echo", member.fingerprint.hex())


def test_who_only_wants_to_see_whose_hub_it_is_uses_up_no_code_and_is_no_refusal_but_has_tries_like_all(place):
    heard = 0
    with suppress(Unreachable):
        while heard < 2 * TRIES:
            found = greeted("127.0.0.1", place.hub.ports.enrolment_port, Skewed())
            heard += 1
    assert TRIES <= heard < 2 * TRIES  # a try is counted once its goodbye was heard
    assert (found.clinic, found.authority) == ("north", place.folder.authority().certificate)
    assert new_code(found.authority).text()[20:39] == letters_of(found.authority)
    assert place.refusals() == []


def test_the_code_is_not_kept_at_the_hub(place):
    code = place.folder.invite("echo")
    for path in place.path.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert code.secret not in content
            assert code.secret.hex().encode() not in content
            assert code.text().encode() not in content


def test_a_code_serves_one_device_once(place):
    code = place.folder.invite("echo").text()
    join_at(place, code, "first")
    with pytest.raises(JoinRefused, match="used by another device"):
        join_at(place, code, "second")
    assert place.refusals() == [("device at 127.0.0.1", "join")]
    with pytest.raises(ConfigError, match="has joined a hub already"):
        join_at(place, code, "first")
    assert not (place.path.parent / "second" / HUB_FILE).exists()


def test_a_join_that_was_cut_off_after_the_hub_signed_goes_on_with_the_same_code(place):
    code = place.folder.invite("echo").text()
    join_at(place, code, "box")
    path = place.path.parent / "box"
    (path / HUB_FILE).unlink()
    (path / CERTIFICATE_FILE).unlink()
    assert join_at(place, code, "box").name == "echo"
    open_device(path, Skewed()).member()


def test_an_expired_and_an_unknown_code(place):
    code = place.folder.invite("echo", 60).text()
    place.clock.__dict__["unix"] = Skewed(61).unix
    with pytest.raises(JoinRefused, match="ended at"):
        join_at(place, code)
    with pytest.raises(JoinRefused, match="does not know"):
        join_at(place, new_code(place.folder.authority().certificate).text())


def test_a_revoked_device_needs_new_keys_and_a_new_code(place):
    device = place.joined("echo")
    place.folder.revoke("echo")
    code = place.folder.invite("echo").text()
    (device.path / HUB_FILE).unlink()
    with pytest.raises(JoinRefused, match="keys that were revoked"):
        join(code, "127.0.0.1", place.hub.ports.enrolment_port, device.path, Skewed())
    assert join_at(place, code, "renewed").name == "echo"


def test_nobody_guesses_for_long(place):
    authority = place.folder.authority().certificate
    for number in range(TRIES):
        with pytest.raises(JoinRefused, match="does not know"):
            join_at(place, new_code(authority).text(), f"guess-{number}")
    with pytest.raises(Unreachable):
        join_at(place, place.folder.invite("echo").text(), "late")
    assert len(place.refusals()) == 1  # the same refusal is written once a minute


def test_a_device_whose_clock_is_wrong_is_told_so(place):
    code = place.folder.invite("echo").text()
    with pytest.raises(JoinRefused, match="set this machine's clock right"):
        join_at(place, code, "early", Skewed(-30 * 86400))
    assert join_at(place, code, "late", Skewed(600)).name == "echo"


def test_nobody_answers(place):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(Unreachable, match=r"no hub answers at .* \(Connection refused\); see that it is up"):
            join(place.folder.invite("echo").text(), "127.0.0.1", taken.getsockname()[1], place.path / "x", Skewed())
    with pytest.raises(Unreachable, match=r"no machine is called 'hub\.invalid' here"):
        join(place.folder.invite("echo").text(), "hub.invalid", 8444, place.path / "x", Skewed())


def test_the_hubs_other_port_enrols_nobody_and_that_is_said(place):
    port = place.hub.ports.port
    with pytest.raises(Unreachable, match=f"port {port} greets no device .*; dial the hub's port for enrolment"):
        join(place.folder.invite("echo").text(), "127.0.0.1", port, place.path / "x", Skewed())


class Impostor:
    """Answers at a port as a hub does, with whatever it was given, and keeps what it is sent."""

    def __init__(self, folder, authority: bytes, chain: bytes, keys: MemberKeys) -> None:
        folder.mkdir()
        (folder / "crt").write_bytes(chain)
        (folder / "key").write_bytes(keys.transport_pem())
        self._context = tls.serving(str(folder / "crt"), str(folder / "key"))
        self.heard: list[object] = []
        self.greeting = {"authority": authority.hex(), "clinic": "north", "version": "0.1"}
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        line, _ = self._socket.accept()
        with line, self._context.wrap_socket(line, server_side=True) as shaken:
            talk = Talk(shaken, Skewed().now)
            talk.say(self.greeting)
            try:
                self.heard.append(talk.hear())
            except Unreachable:
                return

    def close(self) -> None:
        self._thread.join()
        self._socket.close()


def impostors(place: Place, path):
    """A hub of its own; this clinic's authority shown by somebody without its hub's key; a device in the hub's place."""
    other = make_hub(path / "other", Config(clinic="south"), Skewed())
    mine = place.folder.authority()
    keys = MemberKeys.generate()
    device = mine.issue(read_request(certificate_request(keys, "mallory")), 90)
    yield "not the one", other.authority().certificate, other.certificate(), other.keys()
    yield "not its hub", mine.certificate, other.certificate(), other.keys()
    yield "not its hub", mine.certificate, device, keys


def test_a_man_in_the_middle_gets_nothing(place, tmp_path):
    code = place.folder.invite("echo").text()
    for number, (why, authority, chain, keys) in enumerate(impostors(place, tmp_path)):
        impostor = Impostor(tmp_path / f"impostor-{number}", authority, certificate_pem(chain), keys)
        with pytest.raises(JoinRefused, match=why):
            join(code, "127.0.0.1", impostor.port, tmp_path / f"box-{number}", Skewed())
        impostor.close()
        assert not impostor.heard  # not even the invitation's name
    assert join_at(place, code).name == "echo"  # the code is as good as before


def test_a_request_that_is_carried_to_another_hub_is_none(place):
    """The proof is over the certificate that the device saw, so that nobody can hand it on."""
    code = place.folder.invite("echo")
    keys = MemberKeys.generate()
    request = certificate_request(keys, "echo")
    authority = place.folder.authority().certificate
    invitation, proof = proof_of(code, authority, b"the certificate of another", "echo", request)
    with dialled("127.0.0.1", place.hub.ports.enrolment_port) as line:
        talk = Talk(line, Skewed().now)
        talk.hear()
        talk.say({"invitation": invitation, "version": "0.1"})
        assert talk.hear()["name"] == "echo"
        talk.say({"proof": proof.hex(), "request": request.hex()})
        with pytest.raises(JoinRefused, match="wrong proof"):
            talk.hear()


def test_an_older_tls_is_not_spoken_at_either_side(place):
    port = place.hub.ports.enrolment_port
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(("127.0.0.1", port)) as line, pytest.raises(ssl.SSLError):
        context.wrap_socket(line)


@pytest.mark.parametrize("content", [b"", b"GET / HTTP/1.1\r\n\r\n", bytes(range(64))])
def test_what_is_no_device_is_hung_up_on(place, content):
    with socket.create_connection(("127.0.0.1", place.hub.ports.enrolment_port)) as line:
        line.settimeout(60)
        with suppress(OSError):
            line.sendall(content)
            line.shutdown(socket.SHUT_WR)
            while line.recv(4096):
                pass
    assert place.joined("echo").hub.name == "echo"


TURNS = [
    ({"invitation": "00" * 8, "version": "9.9"}, "version"),
    ({"invitation": 7, "version": "0.1"}, "message"),
    ({"version": "0.1"}, "message"),
    ({"invitation": "00" * 8}, "message"),
    ({"invitation": "x" * 65, "version": "0.1"}, "message"),
]


@pytest.mark.parametrize(("turn", "word"), TURNS)
def test_a_malformed_turn_is_refused_with_a_word(place, turn, word):
    with dialled("127.0.0.1", place.hub.ports.enrolment_port) as line:
        talk = Talk(line, Skewed().now)
        talk.hear()
        talk.say(turn)
        with pytest.raises(Exception, match=r"\w") as found:
            talk.hear()
    assert type(found.value).__name__ == {"version": "VersionRefused", "message": "ProtocolRefused"}[word]


def test_a_turn_that_says_it_is_huge_is_not_read(place):
    with dialled("127.0.0.1", place.hub.ports.enrolment_port) as line:
        talk = Talk(line, Skewed().now)
        talk.hear()
        line.sendall((1 << 31).to_bytes(4, "big"))
        with pytest.raises(Exception, match="allowed are 32768"):
            talk.hear()


def test_what_a_stranger_answers_cannot_steer_a_terminal(place, tmp_path):
    impostor = Impostor(tmp_path / "impostor", b"", certificate_pem(place.folder.certificate()), place.folder.keys())
    impostor.greeting = {"refused": "\x1b[2Jrun this", "word": "join"}
    with pytest.raises(JoinRefused) as found:
        join(place.folder.invite("echo").text(), "127.0.0.1", impostor.port, tmp_path / "box", Skewed())
    impostor.close()
    assert "\x1b" not in str(found.value)


def test_a_folder_that_is_damaged_says_so(place):
    device = place.joined("echo")
    (device.path / HUB_FILE).write_bytes(b'{"name": 7}')
    with pytest.raises(StoreError, match="cannot be read"):
        open_device(device.path, Skewed())
    with pytest.raises(ConfigError, match="no device's folder"):
        open_device(device.path / "nowhere", Skewed())


def test_another_devices_certificate_is_not_kept(place):
    echo, mri = place.joined("echo"), place.joined("mri")
    with pytest.raises(Exception, match="than this device's"):
        echo.keep(mri.certificate())
    assert replace(echo).member().name == "echo"


def test_a_hub_that_ends_waits_for_a_device_that_enrols(place):
    """What it writes it has written then, and the next hub begins alone."""
    began, go, done = threading.Event(), threading.Event(), list[str]()
    enrolled = place.hub.calls.enrolled

    def slowly(name: str, fingerprint: bytes, until: int) -> None:
        began.set()
        assert go.wait(30)
        enrolled(name, fingerprint, until)
        done.append(name)

    place.hub.calls.enrolled = slowly
    joining = threading.Thread(target=lambda: place.joined("echo"))
    joining.start()
    assert began.wait(30)
    releasing = threading.Timer(0.3, go.set)
    releasing.start()
    place.hub.ports.stop()
    assert done == ["echo"]
    joining.join(30)
    releasing.join()


def test_a_door_that_has_no_thread_for_who_comes_has_its_place_again(place, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        for _ in range(AT_ONCE + 1):
            with socket.create_connection(("127.0.0.1", place.hub.ports.enrolment_port), 10) as line:
                line.settimeout(10)
                assert line.recv(1) == b""
    assert place.joined("echo").hub.name == "echo"


def no_thread(self: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
