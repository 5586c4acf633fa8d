from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import UpdateRefused
from fedmed.federation import pace
from fedmed.privacy.secagg.layout import Layout
from fedmed.tiers import fold
from fedmed.tiers.fold import Folded
from fedmed.tiers.round import Rules
from fedmed.tiers.terms import Way
from fedmed.tiers.transport import Answer, InMemory
from tests.tiers.clinic import ORDER, Data, Hands, apart, clinic, data, flat, model, work

CLOSE = 1e-6  # what a tiered mean may be off beside its own bound of rounding


def sets(count: int, seed: int = 0) -> dict[str, Data]:
    return {f"d{place}": data(seed + place, 5 + 31 * place) for place in range(count)}


def gone(*devices: str, error: type[OSError] = ConnectionError):
    def before(device: str, request: bytes) -> bytes:
        if device in devices:
            raise error
        return request

    return before


def gone_from(kind: int, *devices: str):
    """Devices that end when they are asked this kind of message."""
    lost: set[str] = set()

    def before(device: str, request: bytes) -> bytes:
        if device in devices and request[5] == kind:
            lost.add(device)
        if device in lost:
            raise ConnectionError
        return request

    return before


def equal(folded: Folded, other: Folded) -> None:
    assert apart(folded, other) <= CLOSE + folded.error
    assert folded.values["num-examples"] == other.values["num-examples"]
    assert folded.values["loss"] == pytest.approx(other.values["loss"], abs=1e-6)
    assert folded.values["lesions"] == pytest.approx(other.values["lesions"], abs=1e-6)


@settings(max_examples=15, deadline=None)
@given(
    clinics=st.lists(st.lists(st.integers(1, 2000), min_size=0, max_size=5), min_size=1, max_size=3),
    own=st.integers(0, 500),
    seed=st.integers(0, 2**32),
)
def test_tiers_are_flat_whatever_the_split(clinics, own, seed):
    every, folded = [], []
    for place, split in enumerate(clinics):
        here = {f"d{each}": data(seed + 100 * place + each, cases) for each, cases in enumerate(split)}
        its_own = data(seed + 100 * place + 99, own)
        parts = (*clinic(here, f"clinic-{place}").ask().parts, its_own.part)
        every += [each.part for each in here.values()] + [its_own.part]
        if sum(part.weight for part in parts):
            folded.append(fold.fold(parts, model()))
    if folded:
        center = [fold.of_one(each.change.tensors, each.values["num-examples"], {}) for each in folded]
        tiered, whole = fold.fold(center, model()), fold.fold(every, model())
        assert apart(tiered, whole) <= CLOSE + max(each.error for each in folded)
        assert tiered.values["num-examples"] == whole.values["num-examples"]


@settings(max_examples=15, deadline=None)
@given(count=st.integers(4, 7), seed=st.integers(0, 2**32), kind=st.sampled_from([64, 18, 20]))
def test_without_one_device_it_is_flat_over_the_others(count, seed, kind):
    """Lost before its update, before the survivors are confirmed, or before the shares are shown."""
    all_, lost = sets(count, seed), f"d{seed % count}"
    gathered = clinic(all_, before=gone_from(kind, lost)).ask()
    there = {name: each for name, each in all_.items() if kind != 64 or name != lost}
    assert set(gathered.joined) == set(there)
    assert gathered.failed.keys() == all_.keys() - there.keys()
    equal(fold.fold(gathered.parts, model()), flat(there))


def test_the_rounding_of_devices_is_as_stated():
    here = sets(5)
    gathered = clinic(here).ask()
    (part,) = gathered.parts
    assert 0 < part.error < CLOSE
    exact = sum(each.change["w"].astype("f8") * each.cases for each in here.values()) / part.weight
    assert abs(part.sums["w"] / part.weight - exact).max() <= part.error


def test_changes_at_the_bound_neither_overflow_nor_leave_it():
    here = {f"d{place}": data(place, 1000) for place in range(6)}
    for each in here.values():
        for value in each.change.values():
            value[:] = 64.0
    folded = fold.fold(clinic(here).ask().parts, model())
    assert {float(value.max()) for value in folded.change.tensors.values()} == {64.0}
    wide = Layout((), (), 32, 6, 64.0, 1000)
    assert wide.scale.most_lane * wide.clients <= 2**31 - 1


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_than_three_are_plain_and_that_is_said(count):
    here = sets(count)
    there = clinic(here)
    gathered = there.ask()
    assert gathered.way is Way.PLAIN
    assert "fewer than 3" in there.told[-1]
    assert "as they are" in gathered.words
    equal(fold.fold(gathered.parts, model()), flat(here))


def test_three_are_masked_and_what_that_is_worth_is_said():
    there = clinic(sets(3))
    gathered = there.ask()
    assert gathered.way is Way.MASKED
    assert "does not keep them from a hub that enrols devices of its own" in " ".join(there.told)


def test_three_devices_of_which_one_is_away_send_nothing_in_the_plain():
    there = clinic(sets(3), before=gone("d1"))
    gathered = there.ask()
    assert gathered.parts == ()
    assert "3 are needed" in gathered.reason
    assert not any(said[5] in (65, 66) for heard in there.heard.values() for said in heard)


def test_a_clinic_without_devices_asks_nobody():
    assert clinic({}).ask().reason == "the clinic has no devices"


