"""A clinic's machine stops at any call that changes its disk, in any step of a round; then it starts again."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedmed.errors import ProtocolRefused
from fedmed.outbound.outbox import Outbox, Sent
from fedmed.privacy.secagg import masks, opening
from fedmed.privacy.secagg.member import Member
from fedmed.privacy.secagg.parameters import Parameters
from fedmed.privacy.secagg.schedule import vector_digest
from fedmed.store.counters import CounterFile
from fedmed.store.keystore import FileKeystore, MemoryKeystore
from tests.identity.parties import Standing
from tests.outbound.clinics import Clinics, begun, outboxes, set_up
from tests.privacy.secagg.federation import clinics_for, random_lanes, terms_for
from tests.store.power import KEEPS, Crash, Power

KEY = b"k" * 32
VICTIM = 1
STEPS = ("upload", "confirm", "reveal")


class Machine:
    """The victim's disk: a keystore's folder and, on another mount, the counter's."""

    def __init__(self, root: Path) -> None:
        self.folders = (root / "keystore", root / "medium")
        for folder in self.folders:
            folder.mkdir(parents=True)

    def keystore(self, power: Power | None = None) -> FileKeystore:
        disk = power or Power(*self.folders)
        return FileKeystore(self.folders[0], KEY, Standing(), CounterFile(self.folders[1] / "key.counter", KEY, disk), disk)


def prepared(root: Path) -> tuple[Machine, Clinics]:
    machine = Machine(root)
    with machine.keystore() as first:
        there = outboxes(4, [first, *(MemoryKeystore() for _ in range(3))])
    return machine, there


def asking(request: bytes):
    return lambda box: box.answer(request)


class Center:
    """Plays one round; the victim's machine stops at call `fails_at` of the step that it fails in, and starts again."""

    def __init__(self, machine: Machine, there: Clinics, step: str, fails_at: int, keeps: str) -> None:
        self.machine, self.there, self.step, self.fails_at, self.keeps = machine, there, step, fails_at, keeps
        self.calls, self.vectors = 0, list[bytes]()

    def victim(self, step: str, work):
        """The step's result; after a crash, that of the same request to the clinic as it has started again."""
        power = Power(*self.machine.folders, fails_at=self.fails_at if step == self.step else -1)
        with self.machine.keystore(power) as keystore:
            try:
                result = work(Outbox(self.there.members[VICTIM], keystore, threads=1))
                self.calls = power.calls if step == self.step else self.calls
                return result
            except Crash:
                pass
        power.lose(self.keeps)
        with self.machine.keystore() as keystore:
            return work(Outbox(self.there.members[VICTIM], keystore, threads=1))

    def upload(self, box: Outbox, given, lanes) -> Sent:
        mask = box.begin(given)
        sent = mask if isinstance(mask, Sent) else box.send(lanes.copy(), mask)
        self.vectors.append(sent.vector.tobytes())
        return sent

    def play(self, number: int) -> np.ndarray:
        header, given = self.there.round(number)
        state, total = opening.begin(self.there.agreed, header), np.zeros(64, np.uint32)
        values = {index: random_lanes(10 * number + index) for index in self.there.boxes}
        for index, box in self.there.boxes.items():
            if index == VICTIM:
                sent = self.victim("upload", lambda found: self.upload(found, given, values[VICTIM]))
            else:
                sent = box.send(values[index].copy(), begun(box, given))
            state = opening.take(state, index, sent.envelope, vector_digest(sent.vector))
            total = total + sent.vector
        state = opening.close(state)
        asked = opening.confirm_request(state)
        for index, box in self.there.boxes.items():
            answer = self.victim("confirm", asking(asked)) if index == VICTIM else box.answer(asked)
            state = opening.confirm(state, index, answer)
        asked = opening.reveal_request(state)
        for index, box in self.there.boxes.items():
            answer = self.victim("reveal", asking(asked)) if index == VICTIM else box.answer(asked)
            state = opening.reveal(state, index, answer)
        masks.apply(total, opening.open_sum(state).streams)
        assert np.array_equal(total, np.sum(list(values.values()), 0, dtype=np.uint32))
        return total


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("keeps", KEEPS)
def test_a_crash_at_any_call_and_the_round_goes_on(tmp_path, step, keeps):
    """The sum is exact, and the clinic has sent one vector for the round, whatever its disk kept."""
    machine, there = prepared(tmp_path / "first")
    whole = Center(machine, there, step, -1, keeps)
    whole.play(1)
    assert whole.calls > 5
    for fails_at in range(whole.calls):
        machine, there = prepared(tmp_path / f"at-{fails_at}")
        center = Center(machine, there, step, fails_at, keeps)
        center.play(1)
        assert len(set(center.vectors)) == 1
        Center(machine, there, "none", -1, keeps).play(2)
        shutil.rmtree(tmp_path / f"at-{fails_at}")


