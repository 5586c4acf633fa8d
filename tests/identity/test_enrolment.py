from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fedmed.errors import JoinRefused
from fedmed.identity import enrolment
from fedmed.identity.enrolment import (
    MEMBERS,
    Admit,
    Ask,
    Deliver,
    Invite,
    Refuse,
    Renew,
    Revoke,
    Roll,
    Sign,
    Signed,
    Stage,
    Wait,
    reason_against,
    step,
    words_for,
)
from fedmed.identity.requests import certificate_request, read_request
from tests.identity.joins import CENTER, transport
from tests.identity.parties import keys

NAMES, KEYS = ("north", "south"), range(4)
REQUESTS = {(n, k): certificate_request(keys(k), n) for n in NAMES for k in KEYS}
READ = {which: read_request(der) for which, der in REQUESTS.items()}
PRINTS = [keys(number).fingerprint.hex() for number in KEYS]
NAMED = st.sampled_from(NAMES)


def ask(name: str, key: int, serial: str = "aa", ticket: str | None = None) -> Ask:
    return Ask(ticket or name, serial, READ[name, key], REQUESTS[name, key])


def renew(name: str, key: int, by: int | None = None) -> Renew:
    return Renew(name, PRINTS[key if by is None else by], READ[name, key], REQUESTS[name, key])


def after(*events, now: int = 0) -> Roll:
    roll = Roll()
    for event in events:
        roll, todo = step(roll, event, now)
        if isinstance(todo, Sign):
            roll, _ = step(roll, Signed(todo.name, b"certificate", 500), now)
    return roll


INVITED = (Invite("north", "aa", 100),)
REQUESTED = (*INVITED, ask("north", 1))
ADMITTED = (*REQUESTED, Admit("north", PRINTS[1]))


def refused(roll: Roll, event, said: str, now: int = 0) -> None:
    with pytest.raises(JoinRefused, match=said):
        step(roll, event, now)


def test_the_way_in_and_out():
    roll, todo = step(after(*INVITED), ask("north", 1), 0)
    assert todo == Wait("north", PRINTS[1], 100)
    assert reason_against(roll, "north", PRINTS[1]) == "'north' is requested, not admitted"
    roll, todo = step(roll, Admit("north", PRINTS[1]), 0)
    assert todo == Sign("north", REQUESTS["north", 1])
    roll, todo = step(roll, Signed("north", b"one", 500), 0)
    assert todo == Deliver("north", b"one")
    assert reason_against(roll, "north", PRINTS[1]) is None
    assert step(roll, ask("north", 1), 0) == (roll, Deliver("north", b"one"))
    roll, todo = step(roll, renew("north", 1), 300)
    assert todo == Sign("north", REQUESTS["north", 1])
    roll, _ = step(roll, Signed("north", b"two", 800), 300)
    assert (roll.of("north").stage, roll.of("north").certificate) == (Stage.RENEWED, b"two")
    roll, _ = step(roll, Revoke("north"), 400)
    assert "revoked" in (reason_against(roll, "north", PRINTS[1]) or "")
    assert step(roll, Revoke("north"), 401)[0] == roll


def test_an_invitation_is_for_the_keys_that_ask_first():
    roll = after(*REQUESTED)
    refused(roll, ask("north", 2), "used already, with other keys")
    refused(after(*ADMITTED), ask("north", 2), "used already, with other keys")
    assert step(roll, ask("north", 1), 50)[0] == roll


def test_requests_that_are_refused():
    refused(Roll(), ask("north", 1), "nobody called 'north' was invited")
    refused(after(*INVITED), ask("north", 1), "ended at", now=101)
    refused(after(*INVITED), ask("north", 1, serial="bb"), "newer join file")
    refused(after(*INVITED), ask("south", 1, ticket="north"), "a request of 'south' with the join file of 'north'")
    refused(after(*REQUESTED, Refuse("north")), ask("north", 1), "has refused 'north'")
    refused(after(*REQUESTED, Refuse("north")), ask("north", 2), "has refused 'north'")
    refused(after(*ADMITTED, Invite("south", "aa", 100)), ask("south", 1), "those of 'north'")


def test_admission_is_of_keys_whose_words_were_compared():
    refused(after(*REQUESTED), Admit("north", PRINTS[2]), "other keys than those whose words")
    refused(after(*INVITED), Admit("north", ""), "only one that has asked")
    refused(after(*ADMITTED), Admit("north", PRINTS[1]), "only one that has asked")
    refused(after(*REQUESTED), Admit("north", PRINTS[1]), "ended at", now=101)
    refused(after(*ADMITTED), Refuse("north"), "only one that has asked")


