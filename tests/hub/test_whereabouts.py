"""The placement of a hub that serves, on real ports, with the clinic's own machine."""

from __future__ import annotations

import pytest

from fedmed.hub.folder import DOWN
from fedmed.hub.machine import MOST_SILENT_S, silent_s
from fedmed.hub.whereabouts import Whereabouts
from fedmed.placement.told import task_rows
from fedmed.store.standing import STATUS, read_status
from tests.hub.clinic import Place, serving
from tests.hub.test_placing import FACTS

SERIAL = "0" * 13 + "1234567"


@pytest.fixture
def place(tmp_path):
    with serving(tmp_path) as found:
        yield found


def running(place: Place) -> dict[str, tuple[str, ...]]:
    return {row.name: row.where for row in task_rows(place.hub.whereabouts.placed.state)}


def test_a_part_of_a_round_is_placed_while_it_is_asked_for(place):
    with place.client("us-1") as device:
        device.beat("up", FACTS)
        place.down("us-1", "round", SERIAL, b"order")
        place.down("us-1", "round", "notes", b"no serial")
        place.down("nobody", "round", SERIAL, b"of a device that is not enrolled")
        place.hub.look()
        assert running(place).keys() == {"images:us-1", "studies:us-1", f"round:us-1:{SERIAL}"}
        (place.folder.path / DOWN / "us-1" / "round" / SERIAL).unlink()
        place.hub.look()
        assert running(place).keys() == {"images:us-1", "studies:us-1"}
        place.folder.revoke("us-1")
        place.hub.look()
        assert running(place) == {}
        assert "us-1" not in read_status(place.folder.path)["devices"]


def test_the_clinics_machine_is_as_large_as_it_is(place):
    place.hub.look()
    (own,) = [each.node for each in place.hub.whereabouts.placed.state.nodes.values() if each.node.clinic]
    assert own.name == "clinic:north"
    assert own.capacity.cores_milli >= 1000
    assert own.capacity.memory > 10**8
    assert own.capacity.disk > 10**8


def test_a_hub_that_begins_again_knows_what_devices_told(place):
    with place.client("us-1") as device:
        device.beat("up", {**FACTS, "paused": True})
    place.hub.look()
    assert place.hub.standing()["devices"]["us-1"]["isolated"] == "its staff has paused it"
    place.again()
    place.hub.look()
    assert running(place) == {"images:us-1": ()}
    assert place.hub.whereabouts.placed.isolated("us-1") == "its staff has paused it"
    assert any(text.startswith("images:us-1 runs nowhere now") for text in place.told)


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b'{"placement":7}', b'{"placement":{"told":[]}}', b'{"placement":{"told":{"a":1}}}']
)
def test_a_status_that_is_none_costs_one_heartbeat_and_no_start(place, content):
    path = place.folder.path / STATUS
    path.write_bytes(content)
    path.chmod(0o600)
    assert Whereabouts(place.folder, place.told.append).placed.told == {}


def test_prometheus_sees_how_many_devices_are_ready_and_what_waits(place):
    with place.client("us-1") as device:
        device.beat("up", {**FACTS, "health": {"isolated": "gpu0: hot"}})
    place.hub.look()
    shown = place.hub._metrics.exposition().decode()
    assert 'fedmed_placement_nodes{standing="isolated",tier="device"} 1.0' in shown
    assert 'fedmed_placement_tasks{class="real-time",status="waiting"} 1.0' in shown
    assert "us-1" not in "".join(line for line in shown.splitlines() if "placement" in line)


def test_no_device_is_silent_for_three_minutes_unnoticed():
    assert silent_s(20.0) == 60.0
    assert silent_s(60.0) == MOST_SILENT_S < 180
