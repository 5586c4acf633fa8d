"""The hub's archive: opened as `hub.yaml` says, and emptied into by a thread of its own, one study at a time.

archive.sqlite    what is there (`store.archive.index`)
archive.secret    the key, unless hub.yaml names another; keep a copy of it elsewhere

Whatever is wrong with the archive, nothing is lost: what was to go stays, and the status says why.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fedmed.clock import Clock
from fedmed.config.archive import Archive as Config
from fedmed.config.roles import HUB_FILE
from fedmed.errors import ConfigError, DataError, FedmedError, StoreError
from fedmed.hub.folder import HubFolder
from fedmed.hub.kept import KeptFiles, KeptStudies
from fedmed.identity import files
from fedmed.operation.watching import watched
from fedmed.privacy import keys
from fedmed.store.archive.archive import Archive, InUse, Party
from fedmed.store.archive.holding import Holding
from fedmed.store.archive.index import Index
from fedmed.store.archive.plan import DAY_S, Due, Group, Rule
from fedmed.store.archive.vault import Vault
from fedmed.store.keysource import key_from
from fedmed.store.places import store_at
from fedmed.store.studies import deidentified
from fedmed.wire.words import count

INDEX_FILE, SECRET_FILE, STUDIES = "archive.sqlite", "archive.secret", "studies"
_LABEL = "archive of studies"
LOOK_S = 300.0
"""How often it is looked whether something is to go."""
FIRST_S, LONGEST_S = 2.0, 900.0
"""How long is waited after a first failure, and after many."""


@dataclass(frozen=True)
class Backlog:
    """What is to go and did not yet, as of the last look."""

    studies: int = 0
    bytes: int = 0
    held: int = 0
    """Studies that would go, and stay since a data set reads them."""
    error: str = ""
    """Why nothing goes now."""
    since: float | None = None
    """Since when, seconds since 1970."""
    moved: float | None = None
    """When a study went last, since this hub is up."""

    def facts(self, to: str) -> dict[str, Any]:
        """For the status; `to` is where they go."""
        return {"to": to, **asdict(self), "why": self.why}

    @property
    def why(self) -> str:
        """In words; empty where nothing waits and nothing is wrong."""
        if not self.studies and not self.error:
            return ""
        verb = "waits" if self.studies == 1 else "wait"
        waits = f"{count(self.studies, 'study', 'studies')} of {self.bytes / 1e9:.1f} GB {verb}"
        return f"{waits}: {self.error}" if self.error else f"{waits} to be archived, one at a time"


def open_archive(folder: HubFolder, in_use: InUse, party: Party, ending: Callable[[], bool] = lambda: False) -> Archive:
    """The archive of a hub; nothing of it is asked yet.

    Raises ConfigError where hub.yaml names none or a place that cannot be, KeyRefused, MissingPart, StoreError.
    """
    said, config = _said(folder), folder.config
    _check_place(folder, said)
    key = _key(folder, said)
    rate = None if said.megabits is None else said.megabits * 125_000
    rule = Rule(
        None if said.after_days is None else said.after_days * DAY_S,
        None if said.keep_gb is None else int(said.keep_gb * 1e9),
    )
    try:
        store = store_at(said.to, said)
    except OSError as error:
        raise StoreError(f"{said.to} cannot be opened ({error.strerror}); mount it, or mend archive.to") from error
    vault, holding = Vault(store, key, config.clinic, folder.clock, rate, ending), holding_of(folder)
    return Archive(folder.path, holding, vault, Index(folder.path / INDEX_FILE, key), rule, in_use, party, folder.clock)


def index_of(folder: HubFolder) -> Index:
    """What is in the archive, as far as this machine knows; asks nobody. Raises as `open_archive`."""
    return Index(folder.path / INDEX_FILE, _key(folder, _said(folder)))


def holding_of(folder: HubFolder) -> Holding:
    """Where the hub keeps studies. Raises ConfigError for a store without its key, KeyRefused."""
    config = folder.config
    if config.store is None:
        return KeptFiles(folder.path / STUDIES)
    if config.key is None:
        raise ConfigError(f"{folder.path / HUB_FILE}: store is {config.store!r} and key is null; name the store's key")
    return KeptStudies(deidentified(folder.path / config.store, keys.read(folder.path / config.key)))


def _said(folder: HubFolder) -> Config:
    if folder.config.archive is None:
        raise ConfigError(f"{folder.path / HUB_FILE}: archive names no place; write one there, and start the hub anew")
    return folder.config.archive


def _check_place(folder: HubFolder, said: Config) -> None:
    hub, to = folder.path.resolve(), Path(said.to).resolve()
    if not said.to.startswith("s3://") and (to.is_relative_to(hub) or hub.is_relative_to(to)):
        raise ConfigError(f"archive.to {said.to} and the hub's folder {hub} lie in each other; name a folder elsewhere")


def _key(folder: HubFolder, said: Config) -> bytes:
    path = folder.path / SECRET_FILE
    if said.key is not None:
        return keys.derived(key_from(said.key), _LABEL)
    if not path.exists() and (folder.path / INDEX_FILE).exists():
        raise files.KeyRefused(f"{path}: the key that archived studies are sealed with is gone; put a copy of it back")
    return keys.derived(keys.read_or_create(path).secret, _LABEL)


class Archiver:
    """Moves what is to go, from one thread; `standing` may be asked from any."""

    def __init__(
        self, made: Callable[[Callable[[], bool]], Archive], to: str, clock: Clock, tell: Callable[[str], None]
    ) -> None:
        """`made` opens the archive, given what says that it is to end; `tell` hears what staff should know, once each."""
        self._ending = threading.Event()
        self._made, self._to, self._clock, self._tell = made, to, clock, tell
        self._archive: Archive | None = None
        self._backlog, self._thread, self._told = Backlog(), watched("archive", self._run, self._died), ""

    @property
    def backlog(self) -> Backlog:
        """As of the last look."""
        return self._backlog

    def standing(self) -> dict[str, Any]:
        """For the status: JSON."""
        return self._backlog.facts(self._to)

    def start(self) -> None:
        """Look now, and every `LOOK_S` from then on."""
        self._thread.start()

    def stop(self, seconds: float = 10.0) -> None:
        """End within the block that is under way, or after `seconds`; the next start goes on."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def turn(self) -> Backlog:
        """Move all that is to go, until something is wrong. Raises nothing of ours: what failed is in the backlog."""
        try:
            error = self._moved()
        except (FedmedError, OSError) as found:
            error = str(found)
        since = self._backlog.since if self._backlog.error else self._clock.unix()
        self._backlog = replace(self._backlog, error=error, since=since if error else None)
        self._say(error)
        return self._backlog

    def _moved(self) -> str:
        """What of a study kept it here; empty for nothing."""
        if self._archive is None:
            self._archive = self._made(self._ending.is_set)
        archive, kept = self._archive, ""
        due = self._looked(archive)  # what waits is told also where the archive does not answer
        if said := archive.open():
            for each in said:
                self._tell(each)
            due = self._looked(archive)
        left = list(due.go)
        for group in due.go:
            if self._ending.is_set():
                raise StoreError("the hub ends; the next start goes on")
            try:
                archive.move(group)
                self._backlog = replace(self._backlog, moved=self._clock.unix())
            except DataError as error:  # of this study alone
                kept = str(error)
                continue
            left.remove(group)
            self._waiting(due, left)
        return kept

    def _looked(self, archive: Archive) -> Due:
        due = archive.due()
        self._waiting(due, due.go)
        return due

    def _waiting(self, due: Due, left: Sequence[Group]) -> None:
        self._backlog = replace(self._backlog, studies=len(left), bytes=sum(each.size for each in left), held=len(due.held))

    def _say(self, error: str) -> None:
        if error != self._told and not self._ending.is_set():
            self._tell(f"archive: {error}" if error else "archive: studies go there again")
        self._told = error

    def _died(self, thread: str, why: str) -> None:
        """A fault that nobody knows of: studies stay where they are until somebody has looked."""
        said = f"the thread {thread!r} ended by a fault ({why}); nothing goes there before the hub is started again"
        self._backlog = replace(self._backlog, error=said, since=self._clock.unix())
        self._say(said)

    def _run(self) -> None:
        try:
            self._look()
        finally:
            if self._archive is not None:
                self._archive.index.close()

    def _look(self) -> None:
        wait = FIRST_S
        while not self._ending.is_set():
            is_stuck = bool(self.turn().error)
            self._ending.wait(wait if is_stuck else LOOK_S)
            wait = min(2 * wait, LONGEST_S) if is_stuck else FIRST_S
