"""The center of a simulation that lies: which of its lies goes to whom, and what the report says of them."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedmed.clock import derive_seed
from fedmed.config.scenario import Scenario
from fedmed.config.topology import Topology
from fedmed.federation.journal import Voice, events
from fedmed.flower.inprocess import FIRST_NODE
from fedmed.flower.lying import Asked, Lie
from fedmed.privacy.secagg import parameters
from fedmed.privacy.secagg.client import KIND_AT
from fedmed.privacy.secagg.epoch_messages import SetupRequest
from fedmed.privacy.secagg.parameters import Parameters
from fedmed.privacy.secagg.round_messages import ConfirmRequest
from fedmed.simulate.lies import LIES, Heard, Made, Make, Scene, step_of
from fedmed.simulate.members import keys_of

KIND = "lies"
"""Of the fault in a topology, and the report's section."""


@dataclass
class DishonestCenter:
    """Tells each lie once a step to one of the members asked, as the seed draws; see `fedmed.flower.lying`."""

    seed: int
    fingerprints: Mapping[int, bytes]
    """Of the nodes."""
    spells: Sequence[tuple[float, float]]
    """From when until when it lies, in virtual seconds."""
    say: Callable[[int, Lie, str | None], None]
    """Told of each lie: to which node, and the refusal; None where it was answered."""
    _round: int = 0
    _terms: Parameters | None = None
    _heard: dict[int, Heard] = field(default_factory=dict)

    def lies(self, asked: Sequence[Asked], now: float) -> list[list[Lie]]:
        """See `Liar`."""
        found: list[list[Lie]] = [[] for _ in asked]
        for each in asked[:1]:
            self._look(each)
        if not any(since <= now < until for since, until in self.spells):
            return found
        steps = {step_of(each) for each in asked}
        for step in sorted(steps):
            for attack, how, make in LIES.get(step, ()):
                those = [(place, made) for place, each in enumerate(asked) if (made := self._made(step, each, make))]
                if those:
                    purpose = asked[0].kind
                    place, made = those[derive_seed(self.seed, "lies", self._round, purpose, step, how) % len(those)]
                    found[place].append(Lie(self._round, attack.value, how, step, *made))
        return found

    def _look(self, asked: Asked) -> None:
        """Which round it is, and under which terms."""
        step = step_of(asked)
        if step == "work":
            self._round = _number_in(asked.order, self._round)
        if step in ("commit", "advert"):
            terms = parameters.decode(SetupRequest.decode(asked.said, asked.said[KIND_AT]).terms)
            if terms != self._terms:
                places = {each: place for place, each in enumerate(terms.roster, 1)}
                those = {node: Heard(places[each]) for node, each in self.fingerprints.items() if each in places}
                self._terms, self._heard = terms, those

    def _made(self, step: str, asked: Asked, make: Make) -> Made | None:
        heard = self._heard.get(asked.node)
        if heard is None or step_of(asked) != step:
            return None
        return make(Scene(heard, self._terms, asked))

    def answered(self, asked: Asked) -> None:
        """See `Liar`."""
        heard, step = self._heard.get(asked.node), step_of(asked)
        if heard is None:
            return
        match step:
            case "advert":
                heard.advert = asked.said
            case "store":
                heard.store = asked.said
            case "confirm":
                heard.confirmed, heard.revealed = ConfirmRequest.decode(asked.said).header, b""
            case "reveal":
                heard.revealed = asked.said
            case "work":
                heard.worked, heard.revealed = asked.header, b""

    def heard(self, node: int, lie: Lie, refusal: str | None) -> None:
        """See `Liar`."""
        self.say(node, lie, refusal)


def _number_in(order: str, otherwise: int) -> int:
    """The round of training that an order is of; a question before the first has none."""
    found: Any = json.loads(order) if order else {}
    number = found.get("round") if isinstance(found, dict) else None
    return number if isinstance(number, int) else otherwise


def has_lies(topology: Topology | None) -> bool:
    """Whether a scenario's center lies."""
    return topology is not None and any(fault.kind == KIND for fault in topology.faults)


def faults(scenario: Scenario) -> Iterator[str]:
    """Why a center's lies cannot be played in a scenario, each with what can be written instead."""
    topology, name = scenario.topology, f"topology.faults: {KIND!r}"
    if topology is None or not has_lies(topology):
        return
    if scenario.engine.name != "inprocess":
        yield f"{name}: engine.name: got {scenario.engine.name}; allowed where the center lies: inprocess"
    if topology.masks != "real" or scenario.privacy.secure_aggregation != "malicious":
        yield f"{name} is about masks: allowed with topology.masks: real and privacy.secure_aggregation: malicious"
    if any(clinics.devices for clinics in topology.clinics):
        yield f"{name} is not there yet where clinics have devices; leave one of them out"
    if any(fault.kind == KIND and fault.at is None for fault in topology.faults):
        yield f"{name}: got every; allowed: at, and lasts (without it, until the end)"


def liar_of(scenario: Scenario, members: Path, sites: Sequence[str], journal: Voice) -> DishonestCenter | None:
    """The center of a scenario that lies, to the members enrolled in a folder; None for an honest one."""
    topology = scenario.topology
    if topology is None or not has_lies(topology):
        return None
    lying = [fault for fault in topology.faults if fault.kind == KIND and fault.at is not None]
    spells = [(fault.at or 0.0, (fault.at or 0.0) + fault.lasts if fault.lasts else math.inf) for fault in lying]

    def say(node: int, lie: Lie, refusal: str | None) -> None:
        answer = "answered" if refusal is None else refusal
        where = {"site": sites[node - FIRST_NODE], "step": lie.step, "round": lie.round}
        journal.say("lie", **where, kind=lie.attack, how=lie.how, answer=answer, is_answered=refusal is None)

    fingerprints = {number + FIRST_NODE: keys_of(members, number).fingerprint for number, _ in enumerate(sites)}
    return DishonestCenter(scenario.seed, fingerprints, spells, say)


def told(folder: Path) -> dict[str, Any]:
    """`lies` of the report: how many of which kind, as what each was refused, how many were answered, and the smallest sum;
    nothing of a run whose center told none."""
    found: list[dict[str, Any]] = []
    sums: list[tuple[int, int]] = []
    least = 0
    for event in events(folder):
        match event["event"]:
            case "resumed":  # what came after that commit is told anew
                found = [each for each in found if each["round"] <= event["round"]]
            case "lie":
                found.append(event)
            case "epoch":
                least = event["least"]
            case "survivors":
                sums.append((least, len(event["survivors"])))
    if not found:
        return {}
    kinds = dict.fromkeys((each["kind"], each["how"]) for each in found)
    lines = [_line(kind, how, [each for each in found if (each["kind"], each["how"]) == (kind, how)]) for kind, how in kinds]
    told = {"told": len(found), "answered": sum(each["is_answered"] for each in found), "kinds": lines}
    return {KIND: told | {"sums": len(sums), "least": least, "fewest": min((size for _, size in sums), default=None)}}


def _line(kind: str, how: str, those: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    refused = Counter(_reason(each["answer"]) for each in those if not each["is_answered"])
    first = next((each["answer"] for each in those if not each["is_answered"]), "")
    answered = [f"{each['site']} in round {each['round']}" for each in those if each["is_answered"]]
    return {"kind": kind, "how": how, "told": len(those), "refused": dict(refused), "answered": answered, "example": first}


def _reason(refusal: str) -> str:
    """The attack that a refusal names, or the whole of one that names none."""
    _, is_refused, rest = refusal.partition("Refused: ")
    return rest.partition(": ")[0] if is_refused else refusal
