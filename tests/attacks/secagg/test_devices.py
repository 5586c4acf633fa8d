"""A clinic's hub that reads along, and one that lies, against its own devices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedmed.errors import ProtocolRefused
from fedmed.privacy.secagg import convening, opening, parameters
from fedmed.privacy.secagg.attacks import Attack
from fedmed.privacy.secagg.epoch_messages import ADVERT, SetupRequest
from fedmed.privacy.secagg.parameters import Parameters
from fedmed.privacy.secagg.round_messages import CONFIRM, ConfirmRequest, Header
from fedmed.tiers import messages
from fedmed.tiers.messages import Failed, Task, kind_of
from fedmed.tiers.terms import Way
from tests.attacks.secagg import tap as search
from tests.attacks.secagg.tap import Said
from tests.privacy.secagg.federation import clinics_for, signer, terms_for
from tests.tiers.clinic import SCOPE, Clinic, Data, clinic, data

SETS = {f"d{place}": data(place, 1234 + 1111 * place) for place in range(4)}


def secrets(own: Data) -> np.ndarray:
    """A change, and its lanes as they are before masks are on them, but for their rounding."""
    return search.long_needles(*own.change.values(), *(value * own.cases for value in own.change.values()))


def said(there: Clinic) -> list[Said]:
    return [Said(place, "", b"", each) for place, name in enumerate(there.heard) for each in there.heard[name]]


def test_a_hub_that_reads_along_sees_no_devices_change():
    there = clinic(SETS)
    assert there.ask().parts
    heard = said(there)
    assert sum(len(each.memory) for each in heard) > 10_000
    for own in SETS.values():
        assert len(secrets(own)) > 100
        assert search.hits(secrets(own), heard) == 0
        assert search.hits(search.counts_as_bytes([own.cases]), heard) == 0
        assert search.hits(search.long_needles(np.array([own.loss])), heard) == 0


def test_the_same_search_finds_what_two_devices_send_in_the_plain():
    few = dict(list(SETS.items())[:2])
    there = clinic(few)
    assert there.ask().parts
    for own in few.values():
        assert search.hits(search.long_needles(*own.change.values()), said(there)) > 20
        assert search.hits(search.counts_as_bytes([own.cases]), said(there)) > 0


def test_what_is_masked_is_even_bytes():
    wide = {name: data(place, 500) for place, name in enumerate(SETS)}
    there = clinic(wide)
    there.ask()
    vectors = [messages.Masked.decode(each).vector for name in wide for each in there.heard[name] if each[5] == 65]
    counted = np.bincount(np.frombuffer(b"".join(vectors), np.uint8), minlength=256)
    expected = counted.sum() / 256
    assert abs(((counted - expected) ** 2 / expected).sum() - 255) / np.sqrt(510) < 6.2


def refusal(there: Clinic, device: str, request: bytes) -> str:
    answer = there.devices[device].answer(request)
    assert kind_of(answer) == messages.FAILED
    return Failed.decode(answer).reason


def roster_of(
    there: Clinic, *, epoch: int = 10**6, scope: str = SCOPE, more: tuple[bytes, ...] = (), count: int = 4
) -> bytes:
    roster = tuple(sorted([each.fingerprint for each in there.known[:count]] + list(more)))
    terms = Parameters(scope, "run", epoch, roster, parameters.least_colluders(len(roster)), 0, 4)
    return SetupRequest(ADVERT, terms.encode(), ()).encode()


def test_a_roster_with_a_device_of_the_hubs_own_making_is_refused():
    there = clinic(SETS)
    assert Attack.SYBIL.value in refusal(there, "d0", roster_of(there, more=(signer(99).fingerprint,)))


def test_a_roster_of_two_is_none():
    there = clinic(SETS)
    both = b"".join(sorted(each.fingerprint for each in there.known)[:2])
    whole = Parameters(SCOPE, "run", 10**6, tuple(sorted(each.fingerprint for each in there.known)), 1, 0, 4).encode()
    two = whole[: -4 * 32 - 2] + (2).to_bytes(2, "big") + both
    assert "the roster has 2 members; allowed: 3" in refusal(there, "d0", SetupRequest(ADVERT, two, ()).encode())


def test_an_epoch_that_was_used_is_refused():
    kept: list[bytes] = []

    def before(device: str, request: bytes) -> bytes:
        if device == "d0":
            kept.append(request)
        return request

    there = clinic(SETS, before=before)
    assert there.ask().parts
    assert Attack.REPLAYED_EPOCH.value in refusal(there, "d0", kept[0])


def test_terms_of_the_federation_mean_nothing_to_a_device_nor_a_devices_terms_to_a_clinic():
    there = clinic(SETS)
    assert "got federation 'fed'" in refusal(there, "d0", roster_of(there, scope="fed"))
    assert "got federation 'fed / devices of paris'" in refusal(
        there, "d0", roster_of(there, scope="fed / devices of paris")
    )
    terms = replace(terms_for(4), federation=SCOPE)
    member = next(iter(clinics_for(terms_for(4)).values()))
    with pytest.raises(ProtocolRefused, match="got federation 'fed / devices of berlin'"):
        member.ask(SetupRequest(ADVERT, terms.encode(), ()).encode())


def test_shares_of_one_tier_do_not_open_in_the_other():
    """The same members, the same epoch and the same run: only the scope differs, and nothing of one fits the other."""
    one, other = terms_for(4), replace(terms_for(4), federation=SCOPE)
    assert one.context != other.context
    header = Header(1, 2, (1, 2, 3, 4), bytes(32), bytes(32), 64, 32)
    agreed = {}
    for terms in (one, other):
        members = clinics_for(one)
        for each in members.values():
            each.member = replace(each.member, policy=replace(each.member.policy, federation=terms.federation))
        state = convening.convene(terms, {place: each.member.signer.public for place, each in members.items()})
        while isinstance(state, convening.Convening):
            for place, request in convening.requests(state).items():
                state = convening.take(state, place, members[place].ask(request))
            state = convening.proceed(state)
        agreed[terms.federation] = state
    digests = {name: opening.begin(each, header).digest for name, each in agreed.items()}
    assert len(set(digests.values())) == 2


def twisted(change, device: str = "d1") -> tuple[Clinic, list[str]]:
    """A clinic whose hub gives one device another task."""

    def before(name: str, request: bytes) -> bytes:
        if name == device and kind_of(request) == messages.TASK:
            return change(Task.decode(request)).encode()
        return request

    there = clinic(SETS, before=before)
    gathered = there.ask()
    return there, [gathered.failed.get(device, "")]


def with_header(**changes):
    return lambda task: replace(task, header=replace(Header.decode(task.header), **changes).encode())


def test_a_device_that_is_given_another_model_refuses():
    changed = {"w": np.ones((10, 4), np.float32), "b": np.zeros(3, np.float32), "seen": np.array(7)}
    _, [why] = twisted(lambda task: replace(task, model=changed))
    assert "another model, layout or purpose" in why


def test_a_device_that_is_given_another_order_refuses():
    _, [why] = twisted(lambda task: replace(task, order=task.order.replace('"round": 3', '"round": 4')))
    assert "another model, layout or purpose" in why


def place_of(device: str) -> int:
    there = clinic(SETS)
    known = sorted(each.fingerprint for each in there.known)
    return known.index(next(each.fingerprint for each in there.known if each.name == device)) + 1


def test_a_cohort_of_two_is_refused_by_the_device():
    two = tuple(sorted((place_of("d1"), place_of("d0"))))
    _, [why] = twisted(with_header(cohort=two))
    assert Attack.SMALL_SUM.value in why


def test_another_cohort_for_one_device_adds_nothing_and_is_confirmed_by_nobody_twice():
    three = tuple(place for place in range(1, 5) if place != place_of("d3"))
    there, [why] = twisted(with_header(cohort=three))
    assert "another round, cohort or model" in why
    assert any("another model, cohort or layout" in each for each in there.logs["d1"]), "it helps with no other round either"


def test_two_survivor_sets_in_one_round_are_refused():
    kept: list[bytes] = []

    def before(device: str, request: bytes) -> bytes:
        if device == "d0" and kind_of(request) == CONFIRM:
            kept.append(request)
        return request

    there = clinic(SETS, before=before)
    there.ask()
    asked = ConfirmRequest.decode(kept[0])
    other = replace(asked, survivors=asked.survivors[:3]).encode()
    assert Attack.EQUIVOCATION.value in refusal(there, "d0", other)


def test_a_device_that_knows_of_three_sends_nothing_in_the_plain():
    plain = lambda task: replace(task, way=Way.PLAIN, header=b"")  # noqa: E731
    there, [why] = twisted(plain)
    assert "allowed where a clinic has 4 devices" in why
    assert not any(each[5] == messages.PLAIN for each in there.heard["d1"])
