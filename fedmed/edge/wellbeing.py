"""How the device itself is: read once a minute, judged by `fedmed.health.policy`, told to a person before anything is done.

An alert is said and stands in the device's audit log. What may follow it: the device takes no work (an isolation; its hub
hears so with the next heartbeat), a card draws less power (only with `power_actions: true`), and an agent that stands at one
image for twenty minutes ends, so that its next process tries again. An isolation that only a person ends (uncorrected memory
errors, a lost card) ends when staff says that the card was seen to (`fedmed edge resume --seen-to CARD`) and its reading
says so, too; and with the agent, whose next process reads the card first.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedmed.clock import Clock
from fedmed.edge import standing
from fedmed.edge.folder import EdgeFolder
from fedmed.errors import FedmedError, StoreError
from fedmed.health import exposed
from fedmed.health.host import storage_latency
from fedmed.health.nvml import Nvml
from fedmed.health.policy import (
    CHECK_EVERY_S,
    Alert,
    Cleared,
    Finding,
    Isolate,
    LimitPower,
    Restart,
    Restore,
    Stays,
    Switches,
    Watch,
    seen_to,
    step,
)
from fedmed.health.readers import Reader, read_all, readers
from fedmed.health.readings import QUANTITIES, Reading
from fedmed.health.sizes import sizes
from fedmed.identity import files
from fedmed.wire.canonical import canonical

POWER = "power.json"
"""Cards whose power this agent lowered: its next process gives it back, should this one be killed."""
MOST_TOLD = 6 << 10
"""Bytes of readings in one heartbeat, whose facts have 16 KiB for everything."""
MOST_FILE = 64 << 10
HEARS_S = 2.0
"""Between two looks for what staff says it has seen to."""
Record = Callable[..., None]
"""action, resource, outcome, reason, further details -> the device's audit log. Raises StoreError."""


