from __future__ import annotations

import numpy as np
import pytest

from fedmed.identity.member import verify
from fedmed.privacy.secagg import convening, joining, schedule, shamir
from fedmed.privacy.secagg.attacks import Attack, Refused
from fedmed.privacy.secagg.convening import Phase
from fedmed.privacy.secagg.epoch_messages import ADVERT, COMMIT, Advertised, Committed, SetupRequest
from fedmed.privacy.secagg.member import Reply, Save
from tests.privacy.secagg.federation import clinics_for, federation, terms_for
from tests.privacy.secagg.test_convening import up_to


def test_an_advert_holds_the_public_keys_of_what_is_kept():
    terms = terms_for(4)
    member = clinics_for(terms)[2].member
    begun, answer = joining.advertise(member, 0, None, SetupRequest(ADVERT, terms.encode()).encode())
    read = Advertised.decode(answer)
    assert read.advert == begun.advert
    assert read.advert.mail == schedule.public_of(begun.mail)
    assert read.keys == b"".join(map(schedule.public_of, begun.secrets))
    assert len(set(begun.secrets)) == len(set(begun.own)) == 4
    assert verify(member.key_of(terms, 2), read.advert.signature, read.advert.signed_part(terms.context, 2))
    assert not [each for each in (begun.mail, *begun.own, *begun.secrets) if each in answer]


def test_secrets_are_in_no_text():
    terms = terms_for(3)
    begun, _ = joining.advertise(clinics_for(terms)[1].member, 0, None, SetupRequest(ADVERT, terms.encode()).encode())
    for secret in (begun.mail, *begun.own, *begun.secrets):
        assert repr(secret) not in repr(begun)
        assert secret.hex() not in repr(begun)


@pytest.mark.parametrize(("epoch", "last"), [(1, 1), (3, 7)])
def test_an_epoch_is_joined_once_and_never_gone_back_to(epoch, last):
    terms = terms_for(4, epoch=epoch)
    with pytest.raises(Refused) as refused:
        joining.advertise(clinics_for(terms)[1].member, last, None, SetupRequest(ADVERT, terms.encode()).encode())
    assert refused.value.attack is Attack.REPLAYED_EPOCH


def test_a_stranger_does_not_join():
    terms = terms_for(5)
    stranger = clinics_for(terms)[5].member
    others = terms_for(5, roster=tuple(each for each in terms.roster if each != stranger.signer.fingerprint), least=3)
    with pytest.raises(Refused) as refused:
        joining.advertise(stranger, 0, None, SetupRequest(ADVERT, others.encode()).encode())
    assert refused.value.attack is Attack.SYBIL


def test_small_rosters_commit_to_nothing():
    terms = terms_for(4)
    with pytest.raises(Refused) as refused:
        joining.commit(clinics_for(terms)[1].member, 0, SetupRequest(COMMIT, terms.encode()).encode())
    assert refused.value.attack is Attack.OUT_OF_TURN


def test_a_commitment_is_to_the_nonce_that_is_adverted_later():
    terms = terms_for(129, rounds=1)
    clinics = clinics_for(terms)
    request = SetupRequest(COMMIT, terms.encode()).encode()
    begun, commitments = {}, []
    for index, clinic in clinics.items():
        begun[index], answer = joining.commit(clinic.member, 0, request)
        commitments.append(Committed.decode(answer))
    asked = SetupRequest(ADVERT, terms.encode(), tuple(commitments)).encode()
    _, answer = joining.advertise(clinics[7].member, 0, begun[7], asked)
    assert Advertised.decode(answer).advert.nonce == begun[7].nonce
    for fewer in (tuple(commitments[:-1]), ()):
        with pytest.raises(Refused) as refused:
            joining.advertise(clinics[7].member, 0, begun[7], SetupRequest(ADVERT, terms.encode(), fewer).encode())
        assert refused.value.attack is Attack.LATE_NONCE
    with pytest.raises(Refused) as refused:
        joining.advertise(clinics[7].member, 0, None, asked)
    assert refused.value.attack is Attack.LATE_NONCE


def test_what_the_members_hold_opens_what_each_dealt():
    there = federation(5, rounds=2)
    epochs = {index: clinic.state.epoch for index, clinic in there.clinics.items()}
    for dealer, dealt in epochs.items():
        assert dealt is not None
        for number, secrets in dealt.secrets.items():
            held = {holder: epoch.secrets[number].held[dealer] for holder, epoch in epochs.items() if epoch}
            assert len(set(held.values())) == 5
            for points in ((1, 2, 3, 4), (5, 3, 2, 1)):
                assert len(points) == there.terms.design.threshold
                shares = np.stack([np.frombuffer(held[point], np.uint8) for point in points])
                assert shamir.combine(points, shares).tobytes() == secrets.own + secrets.key


def test_out_of_turn_nothing_is_answered():
    state, clinics = up_to(Phase.STORE)
    requests = convening.requests(state)
    member = clinics[1].member
    for before in (None, joining.advertise(member, 0, None, SetupRequest(ADVERT, state.terms.encode()).encode())[0]):
        with pytest.raises(Refused) as refused:
            joining.store(member, before, requests[1])
        assert refused.value.attack is Attack.OUT_OF_TURN
    shares, clinics = up_to(Phase.SHARES)
    asked = convening.requests(shares)[1]
    with pytest.raises(Refused) as refused:
        joining.share(member, None, asked)
    assert refused.value.attack is Attack.OUT_OF_TURN
    clinics[1].ask(asked)
    with pytest.raises(Refused) as refused:  # other shares of the same secrets would add up to too many
        clinics[1].ask(asked)
    assert refused.value.attack is Attack.OUT_OF_TURN


def test_the_epoch_is_on_the_disk_before_keys_are_given_for_it():
    _, clinics = up_to(Phase.SHARES)
    assert [type(each) for each in clinics[1].instructions] == [Save, Reply]
    assert clinics[1].state.last_epoch == 1
    there = federation(3)
    said = [type(each) for each in there.clinics[1].instructions]
    assert said == [Save, Reply] * 3
    assert there.clinics[1].state.joining is None
