"""The folder of a keystore: sealed records, the file `keys` that tells which of them count, and a lock.

    keys                  two slots with the header (`fedmed.store.keyslots`)
    r-<32 hexadecimal>    a record: the state, or the message; a new name and a new key each time
    .lock                 held by the process that has the keystore open

To change anything, new records are written and synced, then the header that names them, then the counter; last, records
that no header names are removed. What a crash leaves undone is finished when the folder is opened next.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from fedmed.clock import Clock
from fedmed.errors import StoreError
from fedmed.privacy.keys import BYTES, derived
from fedmed.privacy.sealing import seal, unsealed
from fedmed.store import keyslots
from fedmed.store.counters import Count, Counter
from fedmed.store.disk import Disk, write_file
from fedmed.store.keyslots import ID, RECORD_KEY, Header, Record
from fedmed.store.locks import is_held

_RECORD_FILE = re.compile(r"r-[0-9a-f]{32}")
_NEW_KEYS, _LOCK = "keys.new", ".lock"
_GIVE_UP = "this epoch is lost: begin again with an empty keystore and join at the next epoch"


class RolledBack(StoreError):
    """A keystore is older than what was once written to it: a restored copy, or an emptied folder."""


class KeyFolder:
    """Records under one header, changed all at once; opened at the first call of `header`, by one process at a time."""

    def __init__(
        self,
        folder: Path,
        key: bytes,
        clock: Clock,
        counter: Counter | None,
        disk: Disk,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self.folder, self._clock, self._counter, self._disk, self._random = folder, clock, counter, disk, random_bytes
        if len(key) != BYTES:
            raise StoreError(f"a key of {len(key)} bytes; a keystore has one of {BYTES}, as `fedmed data key` makes it")
        self._key = derived(key, "keystore header")
        self._lock: int | None = None
        self._header: Header | None = None

    def close(self) -> None:
        """Let another process open the folder."""
        if self._lock is not None:
            os.close(self._lock)
        self._lock = self._header = None

    def header(self) -> Header:
        """What counts now. Raises StoreError where the folder cannot be opened, RolledBack where it is an older copy."""
        if self._header is None:
            self._take_lock()
            with self._opening():
                self._header = self._recover()
        return self._header

    @contextmanager
    def writing(self, what: str) -> Iterator[None]:
        """Close the folder and raise StoreError where the disk refuses, so that the next call looks at it anew."""
        try:
            yield
        except OSError as error:
            self.close()
            raise StoreError(
                f"{self.folder}: {what} could not be written ({error.strerror or error}); nothing may be sent. Make room or "
                "mend the disk, then try again: what was there before is whole"
            ) from error

    def write(self, content: bytes | memoryview) -> Record:
        """Seal `content` into a file of its own, on the disk; it counts once a header names it. Raises OSError."""
        name, key = self._random(ID), self._random(RECORD_KEY)
        path = self._place(name)
        write_file(self._disk, path, lambda sink: seal(key, path.name, _Source(content), sink))
        return Record(name, key, path.stat().st_size)

    def read(self, record: Record) -> bytes:
        """What was sealed. Raises StoreError where a byte of the file is not what was written."""
        path = self._place(record.name)
        try:
            if (size := path.stat().st_size) != record.size:
                raise StoreError(f"{path} has {size} bytes and had {record.size}; {_GIVE_UP}")
            with path.open("rb") as file:
                return b"".join(unsealed(record.key, path.name, file))
        except OSError as error:
            raise StoreError(f"{path} cannot be read ({error.strerror}); {_GIVE_UP}") from error

    def turn(self, header: Header) -> None:
        """Make `header` the one that counts, and take away what it does not name. Raises OSError."""
        self._disk.sync_folder(self.folder)  # the names of its records, before it names them
        header = replace(header, generation=header.generation + 1, unix=self._clock.unix())
        self._settle(header, 0)
        self._header = header

    def begin_again(self) -> None:
        """Give up what the folder holds and go on with nothing in it. Raises StoreError."""
        self.close()
        self._take_lock()
        with self._opening(), self.writing("an empty keystore"):
            count = self._counter.read() if self._counter is not None else None
            keystore, generation = (count.keystore, count.generation) if count else (self._random(ID), 0)
            header, path = Header(keystore, generation + 1, self._clock.unix()), self.folder / keyslots.NAME
            if not path.exists() or path.stat().st_size != keyslots.SIZE:
                self._create(header)
            self._settle(header, 0)
            self._header = header

    def _settle(self, header: Header, first: int) -> None:
        """Write the header, count it, and only then remove what it does not name."""
        keyslots.write(self._disk, self.folder / keyslots.NAME, self._key, header, first)
        if self._counter is not None:
            self._counter.advance(Count(header.keystore, header.generation))
        named = {self._place(record.name) for record in (header.state, header.message) if record is not None}
        ours = (path for path in self.folder.iterdir() if _RECORD_FILE.fullmatch(path.name) or path.name == _NEW_KEYS)
        if gone := sorted(path for path in ours if path not in named):
            for path in gone:
                self._disk.remove(path)
            self._disk.sync_folder(self.folder)

    def _place(self, name: bytes) -> Path:
        return self.folder / f"r-{name.hex()}"

    @contextmanager
    def _opening(self) -> Iterator[None]:
        try:
            yield
        except StoreError:
            self.close()
            raise
        except OSError as error:
            self.close()
            raise StoreError(f"{self.folder}: cannot be read ({error.strerror or error}); mend the disk") from error

    def _take_lock(self) -> None:
        try:
            self._disk.make_folder(self.folder)
            self._lock = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(
                f"{self.folder}: no keystore can be opened there ({error.strerror}); name one that this user may write to"
            ) from error
        if is_held(self._lock):
            self.close()
            raise StoreError(
                f"{self.folder}: another process has this keystore open; two at once could send two masked updates for one "
                "round. Stop the other one first"
            )

    def _recover(self) -> Header:
        """Read what the last process left, check its age, and finish what it had begun."""
        path = self.folder / keyslots.NAME
        count = self._counter.read() if self._counter is not None else None
        if path.exists():
            header, newest = keyslots.read(path, self._key)
            self._refuse_if_old(header, count)
        else:
            self._refuse_if_emptied(count)
            header, newest = Header(self._random(ID), 1, self._clock.unix()), 0
        with self.writing("what a crash had left undone"):
            if not path.exists():
                self._create(header)
            # The slot that is not the newest first. Both are synced again: a sync that failed once may have lost either.
            self._settle(header, 1 - newest)
        return header

    def _create(self, header: Header) -> None:
        new = self.folder / _NEW_KEYS
        if new.exists():
            self._disk.remove(new)
        write_file(self._disk, new, lambda sink: sink.write(keyslots.content(self._key, header)))
        self._disk.rename(new, self.folder / keyslots.NAME)
        self._disk.sync_folder(self.folder)

    def _refuse_if_emptied(self, count: Count | None) -> None:
        if count is not None:
            raise RolledBack(
                f"{self.folder} is empty, and was written to {count.generation} times, says the counter beside the key "
                f"(which serves one keystore alone); {_GIVE_UP}"
            )
        if any(_RECORD_FILE.fullmatch(path.name) for path in self.folder.iterdir()):
            raise StoreError(f"{self.folder}: the file {keyslots.NAME!r} is gone, without which nothing opens; {_GIVE_UP}")

    def _refuse_if_old(self, header: Header, count: Count | None) -> None:
        if self._counter is None:
            return
        if count is not None and count.keystore != header.keystore:
            raise StoreError(f"{self.folder}: the counter beside the key is of another keystore; give each a key of its own")
        counted = count.generation if count is not None else 0
        if counted > header.generation:
            raise RolledBack(
                f"{self.folder} is an older copy: it was written to {counted} times, and this is how it was after "
                f"{header.generation}, at {_time(header.unix)}. A masked update may have left since, and its masks must not "
                f"cover another; {_GIVE_UP}"
            )
        if counted < header.generation - 1:
            raise StoreError(
                f"{self.folder} was written to {header.generation} times, and the counter beside the key says {counted}: it "
                "is an older copy, or was taken away. Put the right one back, or begin again with an empty keystore"
            )


class _Source:
    """Bytes that `sealing.seal` reads piece by piece, without a second copy of them."""

    def __init__(self, content: bytes | memoryview) -> None:
        self._content, self._offset = memoryview(content).cast("B"), 0

    def read(self, size: int, /) -> bytes:
        """The next bytes, up to `size`."""
        piece = bytes(self._content[self._offset : self._offset + size])
        self._offset += len(piece)
        return piece


def _time(unix: float) -> str:
    return datetime.fromtimestamp(unix, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
