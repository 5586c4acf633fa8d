from __future__ import annotations

import json
import threading
from dataclasses import replace
from itertools import repeat

import pytest

from fedmed.errors import DataError, ReleaseRefused
from fedmed.identity.releases import ReleaseKey
from fedmed.releases.channel import State
from fedmed.releases.fetching import BLOBS, METADATA, manifest_name
from fedmed.releases.signing import Keys
from fedmed.releases.slots import Evidence
from fedmed.wire.tensors import sha256
from tests.releases.simulator import (
    CRASHING,
    DAY,
    DISAGREEING,
    FAILING,
    GOOD,
    KILLS_TEST,
    SLOW,
    WRONG,
    World,
)


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


def stays(world: World, why: str, beats: int = 8) -> None:
    """No device ever makes another release active than the first one, and says why."""
    for _ in range(beats):
        for box in world.boxes:
            box.live()
            assert box.active == b"first"
    for box in world.boxes:
        assert box.running == b"first"
        assert any(why in text for text in [*box.refused, *(told.text for told in box.told)]), (box.refused, box.told)


def test_a_good_one_runs_on_all_devices_within_two_heartbeats(tmp_path):
    world = World(tmp_path, boxes=5)
    world.release(model=GOOD, golden=b"in and out")
    for box in world.boxes:
        assert box.live(2).running == GOOD
        assert box.live(2).active == GOOD
        assert box.device.store.anchor().counter == 2


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (WRONG, "self-test failed"),
        (SLOW, "slow results"),
        (FAILING, "errors"),
        (DISAGREEING, "disagreements"),
        (CRASHING, "the process ended with it, 2 times"),
        (KILLS_TEST, "the process ended with it, 2 times"),
    ],
)
@pytest.mark.parametrize("shadowed", [False, True])
def test_a_bad_one_is_given_up(world, model, why, shadowed):
    new = world.release(State.SHADOW if shadowed else State.ACTIVE, model=model)
    stays(world, why)
    if shadowed:
        world.federation.promote(new)
        world.clinic.allow(new)
        stays(world, why)
    assert [counter for counter, _ in world.box.device.slots.banned] == [2]
    world.release(model=GOOD)
    assert world.box.live(4).active == GOOD


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


def test_a_release_that_the_clinic_did_not_countersign(world):
    new = world.release(countersigned=False, model=GOOD)
    world.box.live(4)
    assert (world.box.active, world.box.running) == (b"first", b"first")
    assert world.box.device.agreement.unsigned == {new.counter}
    assert f"{BLOBS}/{sha256(GOOD)}" not in world.federation.asked
    world.clinic.allow(new)
    assert world.box.live(4).active == GOOD


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


def test_two_approvers_where_two_are_needed(tmp_path):
    world = World(tmp_path, approvers=3, thresholds=(1, 2))
    three = world.clinic.approvers
    new = world.release(countersigned=False, model=GOOD)
    world.clinic.approvers = three[:1]
    world.clinic.allow(new)
    stays(world, "signed by 1/2 keys")
    world.clinic.approvers = three[1:]
    world.clinic.allow(new)
    assert world.box.live(4).active == GOOD


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


def test_a_week_without_network_and_a_restart(world):
    world.federation.files.clear()
    world.clinic.files.clear()
    world.clock.sleep(30 * DAY)
    world.box.running = None
    world.box.start()
    assert (world.box.running, world.box.active) == (b"first", b"first")
    stays(world, "not there")


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


def test_rolled_back_by_the_center(world):
    new = world.release(model=GOOD)
    assert world.box.live(4).active == GOOD
    world.federation.roll_back(new)
    assert world.box.live().running == b"first"
    assert world.box.active == b"first"
    assert world.box.device.store.anchor().counter == new.counter
    world.box.start()
    assert world.box.running == b"first"


def test_refused_by_the_clinic_while_on_trial(world):
    new = world.release(model=GOOD)
    world.box.device.beat()
    assert world.box.running == GOOD
    world.clinic.allow(new, State.ROLLED_BACK)
    assert world.box.live().running == b"first"
    stays(world, "rolled back while on trial")


def test_rolled_back_after_the_other_slot_was_used(world):
    """The one to return to is brought back: below the anchor, and openly so."""
    second = world.release(model=GOOD)
    world.box.live(4)
    world.release(State.SHADOW, model=b"third")
    assert world.box.live(1).beside == b"third"
    world.federation.roll_back(second)
    world.box.live(4)
    assert world.box.active == b"first"
    assert world.box.device.store.anchor().counter == 2


