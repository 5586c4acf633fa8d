from __future__ import annotations

import pytest

from fedmed.privacy.secagg import convening
from fedmed.privacy.secagg.attacks import Attack, Refused
from fedmed.privacy.secagg.convening import Agreed, Convening, Phase
from fedmed.privacy.secagg.epoch_messages import Advertised
from tests.privacy.secagg.federation import Clinic, clinics_for, terms_for


def begun(count: int = 4, **changes) -> tuple[Convening, dict[int, Clinic]]:
    terms = terms_for(count, **changes)
    clinics = clinics_for(terms)
    return convening.convene(terms, keys_of(clinics)), clinics


def keys_of(clinics: dict[int, Clinic]) -> dict[int, bytes]:
    return {index: clinic.member.policy.pins[clinic.member.signer.fingerprint] for index, clinic in clinics.items()}


def answered(state: Convening, clinics: dict[int, Clinic]) -> Convening:
    for index, request in convening.requests(state).items():
        state = convening.take(state, index, clinics[index].ask(request))
    return state


def up_to(phase: Phase, count: int = 4, **changes) -> tuple[Convening, dict[int, Clinic]]:
    state, clinics = begun(count, **changes)
    while state.phase is not phase:
        following = convening.proceed(answered(state, clinics))
        assert isinstance(following, Convening)
        state = following
    return state, clinics


def test_an_epoch_is_set_up_in_three_phases():
    state, clinics = begun()
    seen = []
    following: Convening | Agreed = state
    while isinstance(following, Convening):
        seen.append(following.phase)
        assert set(convening.requests(following)) == set(clinics)
        assert following.waiting == sorted(clinics)
        following = convening.proceed(answered(following, clinics))
    assert seen == [Phase.ADVERT, Phase.SHARES, Phase.STORE]
    for clinic in clinics.values():
        epoch = clinic.state.epoch
        assert epoch is not None
        assert (epoch.terms, epoch.transcript, epoch.graph) == (following.terms, following.transcript, following.graph)
        for neighbour in epoch.graph.neighbours(epoch.index):
            for number in range(1, 5):
                assert following.key_for(neighbour, number) == epoch.key_for(neighbour, number)


def test_beyond_128_members_nonces_are_committed_to_first():
    state, _ = begun(129, rounds=1)
    assert state.phase is Phase.COMMIT
    assert len(set(convening.requests(state).values())) == 1


def test_a_member_that_is_missing_ends_the_set_up():
    state, clinics = begun()
    for index, request in list(convening.requests(state).items())[:-1]:
        state = convening.take(state, index, clinics[index].ask(request))
    assert state.waiting == [4]
    with pytest.raises(Refused, match="advert") as refused:
        convening.proceed(state)
    assert refused.value.attack is Attack.OUT_OF_TURN


@pytest.mark.parametrize("phase", [Phase.ADVERT, Phase.SHARES, Phase.STORE])
def test_each_member_answers_once_and_strangers_not_at_all(phase):
    state, clinics = up_to(phase)
    answer = clinics[2].ask(convening.requests(state)[2])
    state = convening.take(state, 2, answer)
    for member in (0, 2, 5):
        with pytest.raises(Refused) as refused:
            convening.take(state, member, answer)
        assert refused.value.attack is Attack.OUT_OF_TURN


@pytest.mark.parametrize("phase", [Phase.ADVERT, Phase.STORE])
def test_what_one_member_signed_is_not_taken_for_another_s(phase):
    state, clinics = up_to(phase)
    answer = clinics[2].ask(convening.requests(state)[2])
    with pytest.raises(Refused) as refused:
        convening.take(state, 3, answer)
    assert refused.value.attack is Attack.SWAPPED_KEY


def test_round_keys_that_are_not_the_advert_s_are_refused():
    state, clinics = begun()
    read = Advertised.decode(clinics[1].ask(convening.requests(state)[1]))
    for keys in (read.keys[:-32], read.keys[32:] + read.keys[:32]):
        with pytest.raises(Refused) as refused:
            convening.take(state, 1, Advertised(read.advert, keys).encode())
        assert refused.value.attack is Attack.SWAPPED_KEY


def test_mail_of_the_wrong_number_or_size_is_refused():
    state, clinics = up_to(Phase.SHARES)
    sealed = convening.Mail.decode(clinics[1].ask(convening.requests(state)[1]), convening.SHARED).sealed
    for changed in (sealed[:-1], (*sealed, sealed[0]), (sealed[0][:-1], *sealed[1:])):
        with pytest.raises(Refused) as refused:
            convening.take(state, 1, convening.Mail(convening.SHARED, changed).encode())
        assert refused.value.attack is Attack.FOREIGN_SHARES


def test_a_refused_answer_leaves_its_member_waiting():
    state, clinics = begun()
    with pytest.raises(Refused):
        convening.take(state, 1, b"noise")
    assert state.waiting == [1, 2, 3, 4]
    assert convening.take(state, 1, clinics[1].ask(convening.requests(state)[1])).waiting == [2, 3, 4]
