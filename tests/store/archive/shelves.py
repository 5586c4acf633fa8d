"""An archive of a few objects, with a holding that is a folder of files, a clock that stands, a record of events."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from fedmed.errors import StoreError
from fedmed.store.archive.archive import Archive, Party
from fedmed.store.archive.holding import Kept
from fedmed.store.archive.index import Index
from fedmed.store.archive.plan import Rule
from fedmed.store.archive.vault import Vault
from fedmed.store.audit.event import Event, faults_of
from fedmed.store.blobs import FolderStore, Store

KEY, DAY = b"k" * 32, 86400.0


class Standing:
    """A clock that stands until it is moved; sleeping moves it."""

    def __init__(self, unix: float = 1_000 * DAY) -> None:
        self.at, self.slept = unix, 0.0

    def now(self) -> float:
        return self.at

    def unix(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds
        self.slept += seconds


class Files:
    """Objects as files STUDY.NUMBER, whose facts are in STUDY.NUMBER.json."""

    def __init__(self, folder: Path, clock: Standing) -> None:
        self.folder, self.clock, self.room = folder, clock, 1 << 40
        folder.mkdir(parents=True, exist_ok=True)

    def kept(self) -> list[Kept]:
        found = []
        for path in sorted(self.folder.glob("*.json")):
            place = path.with_suffix("")
            said = place.stat()
            found.append(Kept(place.name, place.name.rsplit(".", 1)[0], said.st_size, said.st_mtime))
        return found

    def add(self, name: str, content: bytes, unix: float) -> None:
        self.put(name, content, {"device": "mri"})
        os.utime(self.folder / name, (unix, unix))

    def read(self, name: str) -> tuple[bytes, dict[str, object]]:
        try:
            return (self.folder / name).read_bytes(), json.loads((self.folder / f"{name}.json").read_bytes())
        except OSError as error:
            raise StoreError(f"{name}: {error.strerror}") from error

    def put(self, name: str, content: bytes, facts: object) -> bool:
        if (self.folder / name).exists():
            return False
        if len(content) > self.room:
            raise StoreError(f"{name}: no space left on device")
        self.room -= len(content)
        (self.folder / name).write_bytes(content)
        os.utime(self.folder / name, (self.clock.unix(), self.clock.unix()))
        (self.folder / f"{name}.json").write_text(json.dumps(facts))
        return True

    def remove(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)
        (self.folder / f"{name}.json").unlink(missing_ok=True)

    def where(self, name: str) -> Path:
        return self.folder / name

    def tell(self, away: int) -> None:
        self.away = away

    def names(self) -> set[str]:
        return {path.stem for path in self.folder.glob("*.json")}


class Shelf:
    """What a process has of one archive; `again` is the next process."""

    def __init__(
        self, path: Path, store: Store | None = None, clinic: str = "north", key: bytes = KEY, **rule: object
    ) -> None:
        self.path, self.clock, self.rule = path, Standing(), Rule(**({"after_s": 30 * DAY} | rule))
        self.files, self.store = Files(path / "studies", self.clock), store or FolderStore(path / "away")
        self.used: Sequence[Path] = ()
        self.events: list[Event] = []
        self.clinic, self.key = clinic, key
        self.again()

    def again(self) -> None:
        self.index = Index(self.path / "archive.sqlite", self.key)
        self.vault = Vault(self.store, self.key, self.clinic, self.clock)
        party = Party(self.clinic, "site", self._append)
        self.archive = Archive(
            self.path, self.files, self.vault, self.index, self.rule, lambda: self.used, party, self.clock
        )

    def _append(self, said: Event) -> None:
        assert not list(faults_of(said))
        self.events.append(said)

    def actions(self) -> list[tuple[str, str]]:
        return [(each.action, each.outcome) for each in self.events]

    def add(self, study: str, contents: Sequence[bytes], days: float = 100.0) -> None:
        for number, content in enumerate(contents):
            self.files.add(f"{study}.{number}", content, self.clock.unix() - days * DAY)

    def turn(self) -> list[str]:
        self.archive.open()
        go = self.archive.due().go
        for group in go:
            self.archive.move(group)
        return [group.study for group in go]

    def standings(self) -> dict[str, str]:
        return {row.study: row.standing.value for row in self.index.rows()}

    def everything(self) -> dict[str, bytes]:
        """Each object that is here or can be had from there, with its content."""
        found = {name: self.files.read(name)[0] for name in self.files.names()}
        for name in self.vault.names():
            with self.vault.open(name) as (_, objects):
                for item, content in objects:
                    assert found.get(item.name, content) == content
                    found[item.name] = content
        return found


class Killed(BaseException):
    """The process ends here."""


class Fuse:
    """Ends the process, or cuts the line, before one of the changes to come."""

    def __init__(self) -> None:
        self.left: int | None = None

    def burn(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Killed

    def around(self, owner: object, name: str) -> None:
        work = getattr(owner, name)

        def done(*given: object) -> object:
            self.burn()
            found = work(*given)
            self.burn()
            return found

        setattr(owner, name, done)

    def all(self, shelf: Shelf) -> None:
        for name in ("put", "remove"):
            self.around(shelf.files, name)
        self.around(shelf.index, "put")
        self.around(shelf.vault, "put")

    def again(self, shelf: Shelf) -> None:
        """The next process; its files are the same ones."""
        shelf.again()
        self.around(shelf.index, "put")
        self.around(shelf.vault, "put")
