"""A clinic with devices in memory: real machines, real masks, and a training that is arithmetic."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fedmed.outbound.outbox import Outbox
from fedmed.privacy.secagg.layout import Tensor
from fedmed.privacy.secagg.member import Member
from fedmed.privacy.secagg.parameters import Policy
from fedmed.privacy.secagg.schedule import rounding_seed
from fedmed.store.keystore import MemoryKeystore
from fedmed.tiers.asking import Devices, Gathered
from fedmed.tiers.fold import Folded, Part, fold, of_one
from fedmed.tiers.playing import Work
from fedmed.tiers.round import Rules
from fedmed.tiers.taking_part import Own, TakingPart
from fedmed.tiers.terms import Device, scope
from fedmed.tiers.transport import InMemory
from fedmed.wire.tensors import Tensors
from tests.privacy.secagg.federation import signer

ORDER = json.dumps({"round": 3, "training": {"metrics": {"lesions": 100.0}}})
SCOPE, BOUND = scope("fed", "berlin"), 64.0
RULES = Rules(wait_s=60, opening_s=5)


class Hands:
    """A clock that moves when somebody moves it."""

    def __init__(self) -> None:
        self.at = 1_000.0

    def now(self) -> float:
        return self.at

    def unix(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds


@dataclass(frozen=True)
class Data:
    """Training on it makes this change and tells these numbers."""

    change: Tensors
    cases: int
    loss: float = 0.5
    lesions: float | None = None

    def train(self, order: str, model: Tensors) -> tuple[Tensors, Mapping[str, Any]]:
        told = {} if self.lesions is None else {"lesions": self.lesions}
        trained = {name: value + self.change.get(name, 0) for name, value in model.items()}
        return trained, {"num-examples": self.cases, "loss": self.loss, **told}

    @property
    def part(self) -> Part:
        return of_one(self.change, self.cases, {"loss": self.loss, "lesions": self.lesions})


def model(size: int = 40) -> Tensors:
    """Zeros, so that what training adds is the change to the bit, and a counter that is not sent."""
    return {"w": np.zeros((size // 4, 4), np.float32), "b": np.zeros(3, np.float32), "seen": np.array(7)}


def data(seed: int, cases: int, reach: float = 1.0) -> Data:
    draw = np.random.default_rng(seed)
    change = {"w": draw.uniform(-reach, reach, (10, 4)), "b": draw.uniform(-reach, reach, 3)}
    return Data({name: value.astype(np.float32) for name, value in change.items()}, cases, float(draw.uniform()), 3.0)


@dataclass
class Clinic:
    """A hub and its devices by name; `heard` is all that ever came back to the hub."""

    devices: dict[str, TakingPart]
    known: list[Device]
    hub: Devices
    transport: InMemory
    clock: Hands
    told: list[str] = field(default_factory=list)
    heard: dict[str, list[bytes]] = field(default_factory=dict)
    logs: dict[str, list[str]] = field(default_factory=dict)

    def ask(self, given: Tensors | None = None, order: str = ORDER, room: int = 10**6, run: str = "run") -> Gathered:
        given = model() if given is None else given
        return self.hub.ask(work(given, order, room, run))


def work(given: Tensors, order: str = ORDER, room: int = 10**6, run: str = "run", bound: float = BOUND) -> Work:
    tensors = tuple(Tensor(name, value.shape) for name, value in given.items() if value.dtype.kind == "f")
    own = json.loads(order)["training"]["metrics"]
    return Work(run, order, given, tensors, bound, own, room)


Twist = Callable[[str, bytes], bytes]


def clinic(
    sets: Mapping[str, Data],
    name: str = "berlin",
    rules: Rules = RULES,
    before: Callable[[str, bytes], bytes] = lambda device, request: request,
    after: Callable[[str, bytes], bytes] = lambda device, answer: answer,
    pins: Mapping[str, int] | None = None,
    seed: int = 0,
) -> Clinic:
    """`before` is what happens to a request on its way (or raises ConnectionError, TimeoutError), `after` to an answer."""
    clock, names = Hands(), sorted(sets)
    signers = {device: signer(seed + place) for place, device in enumerate(names)}
    known = [Device(each, signers[each].fingerprint, signers[each].public, sets[each].cases) for each in names]
    all_pins = {each.fingerprint: each.signing_public for each in known}
    there = Clinic({}, known, None, None, clock)  # type: ignore[arg-type]
    for device in names:
        there.devices[device] = part(there, device, sets[device], signers[device], all_pins, name)

    def answering(device: str) -> Callable[[bytes], bytes]:
        def answer(request: bytes) -> bytes:
            said = after(device, there.devices[device].answer(before(device, request)))
            there.heard.setdefault(device, []).append(said)
            return said

        return answer

    there.transport = InMemory({device: answering(device) for device in names}, clock)
    there.hub = Devices(there.transport, lambda: known, scope("fed", name), rules, clock, there.told.append)
    return there


def part(there: Clinic, device: str, own: Data, keys: Any, pins: Mapping[bytes, bytes], name: str) -> TakingPart:
    random_bytes = random.Random(f"{name}/{device}").randbytes
    member = Member(keys, Policy(scope("fed", name), pins), random_bytes)
    secret = random_bytes(32)
    return TakingPart(
        Outbox(member, MemoryKeystore(), threads=1),
        own.train,
        Own(lambda: len(pins), own.cases, BOUND),
        lambda what: rounding_seed(secret, what),
        there.logs.setdefault(device, []).append,
    )


def flat(sets: Mapping[str, Data], given: Tensors | None = None) -> Folded:
    """Training apart and one weighted mean."""
    return fold([each.part for each in sets.values()], model() if given is None else given)


def apart(one: Folded, other: Folded) -> float:
    """Largest difference of two folded changes."""
    assert one.change.tensors.keys() == other.change.tensors.keys()
    return max(float(np.abs(one.change.tensors[name] - other.change.tensors[name]).max()) for name in one.change.tensors)
