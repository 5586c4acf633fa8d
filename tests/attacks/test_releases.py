"""Who alters, replays, mixes, withholds or signs without right: no device takes anything of it, and what runs, runs on."""

from __future__ import annotations

from dataclasses import replace
from itertools import repeat

import pytest

from fedmed.errors import ReleaseRefused
from fedmed.identity.releases import ReleaseKey
from fedmed.releases.channel import State
from fedmed.releases.fetching import BLOBS, METADATA, manifest_name
from fedmed.wire.tensors import sha256
from tests.releases.simulator import (
    DAY,
    GOOD,
    World,
    stays,
)


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


def test_a_package_that_was_altered_on_its_way(world):
    world.release(model=GOOD)
    world.federation.files[f"{BLOBS}/{sha256(GOOD)}"] = b"evil"
    stays(world, "model of a release is not what was signed")
    assert world.box.examined == 1


def test_a_manifest_that_was_altered_on_its_way(world):
    new = world.release(model=GOOD)
    world.federation.files[manifest_name(new)] = world.federation.files[manifest_name(new)].replace(b"1.0", b"1.1")
    stays(world, "is not the one that was signed")


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_metadata_that_was_altered(world, role):
    world.release(model=GOOD)
    for name in [name for name in world.federation.files if name.endswith(f"{role}.json")]:
        world.federation.files[name] = world.federation.files[name].replace(b'"expires":"20', b'"expires":"21')
    stays(world, "was refused")


def test_a_release_that_only_the_clinic_signed(world):
    """The clinic's key was stolen."""
    new = world.release(State.CANDIDATE, countersigned=False, model=GOOD)
    world.clinic.allow(new)
    world.box.live(4)
    assert (world.box.active, world.box.running) == (b"first", b"first")


def test_a_clinic_that_countersigned_another_manifest_under_the_same_counter(world):
    other = World(world.box.folder / "elsewhere").release(model=b"other")
    world.clinic.allow(other)
    world.release(countersigned=False, model=GOOD)
    world.box.live(4)
    assert world.box.active == b"first"


def test_a_countersignature_by_somebody_who_is_no_approver(world):
    new = world.release(countersigned=False, model=GOOD)
    world.clinic.approvers = [ReleaseKey.generate()]
    world.clinic.allow(new)
    stays(world, "countersigned was signed by 0/1 keys")


@pytest.mark.parametrize("role", ["targets", "fresh"])
def test_a_key_of_somebody_else(world, role):
    """Who broke into the line signs with his own keys."""
    world.federation.keys = replace(world.federation.keys, **{role: (ReleaseKey.generate(),)})
    world.release(model=GOOD)
    stays(world, "signed by 0/1 keys")


def test_a_replayed_timestamp_and_all_that_it_names(world):
    old = dict(world.federation.files)
    world.release(model=GOOD)
    assert world.box.live(4).active == GOOD
    world.federation.files = old
    world.box.live(3)
    assert world.box.active == GOOD
    assert "timestamp version" in world.box.refused[-1]


def test_an_older_release_signed_when_it_was_current(world):
    """The box was set up anew, TUF's own memory with it; the anchor was not."""
    old = dict(world.federation.files), dict(world.clinic.files)
    world.release(model=GOOD)
    assert world.box.live(4).active == GOOD
    for path in sorted((world.box.folder / "slots").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    world.federation.files, world.clinic.files = old
    world.box.start()
    world.box.live(4)
    assert (world.box.active, world.box.running) == (None, None)
    assert "replay" in world.box.refused[-1]


def test_an_older_release_that_both_name_as_active_again(world):
    """Both authorities' keys are stolen: still no release below the one that ran here, unless that one is ended openly."""
    new = world.release(model=GOOD)
    assert world.box.live(4).active == GOOD
    keep = [one for one in world.federation.edition.channel.releases if one.counter != new.counter]
    world.federation.state(lambda channel: type(channel)(tuple(keep)))
    world.box.live(4)
    assert world.box.active == GOOD
    assert world.box.device.slots.banned == ()


def test_metadata_of_two_editions_mixed(world):
    before = dict(world.federation.files)
    world.release(model=GOOD)
    newest = max(name for name in world.federation.files if name.endswith(".snapshot.json"))
    world.federation.files[newest] = before[max(name for name in before if name.endswith(".snapshot.json"))]
    stays(world, "was refused")


@pytest.mark.parametrize("name", [f"{METADATA}/timestamp.json", "blob", "manifest"])
def test_endless_data(world, name):
    new = world.release(model=GOOD)
    names = {"blob": f"{BLOBS}/{sha256(GOOD)}", "manifest": manifest_name(new)}
    endless, real = names.get(name, name), world.federation.pieces
    taken = []

    def pieces(asked, offset):
        if asked != endless:
            return real(asked, offset)
        return (taken.append(1) or b"x" * 1000 for _ in repeat(None))

    world.box.device.fetchers["federation"].pieces = pieces
    stays(world, "not what was signed" if name == "blob" else "more than", beats=3)
    assert len(taken) < 100


@pytest.mark.parametrize("who", ["federation", "clinic"])
def test_expired_metadata_changes_nothing_and_stops_nothing(world, who):
    world.release(model=GOOD)
    world.clock.sleep(8 * DAY)
    getattr(world, "clinic" if who == "federation" else "federation").freshen()
    stays(world, "expired")
    world.clinic.freshen()
    world.federation.freshen()
    assert world.box.live(4).active == GOOD


def test_a_clock_that_was_set_back_revives_nothing_that_had_expired(world):
    new = world.release(countersigned=False, model=GOOD)
    world.clinic.allow(new)
    frozen = dict(world.federation.files), dict(world.clinic.files)
    world.clock.sleep(6 * DAY)
    world.federation.freshen()
    world.clinic.freshen()
    world.federation.files[f"{BLOBS}/{sha256(GOOD)}"] = b""  # the box learns of the time, and of nothing else
    world.box.live(2)
    world.clock.sleep(-5 * 365 * DAY)
    world.box.live()
    assert world.box.active == b"first"
    assert not any("expired" in text for text in world.box.refused)
    world.federation.files, world.clinic.files = frozen
    world.box.live()
    assert "timestamp version" in world.box.refused[-1]


def test_a_clock_that_runs_ahead_stops_nothing_and_heals(world):
    world.release(model=GOOD)
    world.clock.sleep(3 * 365 * DAY)
    stays(world, "expired", beats=2)
    world.box.start()
    assert world.box.running == b"first"
    world.clock.sleep(-3 * 365 * DAY)
    assert world.box.live(4).active == GOOD


def test_a_root_of_somebody_else(world):
    with pytest.raises(ReleaseRefused, match="fingerprint"):
        world.box.device.pin("federation", world.clinic.root, sha256(world.federation.root))
    world.box.device.pin("federation", world.clinic.root, sha256(world.clinic.root))
    assert world.box.live().refused == []
