from __future__ import annotations

from pathlib import Path

import pytest

from fedmed.center.callers import LocalCallers
from fedmed.center.folder import SERVER_FILE, make_center, open_center
from fedmed.config.roles import Center
from fedmed.errors import ConfigError, JoinRefused
from fedmed.identity.enrolment import Revoke
from fedmed.identity.files import KeyRefused
from fedmed.identity.joinfile import read_join
from fedmed.identity.member import MemberKeys
from fedmed.identity.requests import certificate_request, read_request
from fedmed.identity.roles import ALLOWED, Action, Caller, NotAllowed, Role
from fedmed.store.audit.reading import opened
from tests.center.federation import Brisk
from tests.identity.parties import NOW, Standing

CONFIG = Center(federation="study", host="center.example.org")


@pytest.fixture
def folder(tmp_path):
    return make_center(tmp_path / "center", CONFIG, Standing())


def test_a_folder_is_made_once_and_opened(folder):
    again = open_center(folder.path, Standing())
    assert again.config == CONFIG
    assert not again.enrolments.roll().seats
    assert {
        path.name: path.stat().st_mode & 0o777 for path in folder.path.iterdir() if path.suffix in (".key", ".keys")
    } == {
        "transport-ca.key": 0o600,
        "center.keys": 0o600,
    }
    with pytest.raises(ConfigError, match="not empty"):
        make_center(folder.path, CONFIG, Standing())
    with pytest.raises(ConfigError, match="fedmed center init"):
        open_center(folder.path / "none", Standing())


def test_an_invitation_is_whole(folder):
    join, content = folder.invite("north", 7)
    assert read_join(content, NOW) == join
    assert (join.federation, join.host, join.port, join.name) == ("study", "center.example.org", 443, "north")
    assert folder.enrolments.roll().of("north").serial == join.serial.hex()
    assert folder.words(folder.enrolments.roll().of("north")) == ""


@pytest.mark.parametrize("name", ["North", "../x", "", "a" * 65, "n\x1b[31m", "日本"])
def test_odd_names(folder, name):
    with pytest.raises(ConfigError, match="cannot be called"):
        folder.invite(name, 7)
    assert not folder.enrolments.roll().seats


@pytest.mark.parametrize("days", [0, 31, -1])
def test_days(folder, days):
    with pytest.raises(ConfigError, match="1 to 30"):
        folder.invite("north", days)


def test_who_a_caller_is(folder, monkeypatch):
    callers = LocalCallers(folder)
    operator = callers.identify(b"")
    assert operator.roles == {Role.OPERATOR}
    operator.require(Action.ADMIT)
    with pytest.raises(NotAllowed, match="may not answer tasks"):
        operator.require(Action.ANSWER)
    with pytest.raises(NotAllowed, match="cannot be read"):
        callers.identify(b"no certificate")
    keys = MemberKeys.generate()
    stranger = folder.authority().issue(read_request(certificate_request(keys, "north")), 7)
    with pytest.raises(NotAllowed, match="nobody called 'north'"):
        callers.identify(stranger)
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(NotAllowed, match="cannot read"):
        callers.identify(b"")


def test_the_table_of_roles():
    assert set(ALLOWED) == set(Role)
    assert set().union(*ALLOWED.values()) == set(Action)
    for role in (Role.RESEARCHER, Role.AUDITOR, Role.SITE):
        caller = Caller("somebody", frozenset({role}))
        assert not any(caller.may(action) for action in (Action.INVITE, Action.ADMIT, Action.REVOKE))
    with pytest.raises(NotAllowed, match="its roles are none; it takes one of: operator, researcher"):
        Caller("nobody", frozenset()).require(Action.RUN)


def test_a_key_that_others_can_read_signs_nothing(folder):
    (folder.path / "transport-ca.key").chmod(0o644)
    with pytest.raises(KeyRefused, match="chmod 600"):
        folder.invite("north", 7)
    assert not folder.enrolments.roll().seats


def test_nobody_is_invited_whom_the_roll_does_not_know(folder):
    with pytest.raises(JoinRefused, match="nobody yet"):
        folder.enrolments.roll().of("north")


def test_the_servers_certificate_is_made_anew_when_a_third_is_left(tmp_path: Path):
    clock = Brisk()
    folder = make_center(tmp_path / "center", Center(federation="study", host="127.0.0.1"), clock)
    before = (folder.path / SERVER_FILE).read_bytes()
    assert not folder.renew_server()
    clock.ahead_s = 0.7 * 825 * 86_400
    assert folder.renew_server()
    after = (folder.path / SERVER_FILE).read_bytes()
    assert after != before
    assert not folder.renew_server()
    folder.tls().context()  # goes with the same key


def test_what_a_person_does_is_in_the_audit_log_and_so_is_its_refusal(folder):
    with folder.on_record("ada", "enrol.invite", "north"):
        folder.invite("north", 7)
    with pytest.raises(JoinRefused), folder.on_record("ada", "revoke.member", "south"):
        folder.enrolments.apply(Revoke("south"))
    found = [(entry.who, entry.action, entry.resource, entry.outcome) for _, entry in opened(folder.path / "audit").events()]
    assert found == [
        ("ada", "enrol.invite", "north", "done"),
        ("ada", "revoke.member", "south", "done"),
        ("ada", "revoke.member", "south", "refused"),
    ]
