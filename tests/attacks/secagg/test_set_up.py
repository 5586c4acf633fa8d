"""What a lying center or member may do while an epoch is set up; every signature here is a real one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedmed.privacy.secagg import convening, joining, schedule
from fedmed.privacy.secagg.attacks import Attack, Refused
from fedmed.privacy.secagg.convening import Phase
from fedmed.privacy.secagg.epoch_messages import (
    ADVERT,
    COMMIT,
    STORE,
    Advert,
    Advertised,
    Committed,
    Mail,
    SetupRequest,
    SharesRequest,
    rounds_digest,
)
from fedmed.privacy.secagg.parameters import Parameters
from tests.attacks.secagg.lies import refused
from tests.privacy.secagg.federation import Clinic, clinics_for, terms_for
from tests.privacy.secagg.test_convening import begun, keys_of, up_to


def signed_again(clinic: Clinic, terms: Parameters, index: int, advert: Advert) -> Advert:
    return replace(advert, signature=clinic.member.signer.sign(advert.signed_part(terms.context, index)))


class TestDrawnRing:
    """Beyond 128 members, where who sits beside whom is worth lying for."""

    @pytest.fixture
    def committed(self) -> tuple[Parameters, dict[int, Clinic], list[Committed]]:
        terms = terms_for(129, rounds=1)
        clinics = clinics_for(terms)
        request = SetupRequest(COMMIT, terms.encode()).encode()
        return terms, clinics, [Committed.decode(each.ask(request)) for each in clinics.values()]

    def test_a_commitment_that_its_member_did_not_sign(self, committed):
        terms, clinics, commitments = committed
        commitments[6] = replace(commitments[6], digest=b"d" * 32)
        with refused(Attack.SWAPPED_KEY, "commitment of member 7"):
            clinics[1].ask(SetupRequest(ADVERT, terms.encode(), tuple(commitments)).encode())

    def test_an_older_commitment_of_ones_own(self, committed):
        terms, clinics, commitments = committed
        clinics[1].ask(SetupRequest(COMMIT, terms.encode()).encode())
        with refused(Attack.LATE_NONCE, "own commitment"):
            clinics[1].ask(SetupRequest(ADVERT, terms.encode(), tuple(commitments)).encode())

    def test_a_member_that_opens_another_nonce(self, committed):
        terms, clinics, commitments = committed
        request = SetupRequest(ADVERT, terms.encode(), tuple(commitments)).encode()
        own, liars = (Advertised.decode(clinics[index].ask(request)).advert for index in (1, 2))
        liars = signed_again(clinics[2], terms, 2, replace(liars, nonce=b"n" * 32))
        with refused(Attack.LATE_NONCE, "member 2 opens another"):
            clinics[1].ask(SharesRequest((own, liars, *(own,) * 127), ()).encode())

    def test_the_center_names_the_member_that_does(self, committed):
        terms, clinics, commitments = committed
        state = convening.convene(terms, keys_of(clinics))
        for index, each in enumerate(commitments, 1):
            state = convening.take(state, index, each.encode())
        state = convening.proceed(state)
        assert isinstance(state, convening.Convening)
        read = Advertised.decode(clinics[2].ask(convening.requests(state)[2]))
        other = signed_again(clinics[2], terms, 2, replace(read.advert, nonce=b"n" * 32))
        with refused(Attack.LATE_NONCE, "member 2 opens another"):
            convening.take(state, 2, Advertised(other, read.keys).encode())


@pytest.mark.parametrize("name", [b"\xff\xfe\xfd", b"\xed\xa0\x80"])
def test_names_that_are_no_text(name):
    terms = terms_for(4)
    asked = SetupRequest(ADVERT, terms.encode().replace(b"fed", name, 1)).encode()
    with refused(Attack.MALFORMED, "UTF-8"):
        clinics_for(terms)[1].ask(asked)


class TestAdverts:
    def asked(self) -> tuple[convening.Convening, dict[int, Clinic], SharesRequest]:
        state, clinics = up_to(Phase.SHARES)
        return state, clinics, SharesRequest.decode(convening.requests(state)[1])

    def test_ones_own_advert_exchanged_for_another_that_one_signed(self):
        """As a restored copy of the clinic would have signed it: shares would be dealt of secrets that no key shows."""
        state, clinics, asked = self.asked()
        own = signed_again(clinics[1], state.terms, 1, replace(asked.adverts[0], mail=schedule.public_of(b"m" * 32)))
        with refused(Attack.SWAPPED_KEY, "own advert"):
            clinics[1].ask(replace(asked, adverts=(own, *asked.adverts[1:])).encode())

    @pytest.mark.parametrize("change", [lambda each: each[:-1], lambda each: (*each, each[-1])], ids=["fewer", "more"])
    def test_adverts_of_another_roster(self, change):
        _, clinics, asked = self.asked()
        with refused(Attack.SYBIL):
            clinics[1].ask(replace(asked, adverts=change(asked.adverts)).encode())

    @pytest.mark.parametrize("change", [lambda each: each[:-1], lambda each: (*each, each[-1])], ids=["fewer", "more"])
    def test_round_keys_of_too_few_or_too_many(self, change):
        _, clinics, asked = self.asked()
        with refused(Attack.MALFORMED):
            clinics[1].ask(replace(asked, keys=change(asked.keys)).encode())

    def test_shares_asked_for_twice(self):
        """A second dealing gives points of another polynomial: with both, colluders would hold twice as many."""
        _, clinics, asked = self.asked()
        clinics[1].ask(asked.encode())
        with refused(Attack.OUT_OF_TURN):
            clinics[1].ask(asked.encode())

    def test_an_advert_for_other_terms(self):
        """Signed by its member, but for a run of another name."""
        state, clinics, asked = self.asked()
        other = replace(state.terms, run="other")
        foreign = signed_again(clinics[2], other, 2, asked.adverts[1])
        with refused(Attack.SWAPPED_KEY, "member 2"):
            clinics[1].ask(replace(asked, adverts=(asked.adverts[0], foreign, *asked.adverts[2:])).encode())


def test_commitments_where_no_graph_is_drawn():
    """They would be kept, and lead the next step astray."""
    state, clinics = begun()
    asked = SetupRequest.decode(convening.requests(state)[1], ADVERT)
    before = clinics[1].state
    with refused(Attack.OUT_OF_TURN, "need none"):
        clinics[1].ask(replace(asked, commitments=(Committed(bytes(32), bytes(64)),)).encode())
    assert clinics[1].state == before


class TestMail:
    def test_mail_of_one_neighbour_missing(self):
        state, clinics = up_to(Phase.STORE)
        mail = Mail.decode(convening.requests(state)[1], STORE)
        with refused(Attack.FOREIGN_SHARES):
            clinics[1].ask(replace(mail, sealed=mail.sealed[:-1]).encode())

    def test_mail_of_two_neighbours_exchanged(self):
        state, clinics = up_to(Phase.STORE)
        mail = Mail.decode(convening.requests(state)[1], STORE)
        with refused(Attack.FOREIGN_SHARES):
            clinics[1].ask(replace(mail, sealed=(mail.sealed[1], mail.sealed[0], *mail.sealed[2:])).encode())

    @pytest.mark.parametrize("size", [0, 48 * 4 - 1, 48 * 4 + 1])
    def test_shares_of_another_size_well_sealed(self, size):
        state, clinics = up_to(Phase.STORE)
        liar = clinics[2].state.joining
        assert isinstance(liar, joining.Joining)
        mail = Mail.decode(convening.requests(state)[1], STORE)
        sealed = schedule.seal_mail(liar.mail_keys[1], 2, 1, bytes(size), state.transcript)
        with refused(Attack.FOREIGN_SHARES, "member 2"):
            clinics[1].ask(replace(mail, sealed=(sealed, *mail.sealed[1:])).encode())

    @pytest.mark.parametrize("phase", [Phase.ADVERT, Phase.SHARES])
    def test_mail_before_its_turn(self, phase):
        state, clinics = up_to(phase)
        with refused(Attack.OUT_OF_TURN):
            clinics[1].ask(Mail(STORE, ()).encode())
        with refused(Attack.OUT_OF_TURN):
            convening.proceed(state)


class TestKeysOfSmallOrder:
    """A clinic that adverts one would have every other refuse its rounds, and nobody would know whose fault it is."""

    @pytest.mark.parametrize("order", range(len(schedule.SMALL_ORDER)))
    @pytest.mark.parametrize("where", ["mail", "round"])
    def test_the_center_names_its_member(self, where, order):
        point = sorted(schedule.SMALL_ORDER)[order].to_bytes(32, "little")
        state, clinics = begun()
        read = Advertised.decode(clinics[2].ask(convening.requests(state)[2]))
        keys = read.keys if where == "mail" else read.keys[:-32] + point
        advert = replace(read.advert, rounds_digest=rounds_digest(keys), mail=point if where == "mail" else read.advert.mail)
        with refused(Attack.MALFORMED, "member 2 is a point of small order"):
            convening.take(state, 2, Advertised(signed_again(clinics[2], state.terms, 2, advert), keys).encode())

    @pytest.mark.parametrize("beside", [0, schedule.PRIME, 2**255])
    def test_they_are_all_that_no_secret_can_be_agreed_with(self, beside):
        """However written: X25519 takes no notice of the highest bit and reduces the rest."""
        for point in schedule.SMALL_ORDER:
            for near in (point - 1, point, point + 1):
                if not 0 <= near + beside < 2**256 or (beside == schedule.PRIME and near + beside >= 2**255):
                    continue
                public = (near + beside).to_bytes(32, "little")
                assert schedule.is_usable(public) == self.is_agreed(public)

    @staticmethod
    def is_agreed(public: bytes) -> bool:
        try:
            schedule.mail_key(b"s" * 32, public, b"", 1, 2)
        except Refused:
            return False
        return True
