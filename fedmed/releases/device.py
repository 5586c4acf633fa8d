"""A device and its releases: asks what is agreed, fills slots, obeys the state machine. A thin shell around `stepping`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from fedmed.clock import Clock
from fedmed.errors import FedmedError, ReleaseRefused, first_line
from fedmed.releases import slots as kinds
from fedmed.releases.agreeing import Agreement, agreed, require_newer
from fedmed.releases.fetching import COUNTERSIGNED, TARGETS, Fetcher
from fedmed.releases.installing import fill
from fedmed.releases.slots import Evidence, Limits, Slots
from fedmed.releases.slotstore import AUTHORITIES, SlotStore
from fedmed.releases.stepping import apply
from fedmed.releases.trusting import View, pinned, refresh

HOLDERS = {"federation": TARGETS, "clinic": COUNTERSIGNED}
"""The role that states each authority's channel."""
_ROUNDS = 3
"""Asked anew after a slot was filled and tested: nothing runs by what was agreed before that."""


@dataclass(frozen=True)
class Hands:
    """What a device does for its releases."""

    examine: Callable[[Path], str]
    """Run the golden inputs of a package; what was wrong, if anything. A FedmedError is taken for a fault, too."""
    run: Callable[[Path | None], None]
    """Results come from this package from now on; on trial, a FedmedError gives it up."""
    beside: Callable[[Path | None], None]
    """This package runs beside it; its results are compared and not shown. As `run`."""
    tell: Callable[[kinds.Tell], None]
    """For the audit log."""


@dataclass
class Device:
    """One box. All methods raise StoreError where its disk refuses; what ran before runs on.

    `beat` takes as long as a release takes to come, and is for a thread of its own; `observe` may be called meanwhile.
    """

    store: SlotStore
    fetchers: dict[str, Fetcher]
    """Of `federation` and of `clinic`."""
    clock: Clock
    hands: Hands
    limits: Limits = field(default_factory=Limits)
    slots: Slots = field(init=False)
    agreement: Agreement = field(init=False, default_factory=Agreement)
    _told: set[kinds.Tell] = field(init=False, default_factory=set)
    _lock: threading.RLock = field(init=False, default_factory=threading.RLock)

    def pin(self, authority: str, root: bytes, fingerprint: str) -> None:
        """Trust an authority by its first root. Raises ReleaseRefused for another root than the fingerprint's.

        One that is trusted already stays: only its own newer roots replace it.
        """
        trusted = pinned(root, fingerprint, HOLDERS[authority])
        if self.store.trusted(authority) is None:
            self.store.keep(authority, trusted)

    def boot(self) -> None:
        """Once, first of all: what ran before runs, but what the process before ended with. No network, no date needed."""
        self.slots = self.store.load()
        self._happened(kinds.Booted(self.store.damaged(self.slots)))

    def beat(self) -> None:
        """With each heartbeat: ask, verify, and go as far as is agreed.

        Raises ReleaseRefused, Unreachable: nothing was changed by it then.
        """
        for _ in range(_ROUNDS):
            before = self.slots
            self._agree()
            if self.slots == before:
                return

    def observe(self, slot: int, seen: Evidence) -> None:
        """What was seen of a slot that runs."""
        self._happened(kinds.Observed(slot, seen))

    def stop(self) -> None:
        """Once, last of all, where the process was told to stop."""
        self._happened(kinds.Stopped())

    def standing(self) -> dict[str, Any]:
        """For the heartbeat: JSON. Counters of what runs, is committed, on trial, beside, given up and not countersigned."""
        slots, beside, trial = self.slots, self.slots.beside, self.slots.evidence
        places = {"running": slots.running, "active": slots.active, "trial": slots.trial, "shadow": slots.shadow}
        counters = {name: one.counter if (one := slots.content(slot)) else None for name, slot in places.items()}
        seen = {"trial_seen": asdict(trial), "shadow_seen": asdict(beside), "given_up": dict(slots.banned)}
        return {**counters, **seen, "not_countersigned": sorted(self.agreement.unsigned)}

    def _agree(self) -> None:
        views = {name: self._view(name) for name in AUTHORITIES}
        anchor = self.store.lift(require_newer(self.store.anchor(), views["federation"], views["clinic"]))
        self.agreement = agreed(views["federation"], views["clinic"])
        self._happened(kinds.Agreed(self.agreement, anchor))

    def _view(self, name: str) -> View:
        trusted = self.store.trusted(name)
        if trusted is None:
            raise ReleaseRefused(f"the {name}'s root of releases is not known here; enrol the device anew")
        return refresh(trusted, self.fetchers[name], self.clock, lambda kept: self.store.keep(name, kept))

    def _happened(self, event: kinds.Event) -> None:
        with self._lock:
            slots, todo = apply(self.slots, event, self.limits)
            for each in todo:
                if isinstance(each, kinds.Raise):
                    self.store.lift(replace(self.store.anchor(), counter=each.counter))
            if slots != self.slots:
                self.store.save(slots)
            self.slots = slots
            for each in todo:
                self._obey(each)
        for each in todo:
            self._work(each)

    def _obey(self, todo: kinds.Instruction) -> None:
        """What is done at once."""
        if isinstance(todo, kinds.Run):
            self._switch(self.hands.run, todo.slot)
        elif isinstance(todo, kinds.Beside):
            self._switch(self.hands.beside, todo.slot)
        elif isinstance(todo, kinds.Tell) and todo not in self._told:
            self._told.add(todo)
            self.hands.tell(todo)

    def _work(self, todo: kinds.Instruction) -> None:
        """What takes its time, while images come in."""
        if isinstance(todo, kinds.Fetch):
            fill(self.store, todo.slot, todo.content, self.fetchers["federation"], self.clock)
            self._happened(kinds.Filled(todo.slot))
        elif isinstance(todo, kinds.Examine):
            self._happened(kinds.Examined(todo.slot, self._fault(todo.slot)))

    def _fault(self, slot: int) -> str:
        try:
            return self.hands.examine(self.store.package(slot))
        except FedmedError as error:
            return first_line(error)

    def _switch(self, hand: Callable[[Path | None], None], slot: int | None) -> None:
        try:
            hand(self._place(slot))
        except FedmedError as error:
            if slot is None or slot not in (self.slots.trial, self.slots.shadow):
                raise
            self._happened(kinds.Failed(slot, first_line(error)))

    def _place(self, slot: int | None) -> Path | None:
        return None if slot is None else self.store.package(slot)
