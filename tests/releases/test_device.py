from __future__ import annotations

import json
import threading
from dataclasses import replace

import pytest

from fedmed.errors import DataError
from fedmed.identity.releases import ReleaseKey
from fedmed.releases.channel import State
from fedmed.releases.fetching import BLOBS
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
    stays,
)


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


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


def test_a_release_that_the_clinic_did_not_countersign(world):
    new = world.release(countersigned=False, model=GOOD)
    world.box.live(4)
    assert (world.box.active, world.box.running) == (b"first", b"first")
    assert world.box.device.agreement.unsigned == {new.counter}
    assert f"{BLOBS}/{sha256(GOOD)}" not in world.federation.asked
    world.clinic.allow(new)
    assert world.box.live(4).active == GOOD


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


def test_a_week_without_network_and_a_restart(world):
    world.federation.files.clear()
    world.clinic.files.clear()
    world.clock.sleep(30 * DAY)
    world.box.running = None
    world.box.start()
    assert (world.box.running, world.box.active) == (b"first", b"first")
    stays(world, "not there")


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
