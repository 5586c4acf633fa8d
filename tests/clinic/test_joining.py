from __future__ import annotations

import base64
import json
import select
import socket
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from fedmed.center.enrolment import EnrolmentApp
from fedmed.center.folder import make_center
from fedmed.center.listening import Listener
from fedmed.clinic.folder import CERTIFICATE_FILE, KEYS_FILE, open_clinic
from fedmed.clinic.joining import join
from fedmed.clinic.renewal import renew
from fedmed.config.roles import CLINIC_FILE, Center
from fedmed.errors import ConfigError, JoinRefused, Unreachable
from fedmed.identity.enrolment import Revoke
from fedmed.identity.issuing import certificate_pem
from fedmed.identity.joinfile import write_join
from fedmed.identity.requests import certificate_request, read_request
from fedmed.identity.transport import TransportAuthority
from fedmed.wire.asgi import answer
from tests.center.federation import Brisk, Federation, federation, tls

YEARS = 5 * 365 * 86400.0


@pytest.fixture
def center(tmp_path: Path):
    with federation(tmp_path) as up:
        yield up


def test_both_sides_read_the_same_words_and_the_clinic_becomes_a_member(center: Federation):
    content = center.invite("north")[1]
    assert center.ask(content, "north") is None
    assert center.told[-1].words == center.folder.words(center.folder.enrolments.roll().of("north"))
    assert 0 < center.told[-1].left_s <= 7 * 86400
    assert not (center.place / "north" / CLINIC_FILE).exists()
    center.admit("north")
    found = center.ask(content, "north")
    assert (found.already, found.member.name) == (False, "north")
    assert open_clinic(center.place / "north", Brisk()).member() == found.member
    assert sorted(path.name for path in (center.place / "north").iterdir()) == [
        "clinic.yaml", "member.crt", "member.keys", "pins.json", "transport-ca.crt",
    ]  # fmt: skip
    assert list(found.folder.pins()) == [found.member.fingerprint]
    assert center.ask(content, "north").already
    assert center.ask(b"anything", "north").already


def test_waiting_goes_on_through_outages_until_the_operator_admits(center: Federation, tmp_path):
    content = center.invite("north")[1]
    join_, told = center.invite("north")[0], []
    content = write_join(join_, center.folder.keys())
    clock = Brisk()

    def tell(waiting):
        told.append(waiting)
        if len(told) == 2:
            center.listener.stop()
        if len(told) == 4:
            center.admit("north")
            again.start()

    again = Listener(center.listener._server.config.app, tls(center.folder), "127.0.0.1", join_.port)
    found = join(content, tmp_path / "north", "none", clock, tell)
    again.stop()
    assert found is not None
    assert [bool(each.trouble) for each in told] == [False, False, True, True]
    assert clock.slept == [1, 2, 4, 8]


