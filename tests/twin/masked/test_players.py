from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fedmed.errors import ProtocolRefused, StoreError, UpdateRefused
from fedmed.outbound.outbox import Outbox, Sent
from fedmed.privacy.secagg import opening
from fedmed.privacy.secagg.attacks import Attack, Refused
from fedmed.privacy.secagg.member import Member
from fedmed.privacy.secagg.parameters import Policy
from fedmed.store.keystore import MemoryKeystore
from fedmed.twin.masked import players
from fedmed.twin.masked.center import Gathered, convene
from fedmed.twin.masked.players import Answers, given_for
from tests.privacy.secagg.federation import signer
from tests.twin.masked.crowds import crowd, entropy, lanes_of, layout_for, plain_sum, update


def outboxes(members: int) -> dict[int, Outbox]:
    """The shell of a clinic's daemon around the members of a crowd of this size, with the same draws."""
    there = crowd(members, rounds=1).terms
    known = {each.fingerprint: each for each in map(signer, range(members))}
    policy = Policy("fed", {fingerprint: each.public for fingerprint, each in known.items()})
    return {
        index: Outbox(Member(known[fingerprint], policy, entropy(index)), MemoryKeystore(), threads=1)
        for index, fingerprint in enumerate(there.roster, 1)
    }


@pytest.mark.parametrize(("members", "is_prepared"), [(5, False), (5, True), (12, True)])
def test_what_a_worker_hands_over_is_what_real_clinics_send(members, is_prepared):
    there, real = crowd(members, workers=members, rounds=1), outboxes(members)
    agreed = convene(
        there.terms,
        there.agreed.keys,
        lambda requests: [Answers({index: real[index].answer(request) for index, request in requests.items()})],
    )
    assert agreed == there.agreed  # the same adverts, hence the same bytes in every phase
    header, layout = there.header(1), layout_for(members)
    for worker in there.workers:
        if is_prepared:
            worker.prepare([1])
        (member,) = (each for each in header.cohort if each in worker)
        part = worker.round(given_for(header), layout)
        part.add(member, *update(member))
        mask = real[member].begin(given_for(header))
        assert not isinstance(mask, Sent)
        sent = real[member].send(lanes_of(layout, member), mask)
        handed = part.handed()
        assert handed.total.tobytes() == sent.vector.tobytes()
        assert handed.uploads[member].envelope == sent.envelope
        assert handed.total.tobytes() != lanes_of(layout, member).tobytes()


def test_confirmations_and_shares_are_those_of_real_clinics():
    there, real = crowd(5, workers=1, rounds=1), outboxes(5)
    convene(there.terms, there.agreed.keys, lambda requests: [Answers({i: real[i].answer(r) for i, r in requests.items()})])
    header, heard = there.header(1), list[tuple[int, bytes, bytes]]()
    for member in header.cohort:
        mask = real[member].begin(given_for(header))
        assert not isinstance(mask, Sent)
        real[member].send(lanes_of(layout_for(5), member), mask)

    def both(requests):
        answers = list(there.ask()(requests))
        heard.extend((i, said, real[i].answer(requests[i])) for each in answers for i, said in each.said.items())
        return answers

    total = there.gathered(header).open(both)
    assert np.array_equal(total.lanes, plain_sum(5, set(range(1, 6))))
    assert len(heard) == 10
    assert all(played == said for _, played, said in heard)


def test_a_part_of_several_members_is_the_sum_of_their_masked_vectors():
    alone, together = crowd(6, workers=6), crowd(6, workers=1)
    header, layout = alone.header(1), layout_for(6)
    total = layout.zeros()
    for worker in alone.workers:
        (member,) = (each for each in header.cohort if each in worker)
        part = worker.round(given_for(header), layout)
        part.add(member, *update(member))
        total += part.handed().total
    part = together.workers[0].round(given_for(header), layout)
    for member in header.cohort:
        part.add(member, *update(member))
    assert np.array_equal(part.handed().total, total)
    assert not np.array_equal(total, plain_sum(6, set(header.cohort)))  # own masks stay until they are opened


