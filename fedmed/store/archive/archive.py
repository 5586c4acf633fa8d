"""Moving studies to the archive and back. A study is here or there at every moment, whatever ends the process.

There   packed, sent, read back and proven, written down, known as leaving; then removed here, then known as away
Back    written down, known as coming, then each object put, proven; then known as both: the pack stays there

What stands as leaving or coming when a process begins was left by one that was killed. Leaving: the packs are proven once
more, then the rest here is removed. Coming: what is missing here is fetched again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fedmed.clock import Clock
from fedmed.errors import ArchiveAltered, ConfigError, DataError, StoreError
from fedmed.store.archive.holding import Holding, Kept
from fedmed.store.archive.index import Index, Shelved, Standing
from fedmed.store.archive.pack import Manifest, manifest_of
from fedmed.store.archive.plan import Due, Group, Rule, due, groups_of
from fedmed.store.archive.vault import Vault
from fedmed.store.audit.event import Event, event
from fedmed.store.locks import alone
from fedmed.wire.words import count

LOCK, VERIFY = "archive.lock", "fedmed clinic archive verify"
InUse = Callable[[], Sequence[Path]]
"""The folders that this clinic's data sets read. Raises StoreError where that cannot be told: nothing moves then."""


@dataclass(frozen=True)
class Verified:
    """One pack of the archive, looked at."""

    name: str
    study: str
    """Empty where nothing can be read of it."""
    error: str
    """Empty where it is whole."""


@dataclass(frozen=True)
class Party:
    """Who moves studies, and where that is written down."""

    who: str
    role: str
    append: Callable[[Event], Any]