def test_who_is_late_is_named_and_dropped():
    late = {"d2"}

    def before(device: str, request: bytes) -> bytes:
        if request[5] == 64 and device in late:
            raise TimeoutError
        return request

    here = sets(5)
    there = clinic(here, before=before)
    gathered = there.ask()
    assert gathered.failed == {"d2": "no updates within 60 s"}
    equal(fold.fold(gathered.parts, model()), flat({name: each for name, each in here.items() if name != "d2"}))
    late.clear()
    assert set(there.ask().joined) == set(here), "it is in the next round"
    assert there.told.count("the update of device d2 came when its round was over: it was dropped") == 1


def test_a_device_that_was_lost_for_a_whole_epoch_is_asked_again_and_a_lost_sum_makes_a_new_epoch():
    here, away = sets(4), {"d0"}

    def before(device: str, request: bytes) -> bytes:
        if device in away:
            raise ConnectionError
        return request

    there = clinic(here, before=before)
    assert set(there.ask().joined) == {"d1", "d2", "d3"}
    away.clear()
    assert set(there.ask().joined) == {"d1", "d2", "d3"}, "the epoch goes on"
    away.update(("d1", "d2"))
    assert there.ask().parts == ()
    away.clear()
    assert set(there.ask().joined) == set(here)


def test_an_epoch_is_used_up_after_its_rounds(monkeypatch):
    from fedmed.tiers import epochs

    monkeypatch.setattr(epochs, "ROUNDS", 2)
    there = clinic(sets(3))
    assert all(there.ask().parts for _ in range(5))


def test_another_run_has_another_epoch():
    there = clinic(sets(3))
    assert there.ask(run="one").parts
    assert there.ask(run="two").parts


def test_a_device_with_too_many_cases_for_what_was_declared_is_left_out_by_name():
    here = sets(4)
    gathered = clinic(here).ask(room=sum(each.cases for each in here.values()) - 1)
    assert set(gathered.joined) == {"d0", "d1", "d2"}
    assert "room for" in gathered.failed["d3"]


def test_a_quorum_of_devices_that_is_not_met_leaves_the_clinic_alone():
    there = clinic(sets(5), rules=Rules(least=5), before=gone_from(64, "d4"))
    gathered = there.ask()
    assert gathered.parts == ()
    assert gathered.reason == "4 of 5 devices sent an update; 5 are needed"


@pytest.mark.parametrize("mode", ["record-local", "record-distributed"])
def test_the_record_modes_of_differential_privacy_ask_no_device(mode):
    order = ORDER[:-1] + f', "privacy": {{"mode": "{mode}"}}}}'
    there = clinic(sets(3))
    assert "counts" not in (gathered := there.ask(order=order)).reason
    assert "a patient seen at two of them would count twice" in gathered.reason
    assert there.heard == {}


def test_mode_clinic_asks_them():
    assert clinic(sets(3)).ask(order=ORDER[:-1] + ', "privacy": {"mode": "clinic"}}').parts


@pytest.mark.parametrize("count", [2, 4])
def test_a_device_whose_training_fails_is_out_by_name_and_its_reason_stays_there(count):
    here = sets(count)
    here["d0"].change["w"][0, 0] = float("nan")
    there = clinic(here)
    gathered = there.ask()
    assert gathered.failed == {"d0": "the device sends nothing in this round; its own log says why"}
    assert "not finite" in there.logs["d0"][-1]
    assert fold.fold(gathered.parts, model()).values["num-examples"] == sum(here[name].cases for name in gathered.joined)


def test_nothing_at_all_cannot_be_folded():
    with pytest.raises(UpdateRefused, match="nothing to fold"):
        fold.fold([], model())


@pytest.mark.parametrize("kind", [64, 18, None])
def test_a_round_is_over_in_its_time_whatever_hangs_and_whenever(kind):
    """A hub that stops while it sets up, before the updates, or while the sum is opened: the center waits for the clinic."""
    there = clinic(sets(5), rules=Rules(wait_s=300.0, opening_s=60.0))
    there.hub._transport._line = Hanging(there.transport, there.clock, kind)  # type: ignore[attr-defined]
    began = there.clock.now()
    gathered = there.hub.ask(work(model()), lambda: there.clock.now() - began > 10.0)
    assert gathered.parts or gathered.reason
    assert 10.0 < there.clock.now() - began <= 10.0 + Rules.after_s + 2 * Hanging.LOOK_S
    assert Rules.after_s < pace.LEAST_S, "what the center waits for after a quick training"


@dataclass
class Hanging:
    """A line to devices of which some answer and nobody is known to be lost, from one kind of request on."""

    line: InMemory
    clock: Hands
    kind: int | None
    hangs: bool = False
    LOOK_S = 0.05

    def devices(self) -> Sequence[str]:
        return self.line.devices()

    def exchange(self, requests: Mapping[str, bytes], until: Callable[[], float]) -> Generator[Answer, None, None]:
        first = next(iter(requests.values()))
        self.hangs = self.hangs or self.kind in (None, first[5])
        slow = sorted(requests)[-1:] if self.hangs else []  # one more device each time that it is set up anew
        yield from self.line.exchange({name: each for name, each in requests.items() if name not in slow}, until)
        while slow and self.clock.now() < until():
            self.clock.sleep(self.LOOK_S)

    def late(self) -> Sequence[str]:
        return self.line.late()
