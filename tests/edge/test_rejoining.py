"""A device that was revoked comes back in its own folder: what waited there reaches the hub under the new keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fedmed.clock import SystemClock
from fedmed.edge import rejoining
from fedmed.edge.folder import AUDIT, EdgeFolder, open_edge
from fedmed.edge.rejoining import BEFORE, NEW, is_begun, join_again
from fedmed.errors import ConfigError, DeviceRefused, JoinRefused
from fedmed.hub.client import HubClient
from fedmed.hub.joining import HUB_FILE
from fedmed.hub.joining import join as enrol
from fedmed.store.audit.log import AuditLog
from fedmed.store.spool.entry import STUDY, USUAL, New
from fedmed.store.spool.quota import Quota
from fedmed.store.spool.spool import Spool
from fedmed.store.standing import serving as being_up
from tests.edge.device import device_of
from tests.hub.clinic import Place, piece_of, serving

COPY = b"a copy that waits"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with serving(tmp_path) as hub:
        yield hub


@pytest.fixture
def folder(place: Place) -> EdgeFolder:
    """A device in which something waits, and whose log was begun."""
    made = open_edge(device_of(place, "us-1").folder, SystemClock())
    made.log().head()
    with spool_of(made) as spool:
        spool.put(New(STUDY, "1.2.3", USUAL, {"study": "1.2.3"}, COPY))
    return made


def spool_of(folder: EdgeFolder) -> Spool:
    return Spool(folder.path / "spool", SystemClock(), Quota(ballast=0), lambda entry, why: None, folder.key())


def back(place: Place, folder: EdgeFolder, name: str = "us-1") -> EdgeFolder:
    code = place.folder.invite(name).text()
    join_again(code, "127.0.0.1", place.hub.ports.enrolment_port, folder.path, SystemClock())
    return open_edge(folder.path, SystemClock())


def test_what_waits_goes_on_under_new_keys(place: Place, folder: EdgeFolder):
    old = folder.device.keys().fingerprint
    place.folder.revoke("us-1")
    with HubClient(folder.device) as client, pytest.raises(DeviceRefused, match=r"--again"):
        client.beat("up", {})
    again = back(place, folder)
    assert again.device.keys().fingerprint != old
    assert again.config == folder.config
    with spool_of(again) as spool, HubClient(again.device) as client:
        [entry] = spool.batch([STUDY], SystemClock().unix())
        [sent] = client.upload([piece_of(COPY, study="1.2.3")], lambda piece: spool.content(entry))
    assert sent.error is None
    assert [each.content for each in place.kept] == [COPY]
    before = folder.path / f"{BEFORE}{old.hex()[:16]}"
    assert AuditLog(before / AUDIT, SystemClock()).owner.fingerprint == old  # whole, and another one from now on
    assert again.log().owner.fingerprint == again.device.keys().fingerprint
    assert not (folder.path / NEW).exists()


def test_a_folder_that_joined_says_how_it_joins_anew(place: Place, folder: EdgeFolder):
    place.folder.revoke("us-1")
    code = place.folder.invite("us-1").text()
    with pytest.raises(ConfigError, match=r"join once more with a new code and --again: all that waits there stays"):
        enrol(code, "127.0.0.1", place.hub.ports.enrolment_port, folder.path, SystemClock())


def test_a_code_for_another_device_is_refused_and_not_used_up(place: Place, folder: EdgeFolder):
    code = place.folder.invite("us-2").text()
    port = place.hub.ports.enrolment_port
    with pytest.raises(ConfigError, match=r"the code is for 'us-2', and .* is the folder of 'us-1'"):
        join_again(code, "127.0.0.1", port, folder.path, SystemClock())
    assert enrol(code, "127.0.0.1", port, folder.path.parent / "other", SystemClock()).name == "us-2"
    with HubClient(open_edge(folder.path, SystemClock()).device) as client:
        client.beat("up", {})  # nothing of the folder changed


def test_a_code_of_another_clinic_is_told_nothing(folder: EdgeFolder, tmp_path: Path):
    with serving(tmp_path / "other") as other:
        with pytest.raises(ConfigError, match="another authority than north's"):
            join_again(
                other.folder.invite("us-1").text(),
                "127.0.0.1",
                other.hub.ports.enrolment_port,
                folder.path,
                SystemClock(),
            )
        assert not [each for each in other.events if each.action == "enrol"]


def test_a_device_that_is_let_in_is_not_joined_twice(place: Place, folder: EdgeFolder):
    with pytest.raises(JoinRefused):
        back(place, folder)


def test_not_while_its_agent_is_up_and_not_without_a_folder(place: Place, folder: EdgeFolder, tmp_path: Path):
    place.folder.revoke("us-1")
    with being_up(folder.path, "the agent"), pytest.raises(ConfigError, match="the agent is up already"):
        back(place, folder)
    with pytest.raises(ConfigError, match="is no device's folder"):
        join_again("x", "127.0.0.1", 1, tmp_path / "nowhere", SystemClock())


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("at", range(1, 7))
def test_a_process_that_is_killed_while_keys_are_exchanged_is_gone_on_with(
    place: Place, folder: EdgeFolder, at: int, monkeypatch: pytest.MonkeyPatch
):
    place.folder.revoke("us-1")
    steps, real = list[Path](), rejoining._take_over

    def counted(change: Callable[..., object]) -> Callable[..., object]:
        def step(path: Path, *given: object, **named: object) -> object:
            steps.append(path)
            if len(steps) == at:
                raise Killed
            return change(path, *given, **named)

        return step

    with monkeypatch.context() as patch:

        def killed(*given: Path) -> None:
            for name in ("rename", "replace", "unlink"):
                patch.setattr(Path, name, counted(getattr(Path, name)))
            real(*given)

        patch.setattr(rejoining, "_take_over", killed)
        with pytest.raises(Killed):
            back(place, folder)
    assert is_begun(folder.path)
    join_again("no code is needed", "127.0.0.1", 1, folder.path, SystemClock())
    again = open_edge(folder.path, SystemClock())
    with HubClient(again.device) as client:
        client.beat("up", {})
    again.log().head()
    assert (folder.path / HUB_FILE).exists()
    assert not (folder.path / NEW).exists()


def test_keys_of_a_join_that_was_cut_off_and_revoked_since_keep_nobody_out(
    place: Place, folder: EdgeFolder, monkeypatch: pytest.MonkeyPatch
):
    def killed(*given: Path) -> None:
        raise Killed

    place.folder.revoke("us-1")
    with monkeypatch.context() as patch:
        patch.setattr(rejoining, "_take_over", killed)
        with pytest.raises(Killed):
            back(place, folder)
    (folder.path / NEW / HUB_FILE).unlink()
    place.folder.revoke("us-1")
    with pytest.raises(JoinRefused, match="keys that were revoked"):
        back(place, folder)
    with HubClient(back(place, folder).device) as client:
        client.beat("up", {})
