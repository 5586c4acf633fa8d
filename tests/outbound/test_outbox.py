from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedmed.errors import ProtocolRefused, StoreError
from fedmed.identity.heads import bound
from fedmed.outbound.outbox import Outbox, Sent
from fedmed.privacy.secagg import convening, masks, opening
from fedmed.privacy.secagg.convening import Phase
from fedmed.privacy.secagg.parameters import Parameters
from fedmed.privacy.secagg.schedule import vector_digest
from fedmed.store.audit.watch import Watch
from fedmed.store.keystore import MemoryKeystore
from fedmed.store.unsealed import UnsealedKeystore
from tests.identity.logs import CENTER, CLINICS, MEMBERS, head_of, tree_of
from tests.identity.parties import Standing
from tests.outbound.clinics import Clinics, begun, outboxes, set_up
from tests.privacy.secagg.federation import clinics_for, random_lanes, terms_for


@pytest.fixture
def there():
    return outboxes(4, [MemoryKeystore() for _ in range(4)])


def uploaded(there: Clinics, dtype=np.uint32) -> tuple[opening.Opening, np.ndarray]:
    header, given = there.round(1, bits=8 * np.dtype(dtype).itemsize)
    state, total = opening.begin(there.agreed, header), np.zeros(64, dtype)
    for index, box in there.boxes.items():
        sent = box.send(random_lanes(index, 64, dtype), begun(box, given))
        state, total = opening.take(state, index, sent.envelope, vector_digest(sent.vector)), total + sent.vector
    return opening.close(state), total


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_a_round_through_keystores(there, dtype):
    state, total = uploaded(there, dtype)
    masks.apply(total, there.opened(state).streams)
    assert np.array_equal(total, np.sum([random_lanes(index, 64, dtype) for index in there.boxes], 0, dtype=dtype))


def test_the_same_bytes_however_often_they_are_asked_for(there):
    _, given = there.round(1)
    sent = there.boxes[1].send(random_lanes(1), begun(there.boxes[1], given))
    again = there.boxes[1].begin(given)
    assert isinstance(again, Sent)
    assert again.envelope == sent.envelope
    assert np.array_equal(again.vector, sent.vector)


def test_a_second_vector_for_a_round_never_leaves(there):
    _, given = there.round(1)
    mask = begun(there.boxes[1], given)
    there.boxes[1].send(random_lanes(1), mask)
    with pytest.raises(ProtocolRefused, match="out of turn"):
        there.boxes[1].send(random_lanes(2), mask)


def test_a_clinic_that_starts_again_goes_on(there):
    _, given = there.round(1)
    sent = there.boxes[1].send(random_lanes(1), begun(there.boxes[1], given))
    again = Outbox(there.members[1], there.keystores[1]).begin(given)
    assert isinstance(again, Sent)
    assert np.array_equal(again.vector, sent.vector)


def test_after_the_round_nothing_is_left_to_send(there):
    there.opened(uploaded(there)[0])
    with pytest.raises(StoreError, match="no longer kept"):
        there.boxes[1].begin(there.round(1)[1])


def test_a_refusal_changes_nothing_on_the_disk(there):
    before = there.keystores[1].load()
    with pytest.raises(ProtocolRefused):
        there.boxes[1].answer(b"FMSA\x01\x12")
    assert there.keystores[1].load() == before


def test_the_head_of_the_audit_log_is_bound_in():
    head = b"h" * 32
    there = outboxes(4, [MemoryKeystore() for _ in range(4)], head=lambda: head)
    state, _ = uploaded(there)
    state = opening.confirm(state, 1, there.boxes[1].answer(opening.confirm_request(state)))
    assert state.confirmed[1].head == head


def test_an_epoch_is_set_up_once(there):
    request = convening.requests(convening.convene(terms_for(4), there.agreed.keys))[1]
    with pytest.raises(ProtocolRefused, match="epoch used before"):
        Outbox(there.members[1], there.keystores[1]).answer(request)


class AnyProcess:
    """A clinic whose every message comes to another process, as on Ray."""

    def __init__(self, member, path: Path) -> None:
        self.processes = [Outbox(member, UnsealedKeystore(path), threads=1) for _ in range(3)]
        self.turn = 0

    def __getattr__(self, name: str):
        self.turn += 1
        return getattr(self.processes[self.turn % 3], name)


