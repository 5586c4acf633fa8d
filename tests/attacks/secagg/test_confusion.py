"""Genuine messages in the wrong place, and bent ones in the right place: refused, and the round goes on to the exact sum."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import ProtocolRefused
from fedmed.privacy.secagg import convening, epoch_messages, masks, opening, parameters, round_messages
from fedmed.privacy.secagg.attacks import Attack, Refused
from fedmed.privacy.secagg.client import Asked
from fedmed.privacy.secagg.schedule import vector_digest
from tests.attacks.secagg.test_fuzz import bent
from tests.privacy.secagg.federation import Federation, clinics_for, federation, random_lanes, set_up, terms_for

READERS = {
    "terms": parameters.decode,
    "advert": lambda data: epoch_messages.SetupRequest.decode(data, epoch_messages.ADVERT),
    "advertised": epoch_messages.Advertised.decode,
    "shares": epoch_messages.SharesRequest.decode,
    "shared": lambda data: epoch_messages.Mail.decode(data, epoch_messages.SHARED),
    "store": lambda data: epoch_messages.Mail.decode(data, epoch_messages.STORE),
    "stored": epoch_messages.Stored.decode,
    "header": round_messages.Header.decode,
    "uploaded": round_messages.Uploaded.decode,
    "confirm": round_messages.ConfirmRequest.decode,
    "confirmed": round_messages.Confirmed.decode,
    "reveal": round_messages.RevealRequest.decode,
    "revealed": round_messages.Revealed.decode,
}


def uploaded(there: Federation) -> tuple[opening.Opening, np.ndarray, np.ndarray]:
    header, total, right = there.header(), np.zeros(64, np.uint32), np.zeros(64, np.uint32)
    state = opening.begin(there.agreed, header)
    for index, clinic in there.clinics.items():
        envelope, masked = clinic.upload(header.encode(), random_lanes(index))
        state = opening.take(state, index, envelope, vector_digest(masked))
        total, right = total + masked, right + random_lanes(index)
    return opening.close(state), total, right


@cache
def genuine() -> tuple[dict[str, bytes], opening.Opening]:
    """One of each message of a whole epoch of one round, by name, and the round before its last answer."""
    found: dict[str, bytes] = {}
    terms = terms_for(4, rounds=1)
    clinics = clinics_for(terms)

    def keep(phase, index, request):
        if index == 1:
            found[phase.value] = request
        return request

    there = Federation(clinics, terms, set_up(terms, clinics, keep))
    state, *_ = uploaded(there)
    found |= {"terms": terms.encode(), "header": state.header.encode(), "confirm": opening.confirm_request(state)}
    for index, clinic in clinics.items():
        state = opening.confirm(state, index, clinic.ask(found["confirm"]))
    found["reveal"] = opening.reveal_request(state)
    clinics[1].ask(found["reveal"])
    advertised, shared, stored, envelope, _, confirmed, revealed = clinics[1].sent
    answers = {"advertised": advertised, "shared": shared, "stored": stored}
    return found | answers | {"uploaded": envelope, "confirmed": confirmed, "revealed": revealed}, state


@pytest.mark.parametrize("reader", READERS)
def test_each_reader_takes_its_own_message_only(reader):
    messages, _ = genuine()
    assert set(messages) == set(READERS)
    READERS[reader](messages[reader])
    for name in set(messages) - {reader}:
        with pytest.raises(Refused, check=lambda error: error.attack is Attack.MALFORMED):
            READERS[reader](messages[name])


@pytest.mark.parametrize("name", READERS)
def test_the_center_takes_an_answer_in_its_own_phase_only(name):
    messages, state = genuine()
    message = messages[name]
    places = {
        "uploaded": lambda: opening.take(opening.begin(state.agreed, state.header), 1, message, bytes(32)),
        "confirmed": lambda: opening.confirm(state, 1, message),
        "revealed": lambda: opening.reveal(state, 1, message),
    }
    begun = convening.convene(state.agreed.terms, state.agreed.keys)
    places["advertised"] = lambda: convening.take(begun, 1, message)
    for place, take in places.items():
        if place != name:
            with pytest.raises(ProtocolRefused):
                take()


@pytest.mark.parametrize("name", READERS)
def test_a_clinic_takes_a_message_in_its_own_phase_only(name):
    """Before it is in any epoch, and in one that has the same terms and other keys."""
    message = genuine()[0][name]
    fresh = clinics_for(terms_for(4, rounds=1))[1]
    if name != "advert":
        with pytest.raises(ProtocolRefused):
            fresh.ask(message)
    late = federation(4, seed=1, rounds=1)
    before = late.clinics[1].state
    with pytest.raises(ProtocolRefused):
        late.clinics[1].ask(message)
    assert late.clinics[1].state is before


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_bent_requests_of_a_round(data):
    """A bent confirm request may name other survivors: such a signature counts for those alone, and the rest suffices."""
    there = federation(5, rounds=1)
    victim = there.clinics[data.draw(st.integers(1, 5))]
    state, total, right = uploaded(there)
    asked, before = bent(data, opening.confirm_request(state)), victim.state
    misled = False
    try:
        (_, answer) = victim.tell(Asked(asked))
        misled = True
    except ProtocolRefused:
        assert victim.state is before
    index = victim.state.epoch.index
    if misled:
        with pytest.raises(Refused, check=lambda error: error.attack is Attack.FALSE_SURVIVORS):
            opening.confirm(state, index, answer.message)
        with pytest.raises(Refused, check=lambda error: error.attack is Attack.EQUIVOCATION):
            victim.ask(opening.confirm_request(state))
    others = {each: clinic for each, clinic in there.clinics.items() if not misled or each != index}
    for each, clinic in others.items():
        state = opening.confirm(state, each, clinic.ask(opening.confirm_request(state)))
    before, asked = victim.state, bent(data, opening.reveal_request(state))
    with pytest.raises(ProtocolRefused):
        victim.tell(Asked(asked))
    assert victim.state is before
    for each, clinic in others.items():
        state = opening.reveal(state, each, clinic.ask(opening.reveal_request(state)))
    masks.apply(total, opening.open_sum(state).streams)
    assert np.array_equal(total, right)


@settings(max_examples=60, deadline=None)
@given(requests=st.lists(st.binary(max_size=64), min_size=1, max_size=5), kind=st.integers(0, 255))
def test_noise_between_the_steps_of_a_round_costs_nothing(requests, kind):
    there = federation(3, rounds=1)

    def noise() -> None:
        for request in requests:
            for clinic in there.clinics.values():
                before = clinic.state
                with pytest.raises(ProtocolRefused):
                    clinic.ask(b"FMSA\x01" + bytes((kind,)) + request)
                assert clinic.state is before

    noise()
    state, total, right = uploaded(there)
    for ask, take in ((opening.confirm_request, opening.confirm), (opening.reveal_request, opening.reveal)):
        noise()
        for index, clinic in there.clinics.items():
            state = take(state, index, clinic.ask(ask(state)))
    masks.apply(total, opening.open_sum(state).streams)
    assert np.array_equal(total, right)
