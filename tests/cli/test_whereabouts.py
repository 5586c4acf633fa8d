"""`fedmed edge status` of a clinic's folder, with the hub and a device's agent as processes of their own."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from fedmed.clock import SystemClock
from fedmed.config.edge import EDGE_FILE, Dicom, Edge
from fedmed.config.roles import written
from fedmed.edge.folder import make_edge, open_edge
from fedmed.hub.borrowing import Borrowing, Question
from fedmed.hub.client import HubClient
from fedmed.privacy import keys
from fedmed.store.standing import read_status
from tests.edge.device import Device
from tests.hub.clinic import free_port
from tests.hub.process import Service
from tests.system.hospitals import until

FACTS = {
    "node": {"cores": 4, "memory": 8 * 10**9, "disk": 10**11, "gpu": 15 * 10**9, "cards": 1, "threads": 2},
    "models": {"active": {"name": "skin", "version": "2", "precision": "int8"}},
    "spool": {"entries": {"study": 2}},
    "health": {"isolated": "", "past": [], "readings": {"gpu0 gpu_temperature": 61.0}},
}

Status = dict[str, Any]


def beside(place: Service, name: str) -> Device:
    joined = place.joined(name, place.path.parent / name)
    make_edge(joined)
    keys.create(joined.path / "site.key")
    port = place.hub.config.port
    config = Edge(name=name, hub="127.0.0.1", port=port, dicom=Dicom(port=free_port()))
    (joined.path / EDGE_FILE).write_bytes(written(config))
    return Device("edge", joined.path, config=open_edge(joined.path, SystemClock()).config)


def status(place: Service, said) -> dict[str, Any]:
    code, out, err = said("edge", "status", "--at", place.path, "--json")
    assert code == 0, err
    return json.loads(out)


def heard(found: dict[str, Any], name: str) -> dict[str, Any]:
    (row,) = [each for each in found["devices"] if each["name"] == name]
    return row["heard"] or {"facts": {}, "isolated": ""}


def told(found: dict[str, Any], name: str) -> dict[str, Any]:
    return heard(found, name)["facts"]


def tasks(found: dict[str, Any]) -> dict[str, Any]:
    return {each["name"]: each for each in found["tasks"]}


def once(place: Service, said, is_so: Callable[[Status], object], box: HubClient, facts: Status) -> Status:
    """The status once it is so; until then `box` is heard with these facts."""
    found = dict[str, Any]()

    def looked() -> object:
        box.beat("up", facts)
        found.update(status(place, said))
        return is_so(found)

    until(looked)
    return found


@contextmanager
def clinic(path: Path) -> Iterator[Service]:
    """Whose hub misses a device after three seconds."""
    place = Service(path)
    place.rules(place.hub, beat_s=1.0)
    place.start()
    try:
        yield place
    finally:
        place.end()


def test_where_things_run_how_devices_are_and_who_is_lost(tmp_path, said, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    with clinic(tmp_path) as place, ExitStack() as stack:
        assert status(place, said)["devices"] == []
        assert "no device was invited yet" in said("edge", "status", "--at", place.path)[1]
        agent = beside(place, "us-1")
        agent.start()
        stack.callback(agent.end, signal.SIGKILL)
        with HubClient(place.joined("t4", tmp_path / "t4")) as box:
            found = once(place, said, lambda now: tasks(now).keys() == {"images:t4", "studies:t4"}, box, FACTS)
            images = tasks(found)["images:t4"]
            assert (images["where"], images["how"]) == (["t4"], "cuda int8 batch 1")
            assert tasks(found)["studies:t4"]["where"] == ["clinic:north"]
            assert {each["tier"] for each in found["nodes"]} == {"device", "clinic", "center"}
            found = once(place, said, lambda now: told(now, "us-1").get("health", {}).get("readings"), box, FACTS)
            assert 0 < told(found, "us-1")["health"]["readings"]["memory_used"] < 1
            ill = {**FACTS, "health": {"isolated": "gpu0: gpu reachable is 0, below 1"}}
            once(place, said, lambda now: heard(now, "t4")["isolated"], box, ill)
            code, out, _ = said("edge", "status", "--at", place.path)
            assert code == 0
            assert re.search(r"images:t4 +real-time +nowhere +- +no node has room", out)
            assert "takes no work: gpu0: gpu reachable is 0, below 1" in out
            asks = {**ill, "models": {"active": {**FACTS["models"]["active"], "digest": "a" * 64}}, "asks_others": True}
            once(place, said, lambda now: told(now, "t4").get("asks_others"), box, asks)
            assert Borrowing(box).ask(Question("a" * 64, b"pixels")).state == "waiting"
            once(place, said, lambda now: [each for each in tasks(now) if each.startswith("look:t4:")], box, asks)
            out = said("edge", "status", "--at", place.path)[1]
            assert re.search(r"look:t4:[0-9a-f]{32} +compute +nowhere +- +no node has room: .*itself what asks", out)
            assert "images of t4 that others look at, since the hub is up: 1 asked" in out
            nonsense = {"health": "\x1b", "models": 3, "spool": 3, "node": []}  # a device may tell anything
            once(place, said, lambda now: told(now, "t4").get("spool") == 3, box, nonsense)
            assert said("edge", "status", "--at", place.path)[0] == 0
        until(lambda: agent.status().get("health", {}).get("readings"), agent.is_running)
        out = said("edge", "status", "--at", agent.folder)[1]
        assert "no limit is passed; " in out or "past its limit" in out
        assert re.search(r"cpu busy [0-9.e+]+ %", out)
        agent.end(signal.SIGKILL)
        until(lambda: {each["standing"] for each in status(place, said)["nodes"] if each["tier"] == "device"} == {"lost"})
        assert "lost, last heard" in said("edge", "status", "--at", place.path)[1]
        place.kill()
        code, out, err = said("edge", "status", "--at", place.path)
        assert code == 0
        assert "the hub is not up" in err
        assert re.search(r"us-1 +enrolled +unknown", out)
        place.start()
        nodes = ["t4", "us-1", "clinic:north", "center:federation"]
        until(lambda: [each["name"] for each in status(place, said)["nodes"]] == nodes)
        kept = read_status(place.hub.path)["placement"]["told"]
        assert kept["us-1"]["node"]["memory"] > 0  # a hub that was killed still knows what its devices told
