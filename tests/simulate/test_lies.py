from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.flower.lying import Asked, Lie
from fedmed.privacy.secagg import client, convening, opening
from fedmed.privacy.secagg.attacks import Attack, Refused
from fedmed.privacy.secagg.convening import Agreed, Convening
from fedmed.privacy.secagg.encoding import sha256
from fedmed.privacy.secagg.round_messages import Header
from fedmed.privacy.secagg.schedule import vector_digest
from fedmed.privacy.secagg.taking_part import Given
from fedmed.simulate.dishonest import DishonestCenter
from fedmed.simulate.lies import LIES, step_of
from tests.privacy.secagg.federation import LAYOUT, Clinic, clinics_for, random_lanes, terms_for

ORDER = '{"round":1}'


class Liar:
    """An honest center that tells a member, before each request, every lie that can be made from it."""

    def __init__(self, members: int) -> None:
        self.terms = terms_for(members)
        self.clinics = clinics_for(self.terms)
        fingerprints = dict(enumerate(self.terms.roster, 1))
        self.center = DishonestCenter(7, fingerprints, [(0.0, 1.0)], lambda *_: None)
        self.told = set[tuple[str, str]]()

    def ask(self, index: int, request: bytes) -> bytes:
        asked = Asked(index, "query.protocol", said=request)
        self._lie(asked)
        answer = self.clinics[index].ask(request)
        self.center.answered(asked)
        return answer

    def work(self, index: int, header: Header) -> tuple[bytes, bytes]:
        asked = Asked(index, "train", header=header.encode(), order=ORDER)
        self._lie(asked)
        envelope, masked = self.clinics[index].upload(header.encode(), random_lanes(index), header.model)
        self.center.answered(asked)
        return envelope, vector_digest(masked)

    def _lie(self, asked: Asked) -> None:
        (lies,) = self.center.lies([asked], 0.0)
        clinic = self.clinics[asked.node]
        for lie in lies:
            self.told.add((lie.step, lie.how))
            before = clinic.state
            assert refusal(clinic, lie, asked).value == lie.attack
            assert clinic.state is before

    def set_up(self) -> Agreed:
        keys = {index: clinic.member.signer.public for index, clinic in self.clinics.items()}  # type: ignore[attr-defined]
        state: Convening | Agreed = convening.convene(self.terms, keys)
        while isinstance(state, Convening):
            for index, request in convening.requests(state).items():
                state = convening.take(state, index, self.ask(index, request))
            state = convening.proceed(state)
        return state

    def play(self, state: opening.Opening, uploads: set[int], confirms: set[int], reveals: set[int]) -> opening.Opening:
        for index in sorted(uploads & set(state.header.cohort)):
            state = opening.take(state, index, *self.work(index, state.header))
        state = opening.close(state)
        for index in sorted(confirms):
            state = opening.confirm(state, index, self.ask(index, opening.confirm_request(state)))
        for index in sorted(confirms & reveals) if state.is_confirmed else ():
            state = opening.reveal(state, index, self.ask(index, opening.reveal_request(state)))
        return state


def refusal(clinic: Clinic, lie: Lie, asked: Asked) -> Attack:
    event: client.Event = client.Asked(lie.said)
    if lie.header:
        event = client.Began(Given(lie.header, 1, Header.decode(asked.header).model, LAYOUT, 64, 32))
    try:
        clinic.tell(event)
    except Refused as refused:
        return refused.attack
    raise AssertionError(f"{lie.how} was answered")


def honest_round(number: int, cohort: set[int], model: int = 0) -> Header:
    return Header(number, 1, tuple(sorted(cohort)), sha256(b"model", bytes([model])), LAYOUT, 64, 32)


@settings(max_examples=12, deadline=None)
@given(st.integers(5, 7), st.data())
def test_whatever_a_member_has_answered_it_refuses_each_lie_as_what_it_is_and_keeps_its_state(members, data):
    there, everybody = Liar(members), set(range(1, members + 1))
    agreed = there.set_up()
    least = agreed.terms.least_survivors(members)

    def many() -> st.SearchStrategy[set[int]]:
        return st.sets(st.sampled_from(sorted(everybody)), min_size=least)

    for number in range(1, 4):
        cohort, confirms, reveals = data.draw(many()), data.draw(many()), data.draw(many())
        gone = data.draw(st.sampled_from([set(), {min(cohort)}]))
        uploads = cohort - gone if len(cohort - gone) >= agreed.terms.least_survivors(len(cohort)) else cohort
        header = honest_round(number, cohort, data.draw(st.integers(0, 1)))  # a repeated attempt has the model of the last
        there.play(opening.begin(agreed, header), uploads, confirms, reveals)
    told = {(step, how) for step, kinds in LIES.items() for _, how, _ in kinds}
    assert {each for each in there.told if each[0] in ("advert", "shares", "store")} == {
        each for each in told if each[0] in ("advert", "shares", "store")
    }


def test_of_two_rounds_that_all_take_part_in_each_kind_of_lie_is_made():
    there = Liar(5)
    agreed, everybody = there.set_up(), set(range(1, 6))
    for number in (1, 2):
        there.play(opening.begin(agreed, honest_round(number, everybody, number)), everybody, everybody, everybody)
    assert there.told == {(step, how) for step, kinds in LIES.items() if step != "commit" for _, how, _ in kinds}


def test_each_lie_goes_to_one_of_those_who_are_asked_by_the_seed():
    there = Liar(5)
    agreed = there.set_up()
    header = honest_round(1, set(range(1, 6)))
    asked = [Asked(index, "train", header=header.encode(), order=ORDER) for index in header.cohort]
    lies = there.center.lies(asked, 0.0)
    assert lies == there.center.lies(asked, 0.0)
    assert lies != replace(there.center, seed=8).lies(asked, 0.0)
    hows = [lie.how for those in lies for lie in those]
    assert len(hows) == len(set(hows)) >= 5
    assert {lie.round for those in lies for lie in those} == {1}
    assert agreed.terms.members == 5


def test_before_and_after_its_time_and_to_strangers_the_center_is_honest():
    there = Liar(4)
    there.set_up()
    work = Asked(1, "train", header=honest_round(1, {1, 2, 3, 4}).encode(), order=ORDER)
    assert there.center.lies([work], 0.5) != [[]]
    assert there.center.lies([work], 1.0) == [[]]
    assert there.center.lies([replace(work, node=9)], 0.5) == [[]]


def test_what_is_no_request_of_the_protocol_has_no_step():
    assert [step_of(Asked(1, "query.protocol", said=said)) for said in (b"FMSA", b"FMSA\x01\xff")] == ["", ""]
    assert step_of(Asked(1, "train", header=b"x")) == "work"
