"""What a device's heartbeat says that placement needs; each field is looked at, for a device may tell anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fedmed.hub.messages import DIGEST
from fedmed.placement.tasks import MOST_BYTES, MOST_CORES, Amount, Precision
from fedmed.wire.visible import visible

MOST_WORDS, MOST_NAME = 400, 128
PAUSED = "its staff has paused it"


@dataclass(frozen=True)
class Told:
    """What is not told, or told wrongly, is as if nothing was said: no room, no model, nothing that waits."""

    capacity: Amount = field(default_factory=Amount)
    cards: int = 0
    shares_memory: bool = False
    threads: int = 0
    """Of the processor, for one image."""
    model: str = ""
    """Name and version of what looks at images; empty for none."""
    package: str = ""
    """Digest of its package, hexadecimal."""
    helps: bool = False
    """Whether it looks at images of other devices that run the same package."""
    asks: bool = False
    """Whether it asks others to look at its images."""
    precision: Precision = Precision.FP32
    studies: int = 0
    """That wait to be sent to the clinic."""
    waits: int = 0
    """Its own images that wait to be looked at."""
    isolated: str = ""
    """Why it takes no work; empty where it does."""
    busy: float | None = None
    """Share of its busiest processor; None where it cannot be read."""

    def facts(self) -> dict[str, Any]:
        """As facts that `told_in` reads the same out of again, for a hub that is started anew."""
        size = {"cores": self.capacity.cores_milli // 1000, "memory": self.capacity.memory, "disk": self.capacity.disk}
        node = {**size, "gpu": self.capacity.gpu, "cards": self.cards, "threads": self.threads}
        name, _, version = self.model.partition(" ")
        told = {"name": name, "version": version, "precision": self.precision.value, "digest": self.package}
        health = {"isolated": self.isolated}
        return {
            "node": node,
            "models": {"active": told if self.model else None},
            "spool": {"entries": {"study": self.studies, "instance": self.waits}},
            "health": health,
            "helps": self.helps,
            "asks_others": self.asks,
        }


def told_in(facts: Mapping[str, Any]) -> Told:
    """What a heartbeat's facts say."""
    node, health = _part(facts, "node"), _part(facts, "health")
    gpu, cards = _whole(node, "gpu", MOST_BYTES), _whole(node, "cards", 64)
    size = _whole(node, "memory", MOST_BYTES), gpu, _whole(node, "disk", MOST_BYTES)
    active, waiting = _part(_part(facts, "models"), "active"), _part(_part(facts, "spool"), "entries")
    digest = _text(active, "digest")
    model = f"{_text(active, 'name')} {_text(active, 'version')}"[:MOST_NAME] if _text(active, "name") else ""
    isolated = _text(health, "isolated", MOST_WORDS) or (PAUSED if facts.get("paused") is True else "")
    return Told(
        Amount(_whole(node, "cores", MOST_CORES // 1000) * 1000, *size),
        cards,
        cards > 0 and gpu == 0,
        _whole(node, "threads", 256),
        model,
        digest if model and DIGEST.fullmatch(digest) else "",
        facts.get("helps") is True,
        facts.get("asks_others") is True,
        next((each for each in Precision if each.value == active.get("precision")), Precision.FP32),
        _whole(waiting, "study", 1 << 40),
        _whole(waiting, "instance", 1 << 40),
        isolated,
        max(_shares(_part(health, "readings")), default=None),
    )


def health_in(facts: Mapping[str, Any]) -> str:
    """What is wrong with the device, else that nothing is and how hot its hottest part is; empty where it told nothing."""
    health = _part(facts, "health")
    readings = _part(health, "readings")
    if isolated := _text(health, "isolated", MOST_WORDS):
        return f"takes no work: {isolated}"
    past = health.get("past")
    if isinstance(past, list) and past:
        return "past its limit: " + ", ".join(visible(str(each)[:MOST_NAME]) for each in past[:32])
    if not readings:
        return ""
    heat = [value for name, value in readings.items() if name.endswith("_temperature") and type(value) in (int, float)]
    return f"well, {max(heat):g} C" if heat else "well, temperature unsupported"


def _part(facts: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = facts.get(key)
    return found if isinstance(found, dict) else {}


def _whole(facts: Mapping[str, Any], key: str, most: int) -> int:
    found = facts.get(key)
    return found if type(found) is int and 0 <= found <= most else 0


def _text(facts: Mapping[str, Any], key: str, most: int = MOST_NAME) -> str:
    found = facts.get(key)
    return visible(found[:most])[:most] if isinstance(found, str) else ""


def _shares(readings: Mapping[str, Any]) -> Iterator[float]:
    """How busy processor and cards are."""
    for name, value in readings.items():
        if name.split(" ")[-1] in ("cpu_busy", "gpu_busy") and type(value) in (int, float) and value >= 0:
            yield min(1.0, float(value))