def test_a_disk_set_back_to_before_the_upload_sends_nothing_more(tmp_path):
    machine, there = prepared(tmp_path / "clinic")
    before = shutil.copytree(machine.folders[0], tmp_path / "before")
    header, given = there.round(1)
    with machine.keystore() as keystore:
        box = Outbox(there.members[VICTIM], keystore, threads=1)
        box.send(random_lanes(1), begun(box, given))
    assert header.number == 1
    shutil.rmtree(machine.folders[0])
    shutil.copytree(before, machine.folders[0])
    with machine.keystore() as keystore, pytest.raises(Exception, match="older") as caught:
        Outbox(there.members[VICTIM], keystore, threads=1)
    assert not isinstance(caught.value, ProtocolRefused)


class Interrupted:
    """The victim while an epoch is set up: its machine stops at call `fails_at` of one request, and starts again."""

    def __init__(self, machine: Machine, member: Member, step: int, fails_at: int, keeps: str) -> None:
        self.machine, self.member, self.step, self.fails_at, self.keeps = machine, member, step, fails_at, keeps
        self.asked, self.calls = 0, 0

    def answer(self, request: bytes) -> bytes:
        self.asked += 1
        hit = self.asked == self.step
        power = Power(*self.machine.folders, fails_at=self.fails_at if hit else -1)
        with self.machine.keystore(power) as keystore:
            try:
                answer = Outbox(self.member, keystore, threads=1).answer(request)
                self.calls = power.calls if hit else self.calls
                return answer
            except Crash:
                pass
        power.lose(self.keeps)
        with self.machine.keystore() as keystore:
            return Outbox(self.member, keystore, threads=1).answer(request)


@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize("keeps", KEEPS)
def test_a_crash_at_any_call_of_a_set_up_costs_the_epoch_at_most(tmp_path, step, keeps):
    """A step that was kept is never taken again; the next epoch stands, and its round's sum is exact."""
    terms, ends = replace(terms_for(4), rounds=2), []
    whole = Interrupted(Machine(tmp_path / "whole"), clinics_for(terms)[VICTIM].member, step, -1, keeps)
    assert set_up(terms, {VICTIM: whole, **others(terms)}).terms == terms
    assert whole.calls > 5
    for fails_at in range(whole.calls):
        machine = Machine(tmp_path / f"at-{fails_at}")
        victim = Interrupted(machine, clinics_for(terms)[VICTIM].member, step, fails_at, keeps)
        boxes = {VICTIM: victim, **others(terms)}
        try:
            agreed = set_up(terms, boxes)
            ends.append("stands")
        except ProtocolRefused:
            agreed = set_up(replace(terms, epoch=2), boxes)
            ends.append("lost")
        Center(machine, Clinics(boxes, {VICTIM: victim.member}, {}, agreed), "none", -1, keeps).play(1)
        shutil.rmtree(tmp_path / f"at-{fails_at}")
    assert set(ends) == {"stands", "lost"}


def others(terms: Parameters) -> dict[int, Outbox]:
    clinics = clinics_for(terms)
    return {index: Outbox(clinics[index].member, MemoryKeystore(), threads=1) for index in clinics if index != VICTIM}