def test_a_certificate_is_renewed_for_the_same_keys_alone():
    refused(after(*ADMITTED), renew("north", 2, by=1), "renewed for the same keys")
    refused(after(*ADMITTED), renew("north", 2), "a member with other keys")
    refused(after(*ADMITTED), replace(renew("south", 1), name="north"), "another name")
    refused(after(*ADMITTED, Revoke("north")), renew("north", 1), "were revoked")
    refused(after(*REQUESTED), renew("north", 1), "not admitted")


def test_a_second_clinic_of_the_same_name_and_a_member_that_was_away_too_long():
    refused(after(*ADMITTED), Invite("north", "bb", 100), "a second clinic needs a name of its own")
    again = after(*ADMITTED)
    again, _ = step(again, Invite("north", "bb", 900), 501)
    again, todo = step(again, ask("north", 1, serial="bb"), 502)
    assert isinstance(todo, Wait)


def test_revoked_keys_never_come_back():
    roll = after(*ADMITTED, Revoke("north"), Invite("north", "bb", 100), Invite("south", "cc", 100))
    refused(roll, ask("north", 1, serial="bb"), "never come back")
    refused(roll, ask("south", 1, serial="cc"), "never come back")
    assert step(roll, ask("north", 2, serial="bb"), 0)[0].of("north").fingerprint == PRINTS[2]


def test_there_is_a_most(monkeypatch):
    monkeypatch.setattr(enrolment, "MOST_SEATS", 1)
    refused(after(*INVITED), Invite("south", "bb", 100), "all that there may be")


def test_the_words_are_of_clinic_center_and_authority_together():
    """Mallory hands the clinic a file of his own and passes its request on with the file he stole."""
    at_center = words_for(PRINTS[1], CENTER.signing_public, transport().public)
    assert at_center == words_for(PRINTS[1], CENTER.signing_public, transport().public)
    assert len(at_center.split()) == 6
    others = {
        words_for(PRINTS[2], CENTER.signing_public, transport().public),
        words_for(PRINTS[1], keys(9).signing_public, transport().public),
        words_for(PRINTS[1], CENTER.signing_public, transport(7).public),
    }
    assert len(others | {at_center}) == 4


class AnyOrder(RuleBasedStateMachine):
    """Whatever order events come in: nobody is a member whom no operator admitted, and no revoked keys are."""

    def __init__(self) -> None:
        super().__init__()
        self.roll, self.now, self.admitted, self.shut = Roll(), 0, set(), set()

    def take(self, event) -> None:
        try:
            roll, todo = step(self.roll, event, self.now)
        except JoinRefused:
            return
        if isinstance(todo, Sign):
            roll, _ = step(roll, Signed(todo.name, b"c", self.now + 50), self.now)
        if isinstance(event, Admit):
            self.admitted.add((event.name, event.fingerprint))
        if isinstance(event, Revoke) and self.roll.of(event.name).fingerprint:
            self.shut.add(self.roll.of(event.name).fingerprint)
        self.roll = roll

    @rule(name=NAMED, serial=st.sampled_from("ab"), good=st.integers(0, 40))
    def invite(self, name, serial, good):
        self.take(Invite(name, serial, self.now + good))

    @rule(name=NAMED, ticket=NAMED, key=st.sampled_from(KEYS), serial=st.sampled_from("ab"))
    def ask(self, name, ticket, key, serial):
        self.take(ask(name, key, serial, ticket))

    @rule(name=NAMED, key=st.sampled_from(KEYS))
    def admit(self, name, key):
        self.take(Admit(name, PRINTS[key]))

    @rule(name=NAMED, key=st.sampled_from(KEYS), by=st.sampled_from(KEYS))
    def renew(self, name, key, by):
        self.take(renew(name, key, by))

    @rule(name=NAMED, kind=st.sampled_from([Revoke, Refuse]))
    def shut_out(self, name, kind):
        self.take(kind(name))

    @rule(seconds=st.integers(1, 60))
    def wait(self, seconds):
        self.now += seconds

    @invariant()
    def holds(self):
        for name in NAMES:
            for fingerprint in PRINTS:
                if reason_against(self.roll, name, fingerprint) is None:
                    assert (name, fingerprint) in self.admitted
                    assert fingerprint not in self.shut
        held = [seat.fingerprint for seat in self.roll.seats.values() if seat.stage in MEMBERS]
        assert len(held) == len(set(held))


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
