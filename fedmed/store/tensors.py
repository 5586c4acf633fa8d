"""A bounded, content-addressed store of finished tensors, keyed by pipeline fingerprint and pixel digest.

Every entry can be made again, so it is never waited for: nothing is synced to the disk, and what a power cut, a rotten
disk or a stranger leaves behind is found by its digest on reading, dropped and made anew. Damage never trains.

- Reading takes no lock. An entry is written beside its place and renamed, which POSIX makes atomic.
- Writing takes a lock for the moment in which the bound is kept: the least recently used entries go first. What is being
  read is mapped, and an unlinked file's bytes stay until its last reader lets go of them.
- Entries of another form, or under another key, are of no use: a store that meets them begins anew (`store.entries`).
- `kill -9` at any moment leaves at worst a file that nobody holds the lock of; whoever opens the store next removes it.
- A disk that refuses (full, read-only) costs the cache, not the work: `said` hears of it once.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from fedmed.errors import StoreError
from fedmed.store.entries import Form
from fedmed.store.locks import alone, is_held
from fedmed.wire.canonical import digest
from fedmed.wire.tensors import Tensors

WRITING, LOCK, TOTAL, MARK = ".writing-", ".lock", ".total", ".form"
ROOM = 0.9  # of the bound: what is left after entries had to go, so that not every write has to look for the oldest
NUMBERS = count()


@dataclass(frozen=True)
class Key:
    """Whose tensors: which pixels, prepared how."""

    pipeline: str
    """Fingerprint of the pipeline, definition version included."""
    pixels: str
    """Digest of what goes in, as `Volume.pixel_sha256`."""

    @property
    def name(self) -> str:
        """The entry's name, 64 hex digits."""
        return digest([self.pipeline, self.pixels])


class TensorStore:
    """Finished tensors below `folder`, of at most `max_bytes` together."""

    def __init__(self, folder: Path, max_bytes: int, said: Callable[[str], None], form: Form) -> None:
        """`said` is told, once each, why the cache cannot be written and which entries were damaged."""
        self.folder, self.max_bytes, self._said, self.form = folder, max_bytes, said, form
        self._refused = False
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._sweep()
            self._take_over()
        except OSError as error:
            self._go_without(error)

    def get(self, key: Key) -> Tensors | None:
        """The tensors under `key`, mapped and read-only, or None; counts as a use."""
        path = self._place(key.name)
        try:
            found = self.form.read(path, key.name)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (StoreError, OSError) as error:
            self._said(f"a cached entry is damaged and is made anew: {error}")
            with suppress(OSError):
                path.unlink()
            return None
        with suppress(OSError):  # a disk that may only be read keeps no order of use
            os.utime(path)
        return found

    def put(self, key: Key, tensors: Tensors) -> bool:
        """Keep `tensors`; False where they cannot be kept. Raises DataError for a dtype that is not carried."""
        temporary = self.folder / f"{WRITING}{os.getpid()}-{next(NUMBERS)}"
        try:
            with temporary.open("xb") as file:
                is_held(file.fileno())  # nobody's but ours: the lock says that its writer lives
                size = self.form.write(tensors, key.name, file)
                if size > self.max_bytes:
                    return False
                with alone(self.folder / LOCK):
                    self._make_room(size, self.form.name(key.name))
                    place = self._place(key.name)
                    place.parent.mkdir(exist_ok=True)
                    temporary.replace(place)
            return True
        except OSError as error:
            self._go_without(error)
            return False
        finally:
            with suppress(OSError):
                temporary.unlink()

    def get_or_make(self, key: Key, make: Callable[[], Tensors]) -> Tensors:
        """The tensors under `key`, made by one process while others that want the same wait for it.

        `make` must not ask this store. Where the disk refuses, what was made is returned and nothing is kept.
        """
        if (found := self.get(key)) is not None:
            return found
        with ExitStack() as held:
            try:
                held.enter_context(alone(self.folder / f"{LOCK}-{key.name[:2]}"))
            except OSError as error:
                self._go_without(error)
            if (found := self.get(key)) is not None:
                return found
            made = make()
            self.put(key, made)
        return made

    def size(self) -> int:
        """Bytes of all entries, counted now."""
        return sum(size for _, size, _ in self._entries())

    def _place(self, name: str) -> Path:
        name = self.form.name(name)
        return self.folder / name[:2] / name

    def _make_room(self, size: int, name: str) -> None:
        """Under the lock: count `size` in, and let the least recently used go where the bound would not hold."""
        total = self._total()
        if total is None or total + size > self.max_bytes:
            total = self._evict(size, name)
        # Counted before the entry is there: a kill in between counts too much, and counting anew mends that.
        (self.folder / TOTAL).write_text(str(total + size))

    def _total(self) -> int | None:
        try:
            return int((self.folder / TOTAL).read_text())
        except (OSError, ValueError):
            return None

    def _evict(self, size: int, name: str) -> int:
        found = sorted(entry for entry in self._entries() if entry[2].name != name)
        total = sum(bytes_ for _, bytes_, _ in found)
        goal = self.max_bytes if total + size <= self.max_bytes else int(self.max_bytes * ROOM)
        for _, bytes_, path in found:
            if total + size <= goal:
                break
            path.unlink(missing_ok=True)
            total -= bytes_
        return total

    def _entries(self) -> list[tuple[int, int, Path]]:
        """Last use, bytes and path of every entry."""
        found = []
        for folder in self.folder.glob("[0-9a-f][0-9a-f]"):
            for path in folder.iterdir():
                with suppress(FileNotFoundError):  # another process let it go meanwhile
                    status = path.stat()
                    found.append((status.st_mtime_ns, status.st_size, path))
        return found

    def _sweep(self) -> None:
        """Remove what killed writers had begun."""
        for begun in self.folder.glob(f"{WRITING}*"):
            with suppress(OSError), begun.open("rb") as file:
                if not is_held(file.fileno()):
                    begun.unlink()

    def _take_over(self) -> None:
        """Let entries go that this form, or this key, cannot read."""
        mark = self.folder / MARK
        if _said_by(mark) == self.form.mark:
            return
        with alone(self.folder / LOCK):
            if _said_by(mark) == self.form.mark:  # another process was first
                return
            for _, _, path in self._entries():
                path.unlink(missing_ok=True)
            (self.folder / TOTAL).unlink(missing_ok=True)
            mark.write_text(self.form.mark)

    def _go_without(self, error: OSError) -> None:
        if not self._refused:
            self._refused = True
            self._said(f"the cache in {self.folder} cannot be written ({error.strerror or error}); going on without it")


def _said_by(mark: Path) -> str | None:
    try:
        return mark.read_text("ascii", "replace")
    except FileNotFoundError:
        return None
