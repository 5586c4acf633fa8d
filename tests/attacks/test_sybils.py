"""A center that holds the transport authority's key makes members of its own, to be left with one unknown update."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from fedmed.center.folder import CenterFolder, make_center
from fedmed.config.roles import Center
from fedmed.identity.authority import PublicMember, read_certificate
from fedmed.identity.enrolment import Admit, Ask
from fedmed.identity.member import Identity, MemberKeys
from fedmed.identity.pins import PinRefused, Pins
from fedmed.identity.requests import certificate_request, read_request
from fedmed.privacy.secagg import convening
from fedmed.privacy.secagg.attacks import Attack
from fedmed.privacy.secagg.epoch_messages import ADVERT, COMMIT, SetupRequest
from fedmed.privacy.secagg.member import Member
from fedmed.privacy.secagg.parameters import Parameters, Policy, least_colluders
from tests.attacks.secagg.lies import refused
from tests.identity.parties import NOW, Standing, keys
from tests.privacy.secagg.federation import Clinic, Federation, play, random_lanes, set_up

VICTIM = 0


class Keys(MemberKeys):
    """A member's own keys, as `set_up` asks for them."""

    @property
    def public(self) -> bytes:
        return self.signing_public


HONEST = [Keys(keys(number).transport, keys(number).signing) for number in range(4)]
SYBILS = [Keys(keys(number).transport, keys(number).signing) for number in range(90, 97)]


def admitted(center: CenterFolder, made: MemberKeys, name: str) -> PublicMember:
    """A member of the transport, certified and on the roll: all that the center can do alone."""
    request = certificate_request(made, name)
    join, _ = center.invite(name, 7)
    center.enrolments.apply(Ask(name, join.serial.hex(), read_request(request), request))
    center.enrolments.apply(Admit(name, made.fingerprint.hex()), center.sign)
    certificate = center.enrolments.roll().of(name).certificate
    assert center.admissions().is_admitted(certificate) is None
    return read_certificate(certificate, center.authority().public, NOW)


@pytest.fixture
def center(tmp_path: Path) -> CenterFolder:
    return make_center(tmp_path / "center", Center(federation="study", host="center.example.org"), Standing())


@pytest.fixture
def honest(center: CenterFolder) -> list[PublicMember]:
    return [admitted(center, made, f"clinic-{number}") for number, made in enumerate(HONEST)]


@pytest.fixture
def sybils(center: CenterFolder) -> list[PublicMember]:
    return [admitted(center, made, f"hospital-{number}") for number, made in enumerate(SYBILS)]


def pinned(place: Path, members: Sequence[Identity]) -> Pins:
    pins = Pins(place / "pins.json")
    for member in members:
        pins.add(member)
    return pins


def clinic(made: MemberKeys, pins: Pins) -> Clinic:
    rules = Policy("study", pins.signing_keys())
    return Clinic(Member(made, rules, random.Random(made.fingerprint).randbytes))


def terms(roster: Sequence[bytes]) -> Parameters:
    colluders = least_colluders(len(roster))
    return Parameters("study", "run", epoch=1, roster=tuple(sorted(roster)), colluders=colluders, dropouts=0, rounds=4)


def test_the_honest_roster_opens_a_sum(tmp_path, honest):
    """What is refused below is refused for its members alone: the same clinics and pins go through a round."""
    agreed_on, by_print = terms([each.fingerprint for each in honest]), {made.fingerprint: made for made in HONEST}
    pins = pinned(tmp_path, honest)
    clinics = {index: clinic(by_print[who], pins) for index, who in enumerate(agreed_on.roster, 1)}
    there = Federation(clinics, agreed_on, set_up(agreed_on, clinics))
    values = {index: random_lanes(index) for index in clinics}
    assert np.array_equal(play(there, values, there.header()).total, sum(values.values()))


@pytest.mark.parametrize(("kept", "added"), [(1, 7), (2, 6), (4, 1)])
def test_a_roster_with_sybils_is_refused_before_anything_leaves(tmp_path, honest, sybils, kept, added):
    """One unknown update among seven known, or one Sybil among all honest members: the first request ends it."""
    asked = terms([each.fingerprint for each in (*honest[:kept], *sybils[:added])])
    for phase in (ADVERT, COMMIT):
        victim = clinic(HONEST[VICTIM], pinned(tmp_path, honest))
        with refused(Attack.SYBIL, f"{added} of {kept + added} members were never approved here"):
            victim.ask(SetupRequest(phase, asked.encode()).encode())
        assert victim.sent == []


def test_a_whole_set_up_with_sybils_that_play_along_opens_nothing(tmp_path, honest, sybils):
    """Each Sybil pins everybody and answers well; the center has the keys of all but the victim."""
    asked = terms([honest[VICTIM].fingerprint, *(each.fingerprint for each in sybils)])
    all_pins = pinned(tmp_path / "sybils", [*honest, *sybils])
    by_print = {made.fingerprint: clinic(made, all_pins) for made in SYBILS}
    victim = by_print[HONEST[VICTIM].fingerprint] = clinic(HONEST[VICTIM], pinned(tmp_path / "victim", honest))
    with refused(Attack.SYBIL):
        set_up(asked, {index: by_print[who] for index, who in enumerate(asked.roster, 1)})
    assert victim.sent == []
    assert isinstance(convening.convene(asked, _signing(asked, [*honest, *sybils])), convening.Convening)


def test_the_same_set_up_goes_through_once_somebody_approves_without_comparing(tmp_path, honest, sybils):
    """The pins are what holds: where a clinic sets them blindly, the center has won."""
    asked = terms([honest[VICTIM].fingerprint, *(each.fingerprint for each in sybils)])
    pins = pinned(tmp_path, [*honest, *sybils])
    by_print = {made.fingerprint: clinic(made, pins) for made in (*SYBILS, HONEST[VICTIM])}
    set_up(asked, {index: by_print[who] for index, who in enumerate(asked.roster, 1)})
    assert by_print[HONEST[VICTIM].fingerprint].sent


def test_a_sybil_under_the_name_of_an_honest_member(tmp_path, center, honest):
    """The center certifies its own keys as `clinic-1`: the roster goes by keys, and the pin of that name is not replaced."""
    request = read_request(certificate_request(SYBILS[0], "clinic-1"))
    twin = read_certificate(center.authority().issue(request, 7), center.authority().public, NOW)
    pins = pinned(tmp_path, honest)
    with pytest.raises(PinRefused, match="with other keys"):
        pins.add(twin)
    asked = terms([twin.fingerprint, *(each.fingerprint for each in honest if each.name != "clinic-1")])
    with refused(Attack.SYBIL):
        clinic(HONEST[VICTIM], pins).ask(SetupRequest(ADVERT, asked.encode()).encode())


def test_a_roster_that_is_smaller_than_the_clinic_takes_part_in(tmp_path, honest):
    pins = pinned(tmp_path, honest)
    rules = Policy("study", pins.signing_keys(), least_members=4)
    victim = Clinic(Member(HONEST[VICTIM], rules, random.Random(1).randbytes))
    with refused(Attack.STRANGE_TERMS, "with 4 members"):
        victim.ask(SetupRequest(ADVERT, terms([each.fingerprint for each in honest[:3]]).encode()).encode())
    assert victim.sent == []


def _signing(asked: Parameters, members: Sequence[Identity]) -> dict[int, bytes]:
    known = {member.fingerprint: member.signing_public for member in members}
    return {index: known[who] for index, who in enumerate(asked.roster, 1)}