def test_stopped_anywhere_and_run_again(center: Federation, monkeypatch):
    """Ctrl-C while waiting, and a crash between the files: the same keys ask again, and the same words are read."""
    content = center.invite("north")[1]
    with pytest.raises(KeyboardInterrupt):
        join(content, center.place / "north", "none", Brisk(), lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    assert center.ask(content, "north") is None
    center.admit("north")
    center.ask(content, "north")
    (center.place / "north" / CLINIC_FILE).unlink()
    assert not center.ask(content, "north").already
    (center.place / "north" / CLINIC_FILE).unlink()
    (center.place / "north" / CERTIFICATE_FILE).unlink()
    assert not center.ask(content, "north").already


def test_a_join_file_used_twice(center: Federation):
    content = center.invite("north")[1]
    center.ask(content, "thief")
    with pytest.raises(JoinRefused, match=r"refused: .*used already, with other keys"):
        center.ask(content, "north")
    center.admit("north")
    with pytest.raises(JoinRefused, match="used already"):
        center.ask(content, "north")
    newer = center.folder
    newer.enrolments.apply(Revoke("north"))
    newer.invite("north", 7)
    with pytest.raises(JoinRefused, match="newer join file"):
        center.ask(content, "north")


def test_an_expired_file_and_clocks_that_are_years_off(center: Federation):
    content = center.invite("north", 1)[1]
    for ahead, said in ((86401.0, "expired at"), (YEARS, "clock right"), (-YEARS, "not valid now .* this machine's clock")):
        with pytest.raises(JoinRefused, match=said):
            center.ask(content, "north", Brisk(ahead))
    assert not (center.place / "north").exists()


def test_a_center_whose_clock_is_years_off_admits_nobody(tmp_path):
    with federation(tmp_path) as center:
        content = center.invite("north")[1]
        center.ask(content, "north")
        center.folder.clock.ahead_s = YEARS
        with pytest.raises(JoinRefused, match="ended at"):
            center.admit("north")


def test_a_center_of_another_federation_on_the_same_address(center: Federation, tmp_path):
    other = make_center(tmp_path / "other", Center(federation="study", host="127.0.0.1", port=center.listener.port), Brisk())
    with pytest.raises(JoinRefused, match="not of the authority in the join file"):
        join(other.invite("north", 7)[1], tmp_path / "north", "none", Brisk(), print, wait=False)


def test_a_center_under_a_name_that_its_certificate_does_not_hold(center: Federation, tmp_path):
    wrong = replace(center.invite("north")[0], host="localhost")
    with pytest.raises(JoinRefused, match="does not name this host"):
        join(write_join(wrong, center.folder.keys()), tmp_path / "north", "none", Brisk(), print, wait=False)


def test_a_member_called_like_the_host_cannot_play_the_center(tmp_path):
    with federation(tmp_path, host="localhost") as center:
        mallory = center.joined("localhost")
        files = tls(center.folder)
        fake = replace(files, chain_pem=mallory.path / CERTIFICATE_FILE, key_pem=mallory.path / KEYS_FILE)
        victim = center.invite("north")[0]

        async def app(scope, receive, send):
            await answer(send, 202, b'{"waiting":"north"}')

        with Listener(app, fake, "127.0.0.1", 0) as listener:
            content = write_join(replace(victim, port=listener.port), center.folder.keys())
            with pytest.raises(JoinRefused, match="does not name this host"):
                join(content, tmp_path / "north", "none", Brisk(), print, wait=False)


def test_a_center_whose_certificate_has_run_out(center: Federation, tmp_path):
    then = TransportAuthority.load(center.folder.path, Brisk(-1000 * 86400.0))
    expired = then.server(["127.0.0.1"], center.folder.keys().transport_public, 800)
    tls(center.folder).chain_pem.write_bytes(certificate_pem(expired))
    with Listener(EnrolmentApp(center.folder), tls(center.folder), "127.0.0.1", 0) as listener:
        content = write_join(replace(center.invite("north")[0], port=listener.port), center.folder.keys())
        with pytest.raises(JoinRefused, match="clock right"):
            join(content, tmp_path / "north", "none", Brisk(), print, wait=False)


def test_nobody_there(center: Federation, tmp_path):
    made = center.invite("north")[0]
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    for wrong, said in ((replace(made, port=port), "not up"), (replace(made, host="no-such-host.invalid"), "DNS")):
        with pytest.raises(Unreachable, match=said):
            join(write_join(wrong, center.folder.keys()), tmp_path / "north", "none", Brisk(), print, wait=False)


@pytest.mark.parametrize(
    "said", [b"", b"[]", b'{"chain":[]}', b'{"chain":"x"}', b'{"chain":["AA=="]}', b'{"chain":[1]}', b"[" * 9999, b"{}"]
)
def test_an_answer_that_is_none(center: Federation, tmp_path, said):
    async def app(scope, receive, send):
        await answer(send, 200, said)

    with Listener(app, tls(center.folder), "127.0.0.1", 0) as listener:
        content = write_join(replace(center.invite("north")[0], port=listener.port), center.folder.keys())
        with pytest.raises((JoinRefused, Unreachable), match="center"):
            join(content, tmp_path / "north", "none", Brisk(), print, wait=False)
    assert not (tmp_path / "north" / CLINIC_FILE).exists()


def test_a_certificate_of_somebody_else_is_not_kept(center: Federation, tmp_path):
    other = base64.b64encode(center.joined("south").certificate())

    async def app(scope, receive, send):
        await answer(send, 200, b'{"chain":["' + other + b'"]}')

    with Listener(app, tls(center.folder), "127.0.0.1", 0) as listener:
        content = write_join(replace(center.invite("north")[0], port=listener.port), center.folder.keys())
        with pytest.raises(JoinRefused, match="for 'south' or for other keys"):
            join(content, tmp_path / "north", "none", Brisk(), print, wait=False)


def test_a_folder_of_another_clinic(center: Federation):
    clinic = center.joined("north")
    late = Brisk(91 * 86400.0)
    content = json.dumps({}).encode()
    with pytest.raises(JoinRefused, match="no join file"):
        join(content, clinic.path, "none", late, print, wait=False)
    fresh = make_center(center.place / "late", Center(federation="study", host="127.0.0.1"), late)
    with pytest.raises(ConfigError, match="another folder with --at"):
        join(fresh.invite("north", 7)[1], clinic.path, "none", late, print, wait=False)


def test_renewal_keeps_the_keys_and_is_refused_once_revoked(center: Federation):
    clinic = center.joined("north")
    before, member = clinic.certificate(), clinic.member()
    assert renew(clinic).fingerprint == member.fingerprint
    assert clinic.certificate() != before
    clinic.line().ask("GET", "/fedmed/members")
    center.folder.enrolments.apply(Revoke("north"))
    kept = clinic.certificate()
    with pytest.raises(JoinRefused, match="were revoked"):
        renew(clinic)
    assert clinic.certificate() == kept


def test_renewal_with_an_expired_and_a_foreign_certificate(center: Federation, tmp_path):
    clinic, other = center.joined("north"), center.joined("south")
    foreign = make_center(tmp_path / "foreign", Center(federation="study", host="127.0.0.1"), Brisk())
    clinic.keep(foreign.authority().issue(_request("north", clinic.keys()), 90))
    with pytest.raises((JoinRefused, Unreachable), match="this clinic's certificate"):
        renew(clinic)
    clinic.keep(
        TransportAuthority.load(center.folder.path, Brisk(-200 * 86400.0)).issue(_request("north", clinic.keys()), 90)
    )
    with pytest.raises((JoinRefused, Unreachable), match="this clinic's certificate"):
        renew(clinic)
    clinic.keep(other.certificate())
    with pytest.raises(ConfigError, match="no certificate and its key"):
        renew(clinic)


def _request(name, keys):
    return read_request(certificate_request(keys, name))


def test_through_a_proxy_with_a_password(center: Federation):
    with Proxy() as proxy:
        content = center.invite("north")[1]
        assert center.ask(content, "north", proxy=f"http://us%40er:pass@127.0.0.1:{proxy.port}") is None
        center.admit("north")
        found = center.ask(content, "north", proxy=f"http://us%40er:pass@127.0.0.1:{proxy.port}")
        renew(found.folder)
        assert len(proxy.heads) == 3
        assert all(f"CONNECT 127.0.0.1:{center.listener.port} ".encode() in head for head in proxy.heads)
        assert all(b"Basic dXNAZXI6cGFzcw==" in head for head in proxy.heads)


def test_a_proxy_of_the_environment_is_written_down_for_the_daemon(center: Federation, monkeypatch):
    for name in ("HTTPS_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    content = center.invite("north")[1]
    with Proxy() as proxy:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
        assert center.ask(content, "north", proxy=None) is None
        center.admit("north")
        found = center.ask(content, "north", proxy=None)
        assert (found.folder.config.proxy, len(proxy.heads)) == (f"http://127.0.0.1:{proxy.port}", 2)


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "http://127.0.0.1:port", "127.0.0.1:1", "http://"])
def test_a_proxy_that_cannot_be_dialled(center: Federation, proxy):
    with pytest.raises(ConfigError, match="proxy"):
        center.ask(center.invite("north")[1], "north", proxy=proxy)


def test_a_proxy_that_refuses(center: Federation):
    with Proxy(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n") as proxy, pytest.raises(Unreachable, match="407"):
        center.ask(center.invite("north")[1], "north", proxy=f"http://127.0.0.1:{proxy.port}")


class Proxy:
    """An HTTP proxy that knows CONNECT alone."""

    def __init__(self, refusal: bytes = b"") -> None:
        self._refusal, self._server, self.heads = refusal, socket.create_server(("127.0.0.1", 0)), []
        self.port = self._server.getsockname()[1]

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(4096)
            self.heads.append(head)
            if self._refusal:
                client.sendall(self._refusal)
                client.close()
                continue
            there = socket.create_connection(("127.0.0.1", int(head.split()[1].rpartition(b":")[2])))
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            _pass_on(client, there)


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    with one, other:
        while True:
            for ready in select.select([one, other], [], [])[0]:
                if not (data := ready.recv(65536)):
                    return
                (other if ready is one else one).sendall(data)
