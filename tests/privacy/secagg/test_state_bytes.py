from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import ProtocolRefused
from fedmed.privacy.secagg import convening, state_bytes
from fedmed.privacy.secagg.client import State
from fedmed.privacy.secagg.convening import Phase
from fedmed.privacy.secagg.member import Reply, Save
from tests.privacy.secagg.federation import clinics_for, federation, play, random_lanes, set_up, terms_for
from tests.privacy.secagg.test_convening import up_to


@pytest.fixture(scope="module")
def used():
    """A federation of five after one round, whose fourth clinic never uploaded."""
    there = federation(5)
    values = {index: random_lanes(index) for index in (1, 2, 3, 5)}
    play(there, values, there.header())
    return there


@pytest.fixture(scope="module")
def joining():
    """A clinic's state after each step of a set-up."""
    small = [up_to(phase)[1][1].state for phase in (Phase.SHARES, Phase.STORE)]
    return [*small, up_to(Phase.ADVERT, 129, rounds=1)[1][1].state]


@pytest.mark.parametrize("count", [3, 5, pytest.param(140, marks=pytest.mark.nightly)])
def test_what_is_written_is_read(count):
    rounds = 1 if count > 128 else 3
    there = federation(count, rounds=rounds)
    for clinic in there.clinics.values():
        assert state_bytes.decode(state_bytes.encode(clinic.state)) == clinic.state


def test_after_every_step_of_a_round(used):
    for clinic in used.clinics.values():
        data = state_bytes.encode(clinic.state)
        assert state_bytes.decode(data) == clinic.state
        assert state_bytes.encode(state_bytes.decode(data)) == data


def test_a_new_clinic_knows_nothing():
    assert state_bytes.decode(state_bytes.encode(State())) == State()


def test_a_round_that_is_over_has_no_secret_left():
    there = federation(4)
    before = {index: clinic.state.epoch.secrets[1] for index, clinic in there.clinics.items()}
    play(there, {index: random_lanes(index) for index in there.clinics}, there.header())
    for clinic in there.clinics.values():
        data = state_bytes.encode(clinic.state)
        for kept in before.values():
            assert kept.own not in data
            assert kept.key not in data
    told = {index: clinic.state.epoch.current.revealed for index, clinic in there.clinics.items()}
    for index, kept in before.items():
        # of the shares that it held, only those of self masks were shown to the center; the keys' shares are gone
        assert not any(share[16:] in state_bytes.encode(there.clinics[index].state) for share in kept.held.values())
        assert all(share[:16] in told[index] for share in kept.held.values())


def damaged(whole: bytearray, data: st.DataObject) -> None:
    """Cut short, the state is refused; with a byte changed it is refused, or another state that is written so."""
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(ProtocolRefused):
        state_bytes.decode(bytes(whole[:cut]))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = state_bytes.decode(bytes(whole))
    except ProtocolRefused:
        return
    assert state_bytes.encode(found) == bytes(whole)


@given(data=st.data())
def test_damaged_bytes_are_refused_or_another_state(used, data):
    clinic = used.clinics[data.draw(st.sampled_from(sorted(used.clinics)))]
    whole = bytearray(state_bytes.encode(clinic.state))
    damaged(whole, data)


@pytest.mark.parametrize(("count", "steps"), [(4, 2), pytest.param(140, 3, marks=pytest.mark.nightly)])
def test_after_every_step_of_a_set_up(count, steps):
    terms, seen = terms_for(count, rounds=2), []
    clinics = clinics_for(terms)

    def look(phase, index, request):
        state = clinics[index].state
        if index <= 5 and state.joining is not None:
            data = state_bytes.encode(state)
            assert state_bytes.decode(data) == state
            assert state_bytes.encode(state_bytes.decode(data)) == data
            assert [type(each) for each in clinics[index].instructions] == [Save, Reply] * (len(clinics[index].sent))
            seen.append(index)
        return request

    set_up(terms, clinics, look)
    assert seen == sorted(clinics)[:5] * steps


def test_the_mail_secret_goes_when_the_keys_are_agreed_and_those_when_the_mail_is_read():
    state, clinics = up_to(Phase.SHARES)
    mail = clinics[1].state.joining.mail
    assert mail in state_bytes.encode(clinics[1].state)
    clinics[1].ask(convening.requests(state)[1])
    keys = clinics[1].state.joining.mail_keys.values()
    told = state_bytes.encode(clinics[1].state)
    assert mail not in told
    assert len(keys) == 3
    assert all(key in told for key in keys)
    there = federation(4)
    told = state_bytes.encode(there.clinics[1].state)
    assert there.clinics[1].state.joining is None
    assert not any(key in told for key in keys)


@given(data=st.data())
def test_damaged_bytes_of_a_set_up_are_refused_or_another_state(joining, data):
    whole = bytearray(state_bytes.encode(data.draw(st.sampled_from(joining))))
    damaged(whole, data)
