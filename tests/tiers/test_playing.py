"""What a device may send that is no update: it is out of the round by name, and the others' part is folded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fedmed.tiers import fold, messages
from fedmed.tiers.asking import Devices
from fedmed.tiers.messages import Failed, Masked, Plain, kind_of
from tests.tiers.clinic import RULES, SCOPE, apart, clinic, data, flat, model, work

FEW = {"d0": data(0, 50), "d1": data(1, 70)}
MANY = {f"d{place}": data(place, 50 + place) for place in range(5)}


def played(sets, twist: Callable[[bytes], bytes], kinds: tuple[int, ...]):
    """A round in which d1's answers of these kinds are not its own."""

    def after(device: str, answer: bytes) -> bytes:
        return twist(answer) if device == "d1" and kind_of(answer) in kinds else answer

    there = clinic(sets, after=after)
    return there, there.ask()


def plainly(**changes):
    return lambda answer: replace(Plain.decode(answer), **changes).encode()


CHANGE = FEW["d1"].change


@pytest.mark.parametrize(
    ("twist", "why"),
    [
        (plainly(cases=71), "an update of 71 cases; allowed: 1 to 70"),
        (plainly(cases=0), "an update of 0 cases"),
        (plainly(metrics={"loss": 1.0}), "agreed on: ['lesions', 'loss']"),
        (plainly(change={"w": CHANGE["w"]}), "a change of 1 tensors; agreed on: 2"),
        (plainly(change={**CHANGE, "w": CHANGE["w"].T.copy()}), "tensor 'w' is float32 [4, 10]; allowed: float32 [10, 4]"),
        (plainly(change={**CHANGE, "w": CHANGE["w"].astype(np.float64)}), "tensor 'w' is float64"),
        (plainly(change={**CHANGE, "b": np.full(3, np.nan, np.float32)}), "not finite or beyond ±64"),
        (plainly(change={**CHANGE, "b": np.full(3, 64.1, np.float32)}), "not finite or beyond ±64"),
        (lambda answer: Masked(b"", b"").encode(), "does not begin as version 1 of message 66"),
        (lambda answer: b"", "does not begin"),
        (lambda answer: answer[:-1], "malformed"),
        (lambda answer: Failed("the disk is full").encode(), "the disk is full"),
    ],
)
def test_a_plain_answer_that_is_no_update_is_refused_by_name(twist, why):
    _, gathered = played(FEW, twist, (messages.PLAIN,))
    assert why in gathered.failed["d1"]
    assert gathered.joined == ("d0",)
    assert apart(fold.fold(gathered.parts, model()), flat({"d0": FEW["d0"]})) == 0


@pytest.mark.parametrize(
    ("twist", "why"),
    [
        (lambda answer: replace(Masked.decode(answer), vector=bytes(8)).encode(), "a vector of 8 bytes; allowed:"),
        (lambda answer: replace(Masked.decode(answer), vector=altered(answer)).encode(), "is not the one it signed"),
        (lambda answer: replace(Masked.decode(answer), envelope=b"").encode(), "malformed"),
        (lambda answer: Plain(50, {}, {}).encode(), "does not begin as version 1 of message 65"),
    ],
)
def test_a_masked_answer_that_is_none_is_refused_by_name(twist, why):
    _, gathered = played(MANY, twist, (messages.MASKED,))
    assert why in gathered.failed["d1"]
    others = {name: each for name, each in MANY.items() if name != "d1"}
    folded = fold.fold(gathered.parts, model())
    assert apart(folded, flat(others)) <= 1e-6 + folded.error


def altered(answer: bytes) -> bytes:
    vector = bytearray(Masked.decode(answer).vector)
    vector[7] ^= 1
    return bytes(vector)


@pytest.mark.parametrize("kind", [19, 21])
def test_a_wrong_confirmation_or_share_costs_nobody_the_sum(kind):
    _, gathered = played(MANY, lambda answer: answer[:-3] + bytes(3), (kind,))
    assert set(gathered.joined) == set(MANY)
    assert apart(fold.fold(gathered.parts, model()), flat(MANY)) <= 1e-6 + gathered.parts[0].error


def test_a_hub_that_counts_a_device_too_small_is_told_so_by_the_device():
    there = clinic(MANY)
    small = [replace(each, cases=40) for each in there.known]
    hub = Devices(there.transport, lambda: small, SCOPE, RULES, there.clock, there.told.append)
    assert hub.ask(work(model())).parts == ()
    assert "the size that this site declared" in there.logs["d0"][-1]