@dataclass
class Wellbeing:
    """One device; `keep` is for a thread of its own, all else safe from any thread."""

    among: Sequence[Reader]
    folder: Path
    clock: Clock
    switches: Switches
    limit_power: Callable[[str, float], float]
    """`Nvml.limit_power`; only called where the switch is on."""
    steps: Callable[[], Iterable[Reading]]
    """How far what runs has come (`task_steps`); nothing while nothing runs."""
    restart: Callable[[str], None]
    """Have the task started again."""
    say: Callable[[str], None]
    record: Record
    readings: tuple[Reading, ...] = ()
    sizes: dict[str, int] = field(default_factory=dict)
    """As they were read first: a card that is lost later has not shrunk."""
    _isolated: dict[tuple[str, str], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.watch = Watch(switches=self.switches)

    @property
    def isolated(self) -> str:
        """Why this device takes no work; empty where it does."""
        return "; ".join(self._isolated.values())

    def keep(self, stop: threading.Event) -> None:
        """Look until `stop` is set."""
        self._give_power_back()
        while True:
            self.look()
            for _ in range(int(CHECK_EVERY_S / HEARS_S)):
                if stop.wait(HEARS_S):
                    return
                self.hear()

    def look(self) -> None:
        """Read all of it once, and do what policy says."""
        found = (*read_all(self.among), storage_latency(self.folder, self.clock), *self.steps())
        self.sizes = self.sizes or sizes(found)
        self.readings = found
        self.watch, findings = step(self.watch, found, self.clock.now())
        for finding in findings:
            try:
                self._act(finding)
            except FedmedError as error:
                self.say(str(error))

    def hear(self) -> None:
        """Lift the isolation of what staff says it has seen to, where a new reading is good; answered and recorded."""
        device = standing.asked_of(self.folder)
        if device is None:
            return
        self.look()
        watch, findings = seen_to(self.watch, device, self.readings)
        try:
            for each in findings:
                outcome, still = ("refused", f"; {each.words}") if isinstance(each, Stays) else ("done", "")
                self.record("start.work", device, outcome, f"staff has seen to it{still}", limit=each.limit)
            self.watch = watch
            for each in findings:
                if isinstance(each, Restore):
                    self._lift(each)
                else:
                    self.say(f"this device takes no work, as before: {each.words}")
            standing.answer(self.folder, device, self._answer(device, findings))
        except FedmedError as error:  # what cannot be written down is not done
            (self.folder / standing.SEEN_TO).unlink(missing_ok=True)
            self.say(str(error))

    def _answer(self, device: str, findings: Sequence[Restore | Stays]) -> str:
        """What still keeps this device from work; empty where nothing does."""
        if findings or not self.isolated:
            return self.isolated
        return f"nothing of {device!r} waits for staff; this device takes no work since {self.isolated}"

    def _lift(self, what: Restore) -> None:
        self._isolated = {key: words for key, words in self._isolated.items() if key != (what.limit, what.device)}
        self.say(f"{_on(what.device)}{what.limit} no longer keeps this device from work")

    def _act(self, finding: Finding) -> None:
        match finding:
            case Alert(limit, device, severity, words):
                self.say(f"{severity.value}: {words}")
                self.record("alert", device or "this machine", reason=words, limit=limit)
            case Cleared(limit, device):
                self.say(f"{_on(device)}{limit} is over")
                self.record("alert.over", device or "this machine", limit=limit)
            case Isolate(limit, device, words):
                self._isolated = {**self._isolated, (limit, device): words}
                self.say(f"this device takes no work: {words}")
                self.record("stop.work", device or "this machine", reason=words, limit=limit)
            case Restore(limit, device):
                self._lift(finding)
                self.record("start.work", device or "this machine", limit=limit)
            case LimitPower(device, share):
                self._set_power(device, share)
            case Restart(task, words):
                self.record("stop.stalled", task, reason=words)
                self.restart(words)

    def _set_power(self, device: str, share: float) -> None:
        """Written down before it is done. Raises StoreError, ConfigError and MissingPart as `Nvml.limit_power`."""
        self.record("alert.power", device, reason=f"{share:.1%} of its default power")
        lowered = {**_lowered(self.folder / POWER), device: share}
        self._note({name: each for name, each in lowered.items() if each < 1 or name == device})
        watts = self.limit_power(device, share)
        self._note({name: each for name, each in lowered.items() if each < 1})
        self.say(f"{device} may draw {watts:.0f} W from now on")

    def _give_power_back(self) -> None:
        """What a process that was killed had lowered; a card that is still hot is lowered again."""
        for device in _lowered(self.folder / POWER):
            try:
                self._set_power(device, 1.0)
            except FedmedError as error:
                self.say(str(error))

    def _note(self, lowered: dict[str, float]) -> None:
        path = self.folder / POWER
        try:
            files.replace(path, canonical(lowered))
        except OSError as error:
            raise StoreError(f"{path} cannot be written ({error.strerror}); make room or mend the disk") from error

    def past(self) -> list[str]:
        """Limits that are passed now and were told."""
        return [f"{_on(device)}{name}" for (name, device), each in self.watch.episodes.items() if each.told is not None]

    def facts(self) -> dict[str, Any]:
        """For a heartbeat: small, and "unsupported" where nothing can be read."""
        told: dict[str, float | str] = {}
        left = MOST_TOLD
        for each in sorted(self.readings, key=lambda one: (one.device, one.name)):
            key, value = f"{_on(each.device)}{each.name}", _number(each)
            left -= len(canonical({key: value}))
            if left < 0:
                break
            told[key] = value
        rest = len(self.readings) - len(told)
        return {"isolated": self.isolated[:400], "past": self.past()[:32], "readings": told, "left_out": rest}

    def told(self) -> dict[str, Any]:
        """For the status: all of it, with units, and why what is unsupported is so."""
        rows = [
            {
                "name": each.name,
                "device": each.device,
                "value": _number(each),
                "unit": QUANTITIES[each.name].unit,
                "why": each.why,
                "words": list(each.words),
            }
            for each in self.readings
        ]
        return {"isolated": self.isolated, "past": self.past(), "readings": rows}

    def measures(self) -> list[exposed.Measure]:
        """For Prometheus."""
        return exposed.measures(self.readings, self.watch)


def wellbeing_of(
    folder: EdgeFolder,
    say: Callable[[str], None],
    record: Record,
    steps: Callable[[], Iterable[Reading]],
    restart: Callable[[str], None],
) -> Wellbeing:
    """Of the device in a folder; its disk is the one that this folder lies on."""
    switches = Switches(may_limit_power=folder.config.power_actions)
    among = readers(data=folder.path)
    return Wellbeing(among, folder.path, folder.clock, switches, Nvml().limit_power, steps, restart, say, record)


def _on(device: str) -> str:
    return f"{device} " if device else ""


def _number(reading: Reading) -> float | str:
    return "unsupported" if reading.value is None else float(f"{reading.value:.6g}")


def _lowered(path: Path) -> dict[str, float]:
    """Cards and their shares; a file that cannot be read tells of none."""
    try:
        read = json.loads(files.read(path, MOST_FILE))
        return {str(name): float(share) for name, share in read.items()}
    except (OSError, ValueError, TypeError, AttributeError, FedmedError):
        return {}
