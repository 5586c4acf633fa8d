"""Flower's object store, in memory or as files: an object that is large is a file named by its SHA-256, else it is a row.

An object that was put is on the disk, synced, before `put` returns: neither a kill nor a power cut takes back what a node
was told. Contents are sealed under the center's key, names are not. Trees are few, one for each message on its way; so they,
and who needs what, are kept in memory too.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.inflatable.inflatable_object import get_object_id, is_valid_sha256_hash
from flwr.supercore.inflatable.inflatable_utils import validate_object_content
from flwr.supercore.object_store import NoObjectInStoreError, ObjectStore
from flwr.supercore.object_store.in_memory_object_store import InMemoryObjectStore

from fedmed.errors import StoreError
from fedmed.flower.parcels import ids_in
from fedmed.flower.resting import AtRest
from fedmed.identity.files import fill

SMALL = 64 * 2**10
"""Bytes of an object that is a row; a larger one is a file."""
TABLES = """
CREATE TABLE IF NOT EXISTS tree (root TEXT PRIMARY KEY, run TEXT NOT NULL, tree BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS object (name TEXT PRIMARY KEY, content BLOB NOT NULL);
"""
PRAGMAS = ("journal_mode = WAL", "busy_timeout = 5000")
HELD = 128 * 2**20
"""Bytes of its own messages' objects that the center has open: each clinic is handed the same model."""
HALF = ".new"  # ends the name of a file that is being written


class Objects(ObjectStore):
    """What the center asks of a store beside what Flower does: several at once, and less than a whole object."""

    def preregister_all(self, run: int, trees: Iterable[ObjectTree]) -> list[str]:
        """Keep trees; returns those of their objects that are not there."""
        return list(dict.fromkeys(name for tree in trees for name in self.preregister(run, tree)))

    def put_all(self, objects: Mapping[str, bytes], is_own: bool = False) -> None:
        """Keep objects that a tree names; `is_own` for contents whose names this process made itself.

        Raises NoObjectInStoreError for others, ValueError for a content that is not what its name says, OSError; what came
        before the first fault is kept.
        """
        for name, content in objects.items():
            self.put(name, content)

    def delete_all(self, roots: Iterable[str]) -> None:
        """Forget messages' trees, and the objects that no other tree names."""
        for root in roots:
            self.delete(root)

    def is_there(self, name: str) -> bool:
        """Whether an object can be read."""
        return bool(self.get(name))

    def small(self, name: str) -> bytes:
        """An object that is there and small; else nothing."""
        found = self.get(name) or b""
        return found if len(found) <= SMALL else b""


class MemoryStore(InMemoryObjectStore, Objects):
    """Flower's own."""


class FileStore(Objects):
    """A folder that one process has to itself."""

    def __init__(self, folder: Path, rest: AtRest) -> None:
        """Take the folder up as it is; files that a killed process left half-written, or that no tree names, go."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder, self._rest, self._lock = folder, rest, threading.RLock()
        self._held: dict[str, bytes] = {}
        self._rows = sqlite3.connect(folder / "trees.db", isolation_level=None, check_same_thread=False)
        for pragma in PRAGMAS:
            self._rows.execute(f"PRAGMA {pragma}")
        self._rows.executescript(TABLES)
        self._trees: dict[str, tuple[int, ObjectTree]] = {}
        self._needed: Counter[str] = Counter()
        for root, run, tree in self._rows.execute("SELECT root, run, tree FROM tree"):
            self._add(int(run), root, ObjectTree.FromString(tree))
        self._there = self._found()

    def _add(self, run: int, root: str, tree: ObjectTree) -> None:
        self._trees[root] = (run, tree)
        self._needed.update(ids_in(tree))

    def _found(self) -> set[str]:
        files = {file.name for file in self._folder.iterdir() if is_valid_sha256_hash(file.name)}
        rows = {name for (name,) in self._rows.execute("SELECT name FROM object")}
        self._remove((files | rows) - self._needed.keys())
        for half in self._folder.glob(f".*{HALF}"):
            half.unlink()
        return (files | rows) & self._needed.keys()

    @contextmanager
    def _transaction(self, is_synced: bool = True) -> Iterator[None]:
        with self._lock:
            self._rows.execute(f"PRAGMA synchronous = {'FULL' if is_synced else 'NORMAL'}")
            self._rows.execute("BEGIN IMMEDIATE")
            with self._rows:  # commits, or takes back
                yield

    def roots(self) -> set[str]:
        """Of all trees: ids of messages."""
        with self._lock:
            return set(self._trees)

    def preregister(self, run_id: int, object_tree: ObjectTree) -> list[str]:
        """Keep a tree; returns those of its objects that are not there. Raises ValueError for names that are no digests."""
        return self.preregister_all(run_id, [object_tree])

    def preregister_all(self, run: int, trees: Iterable[ObjectTree]) -> list[str]:
        """As `Objects` says, in one transaction."""
        named = {str(tree.object_id): (tree, ids_in(tree)) for tree in trees}
        objects = list(dict.fromkeys(name for _, names in named.values() for name in names))
        if wrong := [name for name in objects if not is_valid_sha256_hash(name)]:
            raise ValueError(f"Invalid object ID format: {wrong[0]}")
        with self._lock:
            new = {root: tree for root, (tree, _) in named.items() if root not in self._trees}
            if new:
                with self._transaction():
                    rows = [(root, str(run), tree.SerializeToString()) for root, tree in new.items()]
                    self._rows.executemany("INSERT INTO tree VALUES (?, ?, ?)", rows)
                for root, tree in new.items():
                    self._add(run, root, tree)
            return [name for name in objects if name not in self._there]

    def get_object_tree(self, object_id: str) -> ObjectTree:
        """The tree of a message. Raises NoObjectInStoreError where there is none."""
        with self._lock:
            if object_id not in self._trees:
                raise NoObjectInStoreError(f"no tree of {object_id} is kept")
            return self._trees[object_id][1]

    def put(self, object_id: str, object_content: bytes) -> None:
        """Keep one object; see `put_all`."""
        self.put_all({object_id: object_content})

    def put_all(self, objects: Mapping[str, bytes], is_own: bool = False) -> None:
        """As `Objects` says; all that are small in one transaction."""
        for name, content in objects.items():
            if name not in self._needed:
                raise NoObjectInStoreError(f"{name} is named by no tree")
            if is_own:
                continue
            if get_object_id(content) != name:
                raise ValueError(f"what is called {name} has another digest")
            validate_object_content(content)
        new = {name: content for name, content in objects.items() if name not in self._there}
        large = {name: content for name, content in new.items() if len(content) > SMALL}
        for name, content in large.items():  # outside the lock: these take long, and two that write the same one agree
            fill(self._folder / name, self._rest.closed(name, [content]), mark=f".{threading.get_ident()}{HALF}")
        if is_own:
            self._hold(large)
        self._note(large.keys(), {name: content for name, content in new.items() if name not in large})

    def _hold(self, contents: Mapping[str, bytes]) -> None:
        with self._lock:
            self._held |= contents
            room = HELD - sum(map(len, self._held.values()))
            while room < 0:
                room += len(self._held.pop(next(iter(self._held))))

    def _note(self, large: Iterable[str], small: Mapping[str, bytes]) -> None:
        with self._lock:
            if small:
                rows = [(name, b"".join(self._rest.closed(name, [content]))) for name, content in small.items()]
                with self._transaction():
                    self._rows.executemany("INSERT OR IGNORE INTO object VALUES (?, ?)", rows)
            names = {*large, *small}
            self._there |= names & self._needed.keys()
            self._remove(names - self._needed.keys())  # the tree went while its objects came

    def is_there(self, name: str) -> bool:
        """Whether an object can be read."""
        return name in self._there

    def get(self, object_id: str) -> bytes | None:
        """An object; empty for one that is awaited, None for one that no tree names."""
        with self._lock:
            if object_id not in self._there:
                return b"" if object_id in self._needed else None
            if (held := self._held.get(object_id)) is not None:
                return held
            if (found := self.small(object_id)) or object_id not in self._there:
                return found
        try:
            return self._opened(object_id, lambda: self._rest.read(object_id, self._folder / object_id))
        except FileNotFoundError:  # deleted since
            return None

    def small(self, name: str) -> bytes:
        """A row, in other words."""
        with self._lock:
            found = self._rows.execute("SELECT content FROM object WHERE name = ?", (name,)).fetchone()
        return self._opened(name, lambda: self._rest.opened(name, found[0])) if found else b""

    def _opened(self, name: str, read: Callable[[], bytes]) -> bytes:
        """An object; nothing for one that the disk has damaged: it is awaited again, and put again by who sends it."""
        try:
            return read()
        except StoreError as error:
            logging.getLogger(__name__).warning("an object of a message is lost, and is sent anew: %s", error)
        with self._lock:
            self._there.discard(name)
            self._remove({name})
        return b""

    def delete(self, object_id: str) -> None:
        """As `delete_all`."""
        self.delete_all([object_id])

    def delete_all(self, roots: Iterable[str]) -> None:
        """As `Objects` says; what is no message is left alone."""
        with self._lock:
            known, gone = [root for root in roots if root in self._trees], set[str]()
            for root in known:
                names = ids_in(self._trees.pop(root)[1])
                self._needed.subtract(names)
                gone |= {name for name in names if self._needed[name] <= 0}
            for name in gone:
                del self._needed[name]
            self._there -= gone
            self._remove(gone, known)

    def _remove(self, names: set[str], roots: Iterable[str] = ()) -> None:
        if not names and not roots:
            return
        with self._transaction(is_synced=False):  # what comes back after a power cut is removed again
            self._rows.executemany("DELETE FROM tree WHERE root = ?", [(root,) for root in roots])
            self._rows.executemany("DELETE FROM object WHERE name = ?", [(name,) for name in names])
        for name in names:
            self._held.pop(name, None)
            (self._folder / name).unlink(missing_ok=True)

    def delete_objects_in_run(self, run_id: int) -> None:
        """Forget all messages of a run."""
        with self._lock:
            self.delete_all([root for root, (run, _) in self._trees.items() if run == run_id])

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self.delete_all(list(self._trees))

    def __contains__(self, object_id: str) -> bool:
        return object_id in self._needed

    def __len__(self) -> int:
        return len(self._needed)