def any_process(terms: Parameters, folder: Path) -> dict[int, AnyProcess]:
    return {index: AnyProcess(each.member, folder / f"{index}.state") for index, each in clinics_for(terms).items()}


def test_any_process_answers_any_message(tmp_path):
    terms = terms_for(4)
    boxes = any_process(terms, tmp_path)
    agreed = set_up(terms, boxes)
    there = Clinics(boxes, {}, {}, agreed)
    header, given = there.round(1)
    state, total = opening.begin(agreed, header), np.zeros(64, np.uint32)
    for index, box in boxes.items():
        working = box.processes[index % 3]
        sent = working.send(random_lanes(index), begun(working, given))
        state, total = opening.take(state, index, sent.envelope, vector_digest(sent.vector)), total + sent.vector
    again = boxes[1].begin(given)
    assert isinstance(again, Sent)
    opened = there.opened(opening.close(state))
    masks.apply(total, opened.streams)
    assert np.array_equal(total, np.sum([random_lanes(index) for index in boxes], 0, dtype=np.uint32))


def test_one_that_is_late_sends_nothing_once_another_has_confirmed_the_others(tmp_path):
    path = tmp_path / "1.state"
    there = outboxes(4, [UnsealedKeystore(path), *(MemoryKeystore() for _ in range(3))])
    header, given = there.round(1)
    late = there.boxes[1]
    mask = begun(late, given)
    state = opening.begin(there.agreed, header)
    for index in (2, 3, 4):
        sent = there.boxes[index].send(random_lanes(index), begun(there.boxes[index], given))
        state = opening.take(state, index, sent.envelope, vector_digest(sent.vector))
    there.boxes[1] = Outbox(there.members[1], UnsealedKeystore(path))
    state = opening.close(state)
    there.boxes[1].answer(opening.confirm_request(state))
    with pytest.raises(StoreError, match="another process has answered"):
        late.send(random_lanes(1), mask)
    assert UnsealedKeystore(path).sent(1 << 8 | 1) is None


def test_after_a_disk_fault_it_goes_on_from_what_is_there(there):
    _, given = there.round(1)
    box, keystore = there.boxes[1], there.keystores[1]
    mask = begun(box, given)
    kept = keystore.load()

    class Full(MemoryKeystore):
        def commit(self, number, state, message):
            super().commit(number, state, message)
            raise StoreError("the header was synced, the answer was an error")

    box._keystore = Full()
    box._keystore.save(kept)
    with pytest.raises(StoreError, match="was synced"):
        box.send(random_lanes(1), mask)
    assert isinstance(box.begin(given), Sent)


@pytest.mark.parametrize("phase", [Phase.SHARES, Phase.STORE])
def test_a_clinic_that_starts_again_in_a_set_up_goes_on(phase):
    terms = terms_for(4)
    members = {index: clinic.member for index, clinic in clinics_for(terms).items()}
    keystores = {index: MemoryKeystore() for index in members}
    boxes = {index: Outbox(member, keystores[index]) for index, member in members.items()}

    def restart(now, index, request):
        if now is phase and index == 2:
            boxes[2] = Outbox(members[2], keystores[2])
        return request

    assert set_up(terms, boxes, restart).terms == terms
    assert boxes[2].terms == terms


def test_a_countersigned_head_of_the_center_is_bound_in_without_changing_the_protocol(tmp_path):
    watch = Watch(tmp_path / "watch.json", CENTER.fingerprint, CLINICS[0], lambda: MEMBERS, Standing())
    there = outboxes(4, [MemoryKeystore() for _ in range(4)], head=lambda: watch.bound(b"h" * 32))
    watch.offered(head_of(tree_of("a")), ())
    state, _ = uploaded(there)
    asked = opening.confirm_request(state)
    for index, box in there.boxes.items():
        state = opening.confirm(state, index, box.answer(asked))
    assert {each.head for each in state.confirmed.values()} == {bound(b"h" * 32, watch.countersigned)}
    assert len(watch.bound(b"h" * 32)) == 32
    there.opened(state)