@pytest.mark.parametrize("waiting_bytes", [0, 500, 2**27])
def test_how_many_vectors_wait_changes_no_byte(monkeypatch, waiting_bytes):
    monkeypatch.setattr(players, "WAITING_BYTES", waiting_bytes)
    there, apart = crowd(6, workers=1), crowd(6, workers=6)
    header, layout = there.header(1), layout_for(6)
    part = there.workers[0].round(given_for(header), layout)
    for member in header.cohort:
        part.add(member, *update(member))
        (worker,) = (each for each in apart.workers if member in each)
        alone = worker.round(given_for(header), layout)
        alone.add(member, *update(member))
        assert part.handed().uploads[member] == alone.handed().uploads[member]
    assert set(part.handed().uploads) == set(header.cohort)


def test_a_member_that_comes_twice_is_in_the_sum_once():
    there = crowd(5, workers=1)
    header = there.header(1)
    part = there.workers[0].round(given_for(header), layout_for(5))
    part.add(2, *update(2))
    with pytest.raises(StoreError, match="no longer kept"):
        part.add(2, *update(2))
    for member in (1, 3, 4, 5):
        part.add(member, *update(member))
    gathered = Gathered(there.agreed, header, layout_for(5))
    gathered.take(part.handed())
    assert np.array_equal(gathered.open(there.ask()).lanes, plain_sum(5, set(range(1, 6))))


def test_masks_serve_once():
    there = crowd(5, workers=1)
    there.gathered(there.header(1)).open(there.ask())
    part = there.workers[0].round(given_for(there.header(1)), layout_for(5))
    with pytest.raises(StoreError, match="no longer kept"):
        part.add(1, *update(1))
    other = dataclasses.replace(there.header(1), model=bytes(32))
    with pytest.raises(Refused) as refused:
        there.workers[0].round(given_for(other), layout_for(5)).add(1, *update(1))
    assert refused.value.attack is Attack.REPLAYED_ROUND


def test_an_update_that_cannot_be_sent_is_in_no_sum():
    there = crowd(5, workers=1)
    header = there.header(1)
    part = there.workers[0].round(given_for(header), layout_for(5))
    flat, weight, fields, dither = update(3)
    flat[4] = np.nan
    with pytest.raises(UpdateRefused, match="not finite"):
        part.add(3, flat, weight, fields, dither)
    part.add(1, *update(1))
    assert set(part.handed().uploads) == {1}


def test_members_refuse_what_real_ones_refuse():
    there = crowd(5, workers=1)
    gathered = there.gathered(there.header(1))
    state = opening.close(gathered._state)
    (worker,) = there.workers
    said = worker.answer({1: opening.reveal_request(state)})
    assert "was not confirmed by this clinic" in said.refused[1]
    said = worker.answer({1: opening.confirm_request(state), 2: b"", 3: b"FMSA" + bytes(40)})
    assert set(said.said) == {1}
    assert set(said.refused) == {2, 3}
    fewer = dataclasses.replace(state, survivors=(1, 2, 3, 4))
    assert "another survivor set already" in worker.answer({1: opening.confirm_request(fewer)}).refused[1]
    said = worker.answer({1: opening.reveal_request(state)})
    assert "valid signatures" in said.refused[1]


def test_a_layout_that_was_not_given_is_refused():
    there = crowd(5, workers=1)
    with pytest.raises(ProtocolRefused, match="not the one"):
        there.workers[0].round(given_for(there.header(1)), layout_for(6))
    part = there.workers[0].round(dataclasses.replace(given_for(there.header(1)), model=bytes(32)), layout_for(5))
    with pytest.raises(Refused) as refused:
        part.add(1, *update(1))
    assert refused.value.attack is Attack.OTHER_ROUND
