"""The placement of a hub that serves: what it looks at, and how it stands after another process has begun.

Tasks follow from what devices tell with each heartbeat and from files in the hub's folder, so a hub that is started anew
knows all of it again within one heartbeat; until then the last status says what devices told. Looks alone have a journal,
of their own (`hub.looklog`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fedmed.errors import FedmedError
from fedmed.health.policy import CHECK_EVERY_S
from fedmed.health.readers import read_all, readers
from fedmed.health.readings import Reading
from fedmed.health.sizes import sizes
from fedmed.hub.folder import DOWN, HubFolder
from fedmed.hub.machine import Known
from fedmed.hub.placing import Placed, Seen, begun, look, stepped, worked
from fedmed.hub.rounds import ROUND, SERIAL_BYTES
from fedmed.hub.told import Told, told_in
from fedmed.placement.events import Event, Instruction
from fedmed.placement.told import Measure, as_json, measures
from fedmed.store.standing import read_status

PLACEMENT, TOLD = "placement", "told"
"""Of the status: the placement, and in it what devices told."""


class Whereabouts:
    """`look` is for the thread that looks after the hub; all else may be called from any."""

    def __init__(self, folder: HubFolder, tell: Callable[[str], None]) -> None:
        self._folder, self.tell, self.turn = folder, tell, threading.RLock()
        self.carry: Callable[[Sequence[Instruction]], None] = lambda due: None
        """Hears, within `turn`, what each step has to say about looks."""
        self.own_model: Callable[[], Told] = Told
        """What the clinic's machine looks at devices' images with."""
        self._readers = readers(data=folder.path)
        self._own, self._read_at = _own(read_all(self._readers)), folder.clock.now()
        config = folder.config
        self.placed = begun(config.clinic, config.beat_s, self._last(), folder.clock.now(), config.elsewhere.share)

    def read(self) -> None:
        """Read how busy the clinic's machine is, once a minute; for a thread that may wait for a driver."""
        now = self._folder.clock.now()
        if now - self._read_at >= CHECK_EVERY_S:
            self._read_at, self._own = now, replace(self._own, busy=_own(read_all(self._readers)).busy)

    def look(self, names: Iterable[str], devices: Mapping[str, Known], archives: bool = False) -> None:
        """Look at the enrolled devices of these names, and whether studies wait to be archived; the staff is told what has
        changed.
        """
        seen = [Seen(name, devices.get(name), self._rounds(name)) for name in sorted(names)]
        model = self.own_model()
        own = replace(self._own, model=model.model, package=model.package, precision=model.precision, helps=model.helps)
        with self.turn:
            placed, said = look(self.placed, seen, own, self._now(), archives)
            self._stepped(placed)
        for each in said:
            self.tell(each)

    def step(self, event: Callable[[float], Event]) -> None:
        """Take one step, of an event that is made with its time."""
        with self.turn:
            self._stepped(stepped(self.placed, [event(self._now())]))

    def worked(self, node: str, waits: int) -> None:
        """As `placing.worked`."""
        with self.turn:
            self._stepped(worked(self.placed, node, waits, self._now()))

    def _stepped(self, placed: Placed) -> None:
        self.placed = placed
        self.carry(placed.due)

    def _now(self) -> float:
        """Read within `turn`, so that it never goes back."""
        return self._folder.clock.now()

    def told(self) -> dict[str, Any]:
        """For the status."""
        told = {name: each.facts() for name, each in self.placed.told.items()}
        return {**as_json(self.placed.state), TOLD: told}

    def measures(self) -> list[Measure]:
        """For Prometheus."""
        return measures(self.placed.state)

    def _rounds(self, name: str) -> tuple[str, ...]:
        """What a round asks of a device now."""
        found = sorted(path.name for path in (self._folder.path / DOWN / name / ROUND).glob("[0-9]*"))
        return tuple(each for each in found if len(each) == SERIAL_BYTES and each.isdigit())

    def _last(self) -> dict[str, Told]:
        """What devices told the hub that ran before this one."""
        try:
            last = read_status(self._folder.path).get(PLACEMENT)
        except FedmedError as error:
            self.tell(f"{error}; devices are known again at their next heartbeats")
            return {}
        told = last.get(TOLD) if isinstance(last, dict) else None
        return (
            {name: told_in(each) for name, each in told.items() if isinstance(each, dict)} if isinstance(told, dict) else {}
        )


def _own(readings: Iterable[Reading]) -> Told:
    """The clinic's machine, read as devices read themselves."""
    known = list(readings)
    busy = {f"{each.device} {each.name}": each.value for each in known if each.value is not None}
    return told_in({"node": sizes(known), "health": {"readings": busy}})
