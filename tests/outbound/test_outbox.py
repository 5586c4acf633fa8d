from __future__ import annotations

import numpy as np
import pytest

from fedmed.errors import ProtocolRefused, StoreError
from fedmed.outbound.outbox import Outbox, Sent
from fedmed.privacy.secagg import convening, masks, opening
from fedmed.privacy.secagg.schedule import vector_digest
from fedmed.store.keystore import MemoryKeystore
from tests.outbound.clinics import Clinics, begun, outboxes
from tests.privacy.secagg.federation import random_lanes, terms_for


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
    again = there.boxes[1].masks_for(given)
    assert isinstance(again, Sent)
    assert again.envelope == sent.envelope
    assert np.array_equal(again.vector, sent.vector)


def test_a_second_vector_for_a_round_never_leaves(there):
    _, given = there.round(1)
    masked_by = begun(there.boxes[1], given)
    there.boxes[1].send(random_lanes(1), masked_by)
    with pytest.raises(ProtocolRefused, match="out of turn"):
        there.boxes[1].send(random_lanes(2), masked_by)


def test_a_clinic_that_starts_again_goes_on(there):
    _, given = there.round(1)
    sent = there.boxes[1].send(random_lanes(1), begun(there.boxes[1], given))
    again = Outbox(there.members[1], there.keystores[1]).masks_for(given)
    assert isinstance(again, Sent)
    assert np.array_equal(again.vector, sent.vector)


def test_after_the_round_nothing_is_left_to_send(there):
    there.opened(uploaded(there)[0])
    with pytest.raises(StoreError, match="no longer kept"):
        there.boxes[1].masks_for(there.round(1)[1])


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
