"""Rounds of a clinic's devices over its real hub: gRPC, certificates, files; each device a thread with its own client."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from secrets import token_bytes

from fedmed.clock import SystemClock
from fedmed.errors import ProtocolRefused, Unreachable
from fedmed.hub.client import HubClient
from fedmed.hub.fellows import enrolled
from fedmed.hub.rounds import FolderTransport
from fedmed.hub.serving import Hub, folder_keeper
from fedmed.hub.training import Trainee
from fedmed.store.keystore import MemoryKeystore
from fedmed.tiers import fold
from fedmed.tiers.asking import Devices
from fedmed.tiers.round import Rules
from fedmed.tiers.taking_part import Own
from fedmed.tiers.terms import Device, Way, scope
from tests.hub.clinic import Place, serving
from tests.tiers.clinic import BOUND, Data, apart, data, flat, model, work

SCOPE = scope("fed", "north")


@dataclass
class Box:
    """A device that calls its hub until it is stopped."""

    client: HubClient
    own: Data
    stop: threading.Event = field(default_factory=threading.Event)
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        def own(known):
            return Own(known, self.own.cases, BOUND)

        self.trainee = Trainee(self.client, "fed", self.own.train, own, MemoryKeystore(), token_bytes, self.log.append)
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self) -> None:
        with self.client:
            while not self.stop.is_set():
                try:
                    self.trainee.look(self.client.beat("up", self.trainee.facts).owed)
                except (Unreachable, ProtocolRefused) as error:  # as an agent: the next heartbeat tells more
                    self.log.append(str(error))
                time.sleep(0.02)


@dataclass
class There:
    place: Place
    boxes: dict[str, Box]
    hub: Devices
    told: list[str]


@contextmanager
def clinic(path: Path, sets: dict[str, Data]) -> Iterator[There]:
    with serving(path, beat_s=1, trains=True) as place:
        keepers = {"update": folder_keeper(place.folder.path / "updates")}
        place._made = lambda: Hub(place.folder, keepers, place._append, place.told.append)
        place.again()
        clients = {name: place.client(name) for name in sets}
        boxes = {name: Box(clients[name], own) for name, own in sets.items()}

        def known() -> list[Device]:
            facts = place.hub.calls.state.devices
            return [
                Device(each.name, each.fingerprint, each.signing_public, facts[each.name].facts["cases"])
                for each in enrolled(place.folder)
                if each.name in facts
            ]

        def alive() -> list[str]:
            return [name for name, each in place.hub.calls.state.devices.items() if each.is_alive]

        told: list[str] = []
        line = FolderTransport(place.folder.path, alive, SystemClock())
        hub = Devices(line, known, SCOPE, Rules(60, opening_s=30), SystemClock(), told.append)
        for box in boxes.values():
            box.thread.start()
        while len(known()) < len(sets) or any(len(box.trainee.fellows.pins) < len(sets) for box in boxes.values()):
            time.sleep(0.02)
        try:
            yield There(place, boxes, hub, told)
        finally:
            for box in boxes.values():
                box.stop.set()
            for box in boxes.values():
                box.thread.join(20)


def sets(count: int) -> dict[str, Data]:
    return {f"box-{place}": data(place, 40 + place) for place in range(count)}


def test_devices_train_over_the_hub_and_their_sum_is_flat(tmp_path):
    here = sets(4)
    with clinic(tmp_path, here) as there:
        for _ in range(2):
            gathered = there.hub.ask(work(model()))
            assert (gathered.way, set(gathered.joined)) == (Way.MASKED, set(here))
            folded = fold.fold(gathered.parts, model())
            assert apart(folded, flat(here)) <= 1e-6 + folded.error
        assert not list((there.place.folder.path / "down").glob("box-*/round/*"))
        left = list((there.place.folder.path / "updates").glob("*/*.json"))
        assert len(left) <= len(here), "of twelve messages each, at most the last answers that nobody waited for"


def test_two_devices_go_as_they_are(tmp_path):
    here = sets(2)
    with clinic(tmp_path, here) as there:
        gathered = there.hub.ask(work(model()))
        assert gathered.way is Way.PLAIN
        assert apart(fold.fold(gathered.parts, model()), flat(here)) == 0


def test_a_device_that_stops_is_named_and_the_others_are_folded(tmp_path):
    here = sets(4)
    with clinic(tmp_path, here) as there:
        assert there.hub.ask(work(model())).parts
        there.hub._rules = replace(there.hub._rules, wait_s=6)
        there.boxes["box-2"].stop.set()
        there.boxes["box-2"].thread.join()
        gathered = there.hub.ask(work(model()))
        assert set(gathered.failed) == {"box-2"}
        folded = fold.fold(gathered.parts, model())
        assert apart(folded, flat({name: each for name, each in here.items() if name != "box-2"})) <= 1e-6 + folded.error


def test_a_hub_that_begins_anew_in_a_round_loses_nothing(tmp_path):
    here = sets(3)
    with clinic(tmp_path, here) as there:
        again = threading.Timer(0.1, there.place.again)
        again.start()
        gathered = there.hub.ask(work(model()))
        again.join()
        if gathered.parts:
            folded = fold.fold(gathered.parts, model())
            assert apart(folded, flat(here)) <= 1e-6 + folded.error
        else:
            assert gathered.reason
        while len(there.place.hub.calls.state.devices) < 3:
            time.sleep(0.02)
        assert there.hub.ask(work(model())).parts, "and the next round is whole"


def test_an_answer_that_is_still_written_is_left_alone(tmp_path):
    line, serial, digest = FolderTransport(tmp_path, lambda: ["box"], SystemClock()), "1".zfill(20), "ab" * 32
    folder = tmp_path / "updates" / "box"
    folder.mkdir(parents=True)
    (folder / f".{digest}.json").write_text(json.dumps({"facts": {"round": serial}}))
    (folder / f".{digest}").write_bytes(serial.encode() + b"answer")
    assert list(line._came({"box"}, serial)) == []
    for name in (f"{digest}.json", digest):
        (folder / f".{name}").rename(folder / name)
    assert [each.body for each in line._came({"box"}, serial)] == [b"answer"]
    assert not list(folder.iterdir())
