from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fedmed.center.heads import PATH, HeadsApp
from fedmed.center.listening import Listener
from fedmed.clinic.folder import ClinicFolder
from fedmed.clinic.pinned import PinnedKeys
from fedmed.clinic.watching import Watcher
from fedmed.errors import JoinRefused
from fedmed.identity.member import Identity
from fedmed.store.audit.event import event
from fedmed.store.audit.log import AuditLog
from tests.center.federation import Federation, federation, tls

LOG = bytes(32)


class Center:
    """Serves heads beside enrolment."""

    def __init__(self, up: Federation, place: Path) -> None:
        self.up, self.folder = up, up.folder
        self.log = AuditLog.make(place / "audit", "study", self.folder.keys(), self.folder.clock)
        self.app = HeadsApp(self.log, self.folder.admissions().admit, self.keys)
        self.listener = Listener(self.app, tls(self.folder), "127.0.0.1", 0)

    def keys(self) -> dict[bytes, bytes]:
        own = self.folder.keys()
        return {own.fingerprint: own.signing_public, **{m.fingerprint: m.signing_public for m in self.folder.members()}}

    def append(self, *names: str) -> None:
        self.log.append(*(event(self.folder.clock.unix(), "study", "center", "run.start", name) for name in names))


@pytest.fixture
def center(tmp_path: Path):
    with federation(tmp_path) as up:
        made = Center(up, tmp_path)
        with made.listener:
            yield made


def watcher(folder: ClinicFolder, told: list[str]) -> Watcher:
    keys, config = folder.keys(), folder.config
    me = Identity(config.name, keys.transport_public, keys.signing_public)
    pins = PinnedKeys(folder.path / "pins.json", me)
    return Watcher(folder.path / "watch.json", bytes.fromhex(config.center), keys, lambda: pins, folder.clock, told.append)


def line_of(center: Center, folder: ClinicFolder):
    return replace(folder.line(), port=center.listener.port)


def test_clinics_countersign_and_hear_each_other(center: Center):
    told: list[str] = []
    north, south = center.up.joined("north"), center.up.joined("south")
    for one, other in ((north, south), (south, north)):
        keys = other.keys()
        one.pins().add(Identity(other.config.name, keys.transport_public, keys.signing_public))
    first, second = watcher(north, told), watcher(south, told)
    assert first.bound(LOG) == LOG
    center.append("a", "b")
    first.beat(line_of(center, north))
    assert first.watch is not None
    assert first.watch.countersigned is not None
    assert first.watch.countersigned.head.size == 2
    assert first.bound(LOG) != LOG
    center.append("c")
    second.beat(line_of(center, south))
    first.beat(line_of(center, north))
    assert set(center.app.gathered.newest) == {north.keys().fingerprint, south.keys().fingerprint}
    assert first.watch.state.others[south.keys().fingerprint].head.size == 3
    assert told == []
    again = watcher(north, told)
    assert again.watch is not None
    assert again.watch.countersigned == first.watch.countersigned


def test_a_log_that_was_rewritten_is_told_and_not_countersigned(center: Center, tmp_path: Path):
    told: list[str] = []
    north = center.up.joined("north")
    watch = watcher(north, told)
    center.append("a", "b", "c")
    watch.beat(line_of(center, north))
    other = AuditLog.make(tmp_path / "other", "study", center.folder.keys(), center.folder.clock)
    other.append(event(center.folder.clock.unix(), "study", "center", "run.start", "another history"))
    center.app._log = other
    watch.beat(line_of(center, north))
    assert any("CONTRADICTS" in text for text in told)
    assert watch.watch is not None
    assert watch.watch.countersigned is not None
    assert watch.watch.countersigned.head.size == 3


def test_heads_of_somebody_elses_key_begin_no_watch(center: Center):
    told: list[str] = []
    north = center.up.joined("north")
    watch = watcher(north, told)
    watch._center = bytes(32)
    center.append("a")
    watch.beat(line_of(center, north))
    assert watch.watch is None
    assert "not signed by the center" in told[0]


def test_what_is_no_request_is_refused(center: Center):
    north = center.up.joined("north")
    for body in (
        b"",
        b"{}",
        b'{"countersigned":null,"size":-1,"asked":[]}',
        b'{"countersigned":null,"size":0,"asked":[[3,1]]}',
    ):
        with pytest.raises(JoinRefused, match="countersigned, size"):
            line_of(center, north).ask("POST", PATH, body)
    with pytest.raises(JoinRefused, match="POST alone"):
        line_of(center, north).ask("GET", PATH)


def test_an_approval_counts_from_the_next_look_on(center: Center):
    north, south = center.up.joined("north"), center.up.joined("south")
    keys, other = north.keys(), south.keys()
    pins = PinnedKeys(north.path / "pins.json", Identity("north", keys.transport_public, keys.signing_public))
    assert set(pins) == {keys.fingerprint}
    north.pins().add(Identity("south", other.transport_public, other.signing_public))
    assert pins[other.fingerprint] == other.signing_public
    north.pins().remove(other.fingerprint)
    assert other.fingerprint not in pins