class Archive:
    """For one thread; processes wait for each other, for one study at most."""

    def __init__(
        self,
        folder: Path,
        holding: Holding,
        vault: Vault,
        index: Index,
        rule: Rule,
        in_use: InUse,
        party: Party,
        clock: Clock,
    ) -> None:
        """`folder` is the hub's. Nothing is asked yet."""
        self.index, self.vault, self._holding, self._rule = index, vault, holding, rule
        self._lock, self._in_use, self._party, self._clock = folder / LOCK, in_use, party, clock
        self._is_open = False

    def open(self) -> list[str]:
        """See that the archive is the one it was, make it or the index where there is none, end what a crash left.

        What was found and may be told. Raises ArchiveAltered, ConfigError, StoreError: nothing moves then.
        """
        if self._is_open:
            return self.settle()
        with alone(self._lock):
            known, there = self.index.mark(), self.vault.mark()
            if known is not None and there != known:
                raise StoreError(
                    f"{self.vault.store.where('')}: {'another archive is' if there else 'the archive is not'} there; mount "
                    "the folder, mend archive.to, or copy the old archive there whole. Nothing moves"
                )
            self.vault.sweep()
            said = self._learnt(known is None and there is not None)
            if known is None:
                self.index.set_mark(there or self.vault.begin())
        self._is_open = True
        return said + self.settle()

    def settle(self) -> list[str]:
        """End what killed processes left; what may be told of it. Raises ArchiveAltered, StoreError."""
        said = []
        with alone(self._lock):
            for row in self.index.unsettled():
                if row.standing is Standing.LEAVING:
                    self._end(row)
                    said.append(f"study {row.name[:16]} was on its way to the archive when a process ended")
            coming: dict[str, list[Shelved]] = {}
            for row in self.index.unsettled():
                coming.setdefault(row.study, []).append(row)
            for rows in coming.values():
                self._fetch(rows)
                said.append(f"study {rows[0].name[:16]} was on its way back when a process ended; it is here now")
        return said

    def due(self) -> Due:
        """What is to go now. Raises StoreError."""
        folders = self._folders()
        groups = groups_of(self._holding.kept())
        return due(groups, self._rule, lambda each: self._is_used(each.name, folders), self._clock.unix())

    def move(self, group: Group) -> None:
        """Have a study there alone.

        Raises DataError where it cannot be read here, StoreError; it is here then, or goes on from there at the next start.
        """
        with alone(self._lock):
            rows = [self._sent(group.study, objects) for objects in group.packs()]
            if self._are_used(each.name for each in group.objects):
                raise DataError(f"study {rows[0].name[:16]}: a data set reads it now; it stays here")
            for row in rows:
                self._record("archive.study", row)
            self.index.put(rows)
            for each in group.objects:
                self._holding.remove(each.name)
            away = {row.name: row for row in (*self.index.of_study(group.study), *rows)}
            self.index.put([replace(row, standing=Standing.AWAY) for row in away.values()])
            self._tell()

    def recall(self, which: str) -> list[Shelved]:
        """Have a study here as well, by its UID or the beginning of a pack's name (6 digits at least).

        Raises ConfigError where there is none, ArchiveAltered, StoreError: what was put here is removed then.
        """
        with alone(self._lock):
            rows = self.find(which)
            coming = [replace(row, standing=Standing.COMING) for row in rows]
            for row in rows:
                self._record("restore.study", row)
            self.index.put(coming)
            self._fetch(coming)
            return self.find(which)

    def find(self, which: str) -> list[Shelved]:
        """The packs of a study. Raises ConfigError where there is none."""
        found = self.index.of_study(which)
        named = {row.study for row in self.index.beginning(which)} if not found and len(which) > 5 else set()
        if len(named) == 1:
            found = self.index.of_study(named.pop())
        if not found:
            said = "several studies begin with" if named else "no study of the archive is"
            raise ConfigError(f"{said} {which[:80]!r}; see them: fedmed clinic archive list")
        return found

    def verify(self) -> list[Verified]:
        """Read every pack back, known or only found there. Raises StoreError where the archive cannot be asked."""
        found = []
        with alone(self._lock):
            rows = {row.name: row for row in self.index.rows()}
            there = self.vault.names()
        for name in sorted(rows.keys() | there.keys()):
            with alone(self._lock):
                study, error = rows[name].study if name in rows else "", ""
                try:
                    manifest = self.vault.check(name)
                    study = manifest.study
                    if name not in rows:
                        self.index.put([self._row(name, manifest, Standing.AWAY)])
                except ArchiveAltered as altered:
                    error = str(altered)
            found.append(Verified(name, study, error))
        bad = [each for each in found if each.error]
        self._append(
            "archive.verify", "the archive", "failed" if bad else "done", bad[0].error if bad else "", number=len(found)
        )
        return found

    def _learnt(self, is_lost: bool) -> list[str]:
        """Take in the packs that the index does not know: all of them where it was lost, some where it is an older copy."""
        there, known, strange = self.vault.names(), self.index.names(), 0
        new = sorted(there.keys() - known)
        for name in new:
            try:
                with self.vault.open(name) as (manifest, _):
                    self.index.put([self._row(name, manifest, self._seen(manifest))])
            except ArchiveAltered:
                strange += 1
        said, unknown = [], len(new) - strange
        if is_lost or unknown:
            packs = count(unknown, "pack that is", "packs that are")
            said.append(f"the index of the archive did not know {packs} there; it does now")
        if strange:
            files = count(strange, "file in the archive is", "files in the archive are")
            said.append(f"{files} not what this clinic sealed: {VERIFY}")
        if missing := known - there.keys():
            said.append(f"{count(len(missing), 'pack is', 'packs are')} not in the archive any more: {VERIFY}")
        return said

    def _sent(self, study: str, objects: Sequence[Kept]) -> Shelved:
        """A pack that is there, proven; sent where it is not."""
        read = self._holding.read
        came = max(each.unix for each in objects)
        try:
            manifest = manifest_of(self.vault.clinic, study, came, [each.name for each in objects], read)
        except StoreError as error:
            raise DataError(f"{error}; its study stays here") from error
        name = self.vault.name(manifest)
        try:
            found = self.vault.check(name)
        except ArchiveAltered:  # missing, or damaged and here still: made good
            self.vault.put(manifest, read)
            found = self.vault.check(name)
        if found.items != manifest.items:
            raise ArchiveAltered(f"{self.vault.store.where(name)}: what came back is not what was sent; nothing is removed")
        return self._row(name, manifest, Standing.LEAVING)

    def _end(self, row: Shelved) -> None:
        """Remove here what was left of a pack that is there."""
        try:
            manifest = self.vault.check(row.name)
        except ArchiveAltered:
            self.index.put([replace(row, standing=Standing.AWAY)])  # what is here stays, and goes again
            raise
        if self._are_used(item.name for item in manifest.items):  # registered since then
            self.index.put([replace(row, standing=Standing.COMING)])
            return
        self._record("archive.study", row)
        for item in manifest.items:
            self._holding.remove(item.name)
        self.index.put([replace(row, standing=Standing.AWAY)])

    def _fetch(self, rows: Sequence[Shelved]) -> None:
        """Have all objects of these packs here, or none that was not here before."""
        put: list[str] = []
        try:
            for row in rows:
                with self.vault.open(row.name) as (_, objects):
                    for item, content in objects:
                        if self._holding.put(item.name, content, item.facts):
                            put.append(item.name)
        except StoreError as error:
            for name in put:
                self._holding.remove(name)
            self.index.put([replace(row, standing=Standing.AWAY) for row in rows])
            self._append("restore.study", f"study {rows[0].name[:16]}", "failed", str(error), digest=rows[0].name)
            raise
        self.index.put([replace(row, standing=Standing.BOTH) for row in rows])
        self._tell()

    def _tell(self) -> None:
        self._holding.tell(self.index.away())

    def _seen(self, manifest: Manifest) -> Standing:
        """Of a pack of which nothing is known but that it is there; half of it here is what a crash left."""
        here = [self._holding.where(item.name).exists() for item in manifest.items]
        return Standing.BOTH if all(here) else Standing.LEAVING if any(here) else Standing.AWAY

    def _row(self, name: str, manifest: Manifest, standing: Standing) -> Shelved:
        items = manifest.items
        return Shelved(name, manifest.study, len(items), manifest.size, manifest.came, self._clock.unix(), standing)

    def _folders(self) -> list[Path]:
        return [folder.resolve() for folder in self._in_use()]

    def _are_used(self, names: Iterable[str]) -> bool:
        folders = self._folders()
        return any(self._is_used(name, folders) for name in names)

    def _is_used(self, name: str, folders: Sequence[Path]) -> bool:
        place = self._holding.where(name).resolve()
        return any(place.is_relative_to(folder) for folder in folders)

    def _record(self, action: str, row: Shelved) -> None:
        self._append(action, f"study {row.name[:16]}", bytes=row.bytes, number=row.objects, digest=row.name)

    def _append(self, action: str, resource: str, outcome: str = "done", reason: str = "", **details: Any) -> None:
        party = self._party
        self._party.append(
            event(self._clock.unix(), party.who, party.role, action, resource, outcome, reason=reason, **details)
        )
