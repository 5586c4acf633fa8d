"""Any bytes in any phase: a refusal that changes nothing, and then the honest sum; never a wrong one."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import ProtocolRefused
from fedmed.privacy.secagg import convening, masks, opening, parameters
from fedmed.privacy.secagg.client import Asked
from fedmed.privacy.secagg.encoding import MAGIC, VERSION
from fedmed.privacy.secagg.round_messages import Header, Revealed
from fedmed.privacy.secagg.schedule import vector_digest
from tests.privacy.secagg.federation import clinics_for, federation, random_lanes, set_up, terms_for

KINDS = (*range(1, 10), *range(16, 22), 64)
ANY = st.one_of(
    st.binary(max_size=300),
    st.builds(lambda kind, rest: MAGIC + bytes((VERSION, kind)) + rest, st.sampled_from(KINDS), st.binary(max_size=300)),
)


def bent(data: st.DataObject, message: bytes) -> bytes:
    """The message cut, longer, or with some bits turned."""
    way = data.draw(st.sampled_from(["cut", "longer", "bits"]))
    if way == "cut":
        return message[: data.draw(st.integers(0, len(message) - 1))]
    if way == "longer":
        return message + data.draw(st.binary(min_size=1, max_size=9))
    changed = bytearray(message)
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    return bytes(changed)


@given(request=ANY)
def test_a_clinic_refuses_any_bytes(request_free, request):
    for clinic in request_free.clinics.values():
        before = clinic.state
        with pytest.raises(ProtocolRefused):
            clinic.tell(Asked(request))
        assert clinic.state is before


@pytest.fixture(scope="module")
def request_free():
    return federation(3)


@given(data=ANY)
def test_decoders_refuse_any_bytes(data):
    for decode in (parameters.decode, Header.decode, Revealed.decode):
        try:
            found = decode(data)
        except ProtocolRefused:
            continue
        assert found.encode() == data


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_bent_requests_of_a_set_up_never_make_another_epoch(data):
    """Either refused, or the clinics' honest answers still make one epoch whose sums are right."""
    phase = data.draw(st.sampled_from([convening.Phase.ADVERT, convening.Phase.SHARES, convening.Phase.STORE]))
    victim = data.draw(st.integers(1, 4))

    def twist(now, index, request):
        return bent(data, request) if now is phase and index == victim else request

    terms = terms_for(4, rounds=2)
    with pytest.raises(ProtocolRefused):
        set_up(terms, clinics_for(terms), twist)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_bent_answer_is_refused_and_the_round_goes_on(data):
    there = federation(5, rounds=1)
    header, total = there.header(), np.zeros(64, np.uint32)
    state, values = opening.begin(there.agreed, header), {index: random_lanes(index) for index in there.clinics}
    place, victim = data.draw(st.sampled_from(["upload", "vector", "confirm", "reveal"])), data.draw(st.integers(1, 5))

    def refuse(answer, take):
        before = state
        with pytest.raises(ProtocolRefused):
            take(bent(data, answer))
        assert state is before

    for index, clinic in there.clinics.items():
        envelope, masked = clinic.upload(header.encode(), values[index])
        digest = vector_digest(masked)
        if index == victim and place == "upload":
            refuse(envelope, partial(opening.take, state, index, vector=digest))
        if index == victim and place == "vector":
            wrong_vector = masked + np.uint32(1)
            with pytest.raises(ProtocolRefused):
                opening.take(state, index, envelope, vector_digest(wrong_vector))
        state, total = opening.take(state, index, envelope, digest), total + masked
    state = opening.close(state)
    for index, clinic in there.clinics.items():
        answer = clinic.ask(opening.confirm_request(state))
        if index == victim and place == "confirm":
            refuse(answer, partial(opening.confirm, state, index))
        state = opening.confirm(state, index, answer)
    for index, clinic in there.clinics.items():
        answer = clinic.ask(opening.reveal_request(state))
        if index == victim and place == "reveal":
            refuse(answer, partial(opening.reveal, state, index))
        state = opening.reveal(state, index, answer)
    masks.apply(total, opening.open_sum(state).streams)
    assert np.array_equal(total, np.sum(list(values.values()), 0, np.uint32))


class TestLyingHolders:
    def opened(self, liars: set[int], gone: int = 0):
        there = federation(10, rounds=1)
        header, total = there.header(), np.zeros(64, np.uint32)
        state, values, noise = opening.begin(there.agreed, header), {}, random.Random(1)
        for index, clinic in list(there.clinics.items())[gone:]:
            values[index] = random_lanes(index)
            envelope, masked = clinic.upload(header.encode(), values[index])
            state, total = opening.take(state, index, envelope, vector_digest(masked)), total + masked
        state = opening.close(state)
        for index, clinic in there.clinics.items():
            state = opening.confirm(state, index, clinic.ask(opening.confirm_request(state)))
        for index, clinic in there.clinics.items():
            answer = Revealed.decode(clinic.ask(opening.reveal_request(state)))
            if index in liars:
                answer = replace(answer, shares=tuple(map(noise.randbytes, map(len, answer.shares))))
                signed = answer.signed_part(state.digest, index)
                answer = replace(answer, signature=clinic.member.signer.sign(signed))
            state = opening.reveal(state, index, answer.encode())
        found = opening.open_sum(state)
        masks.apply(total, found.streams)
        assert np.array_equal(total, np.sum(list(values.values()), 0, np.uint32))
        return found

    @pytest.mark.parametrize("liars", [{1}, {3}, {2, 5}, {1, 6}])
    @pytest.mark.parametrize("gone", [0, 2])
    def test_the_sum_is_exact_and_the_liar_is_named(self, liars, gone):
        assert set(self.opened(liars, gone).accused) == liars

    def test_a_liar_whose_share_was_not_needed_changes_nothing(self):
        assert self.opened({10}).accused == ()

    def test_too_many_liars_open_nothing(self):
        with pytest.raises(ProtocolRefused, match="do not open what it committed to"):
            self.opened({1, 2, 3, 4, 5})