def test_the_only_release_rolled_back_runs_on_and_says_so(world):
    world.federation.roll_back(world.first)
    stays(world, "runs on until there is one to return to")
    assert len([told for told in world.box.told if "runs on" in told.text]) == 1


def test_a_shadow_is_counted_and_never_gives_results(world):
    new = world.release(State.SHADOW, model=GOOD)
    world.box.live(3)
    assert (world.box.running, world.box.beside) == (b"first", GOOD)
    assert world.box.device.slots.beside.compared == 30
    world.federation.promote(new)
    world.box.live(4)
    assert world.box.active == b"first"
    world.clinic.allow(new)
    assert world.box.live(4).active == GOOD
    assert world.box.beside is None


def test_a_power_cut_in_a_trial_is_forgiven_once(world):
    world.release(model=GOOD)
    world.box.device.beat()
    world.box.start()
    assert world.box.running == b"first"
    assert world.box.live(4).active == GOOD


def test_a_stop_in_a_trial_goes_on_with_it(world):
    world.release(model=GOOD)
    world.box.live()
    world.box.device.stop()
    world.box.start()
    assert world.box.running == GOOD
    assert world.box.live(3).active == GOOD
    assert world.box.device.slots.crashes == ()


def test_a_damaged_package_is_not_run(world):
    world.release(model=GOOD)
    world.box.live(4)
    slot = world.box.device.slots.active
    (world.box.device.store.package(slot) / "model").write_bytes(b"evil")
    world.box.start()
    assert world.box.running == b"first"
    assert world.box.live(4).active == GOOD


def test_a_root_of_somebody_else(world):
    with pytest.raises(ReleaseRefused, match="fingerprint"):
        world.box.device.pin("federation", world.clinic.root, sha256(world.federation.root))
    world.box.device.pin("federation", world.clinic.root, sha256(world.clinic.root))
    assert world.box.live().refused == []


def test_a_root_that_is_renewed(world):
    from fedmed.releases import edition as editions

    old, keys = world.federation.keys, Keys(*((ReleaseKey.generate(),) for _ in range(3)))
    now = world.clock.unix()
    world.federation.edition = editions.rotated(world.federation.edition, keys, old.root, 1, world.federation.terms, now)
    world.federation.keys = keys
    world.federation.serve()
    world.release(model=GOOD)
    assert world.box.live(4).active == GOOD
    world.federation.keys = old
    world.federation.freshen()
    assert "signed by 0/1 keys" in world.box.live().refused[-1]


@pytest.mark.parametrize("hand", ["examine", "run", "beside"])
def test_a_package_that_cannot_be_opened_is_given_up(world, hand):
    def refuse(package):
        if package is not None and (package / "model").read_bytes() == GOOD:
            raise DataError("an operator that no device runs")
        return real(package)

    hands = world.box.device.hands
    real = getattr(hands, hand)
    world.box.device.hands = replace(hands, **{hand: refuse})
    world.release(State.SHADOW if hand == "beside" else State.ACTIVE, model=GOOD)
    stays(world, "an operator that no device runs", beats=3)
    assert (world.box.running, world.box.beside) == (b"first", None)


def test_what_a_heartbeat_tells(world):
    new = world.release(State.SHADOW, model=DISAGREEING)
    late = world.release(countersigned=False, model=GOOD)
    said = world.box.live(2).device.standing()
    assert (said["running"], said["active"], said["trial"], said["shadow"]) == (1, 1, None, None)
    assert list(said["given_up"]) == [new.counter]
    assert said["not_countersigned"] == [late.counter]
    assert json.loads(json.dumps(said))["shadow_seen"]["disagreed"] == 10


def test_results_are_observed_while_a_release_comes_in(world):
    """Two threads: a slow line, and images."""
    world.release(State.SHADOW, model=GOOD)
    world.box.live(2)
    world.release(model=b"next" * 1000)
    comes, goes_on, real = threading.Event(), threading.Event(), world.federation.pieces

    def slow(name, offset):
        if name.startswith(BLOBS):
            comes.set()
            assert goes_on.wait(20)
        return real(name, offset)

    world.box.device.fetchers["federation"].pieces = slow
    beat = threading.Thread(target=world.box.device.beat)
    beat.start()
    assert comes.wait(20)
    world.box.device.observe(0, Evidence(10, 10))
    goes_on.set()
    beat.join()
    assert world.box.model(world.box.device.slots.running) == b"next" * 1000
