"""Models go to a second store in the background: what is there is not sent again, the list of them goes last.

The copy is the registry's own blobs, byte for byte, so that whoever has the copy and the keys has the registry.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path

from fedmed.clock import Clock
from fedmed.errors import FedmedError, StoreError
from fedmed.identity import files
from fedmed.store.blobs import Store
from fedmed.store.models import index as indexing
from fedmed.store.models.index import Index
from fedmed.store.models.registry import Registry
from fedmed.store.models.shelf import Shelf
from fedmed.wire.canonical import canonical
from fedmed.wire.words import count

STATE = ".copied.json"
FIRST_S, LONGEST_S = 2.0, 300.0
"""How long is waited after a first failure, and after many."""
LOOK_S = 15.0
"""How often it is looked whether there is something new."""


@dataclass(frozen=True)
class Backlog:
    """What is not copied yet."""

    blobs: int
    bytes: int
    copied_unix: float | None = None
    """When all was copied last; None for never."""
    error: str = ""
    """Why it is not copied now."""


@dataclass(frozen=True)
class Plan:
    """What to do with the second store."""

    send: tuple[str, ...]
    remove: tuple[str, ...]


def planned(index: Index, here: Mapping[str, int], there: Mapping[str, int], before: Index | None) -> Plan:
    """Blobs to send, in the index's order, and those to remove: what its own list named before, and ours names no more."""
    wanted = index.blobs()
    send = tuple(name for name in wanted if there.get(name) != here.get(name))
    remove = tuple(name for name in (before.blobs() if before else ()) if name not in wanted and name in there)
    return Plan(send, remove)


class Copier:
    """Copies one registry to one store, from one thread."""

    def __init__(
        self, registry: Registry, store: Store, clock: Clock, said: Callable[[str], None], look_s: float = LOOK_S
    ) -> None:
        """`said` hears once that copying fails, and once that it goes on."""
        self._look_s, self._copied = look_s, -1
        self._registry, self._store, self._clock, self._said = registry, store, clock, said
        self._state = state_of(registry.folder) or Backlog(0, 0)
        self._wake, self._ending = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def backlog(self) -> Backlog:
        """As of the last turn."""
        return self._state

    def turn(self) -> Backlog:
        """One try to copy all that is not there. Raises nothing of ours: what failed is in the backlog."""
        before = self._state
        try:
            self._copy()
            state = Backlog(0, 0, self._clock.unix())
        except (FedmedError, OSError) as error:
            state = Backlog(self._state.blobs, self._state.bytes, before.copied_unix, str(error))
        if bool(state.error) != bool(before.error):
            self._said(state.error or "models are copied again")
        self._keep(state)
        return state

    def start(self) -> None:
        """Copy in the background: now, after each `poke`, and wherever there is something new."""
        self._thread = threading.Thread(target=self._run, name="models", daemon=True)
        self._wake.set()
        self._thread.start()

    def poke(self) -> None:
        """There is something new."""
        self._wake.set()

    def stop(self, seconds: float = 10.0) -> None:
        """End after the blob that is under way, or after `seconds`; what is missing is copied by the next process."""
        self._ending.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(seconds)
            self._thread = None

    def _run(self) -> None:
        wait = FIRST_S
        while not self._ending.is_set():
            woken = self._wake.wait(self._look_s)
            self._wake.clear()
            if not woken and not self._is_behind():
                continue
            while not self._ending.is_set() and self.turn().error:
                self._ending.wait(wait)
                wait = min(2 * wait, LONGEST_S)
            wait = FIRST_S

    def _is_behind(self) -> bool:
        try:
            return self._registry.index().number != self._copied
        except StoreError:
            return True  # the turn tells why

    def _copy(self) -> None:
        listed = self._registry.store.open(indexing.NAME)
        with listed:
            content = listed.read()
        said = b"".join(self._registry.cover.read(indexing.NAME, BytesIO(content)))
        index = indexing.read(said, self._registry.public, self._registry.store.where(indexing.NAME))
        here, there = self._registry.store.names(), self._store.names()
        before = self._there(index) if indexing.NAME in there else None
        plan = planned(index, here, there, before)
        left = {name: here.get(name, 0) for name in plan.send}
        for name in plan.send:
            self._keep(Backlog(len(left), sum(left.values()), self._state.copied_unix))
            if self._ending.is_set():
                files = count(len(left), "file of models is", "files of models are")
                raise StoreError(f"{files} not copied yet; the next start goes on")
            with self._registry.store.open(name) as source:
                self._store.put(name, source, here[name])
            del left[name]
        if before is None or before.number != index.number:
            self._store.put(indexing.NAME, BytesIO(content), len(content))
        for name in plan.remove:
            self._store.remove(name)
        self._copied = index.number

    def _there(self, index: Index) -> Index:
        """The copy's own list. Raises StoreError where it is not an older one of this registry."""
        before = Shelf(self._store, self._registry.cover, self._registry.public).index()
        if before.number > index.number:
            raise StoreError(
                f"{self._store.where(indexing.NAME)}: the copy is newer than the registry ({before.number} > {index.number} "
                "changes), which was restored from a backup; nothing is copied over it. Name another place in `copy_to`"
            )
        return before

    def _keep(self, state: Backlog) -> None:
        self._state = state
        with suppress(OSError):  # for people who look from another process; a full disk is told elsewhere
            files.replace(self._registry.folder / STATE, canonical(asdict(state)))


def state_of(folder: Path) -> Backlog | None:
    """The backlog that the copying process told last; None where nothing was copied yet, or it cannot be read."""
    try:
        return Backlog(**json.loads((folder / STATE).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
