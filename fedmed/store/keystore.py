"""Where a clinic keeps the secrets of secure aggregation: the protocol's state and the masked update it has sent.

Three promises, each for a crash or an attacker at any moment:

- **No two-time pad.** State and message of a round are one commit. After it, `sent` gives those bytes and no others.
- **Forward secrecy.** `save` and `erase` leave no file with anything that opens an older state: a later copy of the disk,
  with the key, shows nothing of the masks of an erased round, nor of the mail of a set-up that is over. Out of reach of any
  program are old blocks that an SSD, a file system that copies on write or journals data (btrfs, ZFS, snapshots), swap or a
  backup keeps: an old block of the file `keys`, with the keystore's key, opens the record of its time if that is found as
  well.
- **No going back.** Where the key's source holds a counter, an older copy of the folder is refused (`RolledBack`).

One process at a time has a keystore open; its lock ends with it. `fedmed.store.keyfolder` tells what lies in the folder.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Protocol

from fedmed.clock import Clock
from fedmed.errors import StoreError
from fedmed.store.counters import Counter
from fedmed.store.disk import Disk
from fedmed.store.keyfolder import KeyFolder
from fedmed.store.keyfolder import RolledBack as RolledBack
from fedmed.store.keyslots import NONE

MAX_STATE, MAX_MESSAGE = 1 << 28, 1 << 32
"""Bytes of a state (an epoch of 128 clinics and 128 rounds has some 2 MB) and of a masked update (10^9 parameters)."""
MAX_NUMBER = 2**63 - 1


class Keystore(Protocol):
    """The secrets of one clinic. Each call is done, on the disk, when it returns, or has changed nothing."""

    def load(self) -> bytes | None:
        """The state as last written; None where none ever was. Raises StoreError, RolledBack."""

    def save(self, state: bytes, begins: bool = False) -> None:
        """Put a state in place of the one before; the message, if any, stays.

        With `begins`, the state is of a new epoch, whose rounds are numbered anew: the message goes, any number may follow.
        """

    def commit(self, number: int, state: bytes, message: bytes | memoryview) -> None:
        """The state after round `number` and the round's message, both or neither.

        Raises StoreError for a number that is not above all that were committed or erased.
        """

    def sent(self, number: int) -> bytes | None:
        """The message that was committed for this round; None where none was, or it is erased or followed by another."""

    def erase(self, state: bytes, number: int) -> None:
        """Put a state without the round's secrets in place of the one before; messages up to the round's go for good."""


class MemoryKeystore:
    """A keystore that ends with its process."""

    def __init__(self) -> None:
        self._state: bytes | None = None
        self._last, self._number, self._message = NONE, NONE, b""

    def load(self) -> bytes | None:
        """The state as last written."""
        return self._state

    def save(self, state: bytes, begins: bool = False) -> None:
        """Put a state in place of the one before."""
        self._put(state)
        if begins:
            self._last, self._number, self._message = NONE, NONE, b""

    def commit(self, number: int, state: bytes, message: bytes | memoryview) -> None:
        """State and message, both or neither."""
        check_commit(number, self._last, message)
        self._put(state)
        self._message, self._number, self._last = bytes(message), number, number

    def sent(self, number: int) -> bytes | None:
        """The message that was committed for this round."""
        check_number(number)
        return self._message if number == self._number else None

    def erase(self, state: bytes, number: int) -> None:
        """Put a state in place of the one before and drop the message."""
        check_number(number)
        self._put(state)
        self._last = max(self._last, number)
        if self._number <= number:
            self._number, self._message = NONE, b""

    def _put(self, state: bytes) -> None:
        check_state(state)
        self._state = bytes(state)


class FileKeystore:
    """A keystore in a folder, sealed with `key` (32 bytes); opened, and locked, at the first call, until `close`.

    `counter` lies where the key comes from; without one an older copy of the folder cannot be told. After a call that raised
    StoreError for the disk, the next one opens the folder anew and finds the state before or the new one, whole.
    """

    def __init__(
        self,
        folder: Path,
        key: bytes,
        clock: Clock,
        counter: Counter | None = None,
        disk: Disk | None = None,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._folder = KeyFolder(folder, key, clock, counter, disk or Disk(), random_bytes)

    def __enter__(self) -> FileKeystore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let another process open it; the next call opens it again."""
        self._folder.close()

    def load(self) -> bytes | None:
        """The state as last written. Raises RolledBack, StoreError where a byte of it is not what was written."""
        record = self._folder.header().state
        return None if record is None else self._folder.read(record)

    def sent(self, number: int) -> bytes | None:
        """The message that was committed for this round. Raises StoreError where a byte of it is not what was written."""
        check_number(number)
        header = self._folder.header()
        return None if header.message is None or header.number != number else self._folder.read(header.message)

    def save(self, state: bytes, begins: bool = False) -> None:
        """Put a state in place of the one before. Raises StoreError."""
        check_state(state)
        header = self._folder.header()
        with self._folder.writing("the state"):
            if begins:
                header = replace(header, last=NONE, number=NONE, message=None)
            self._folder.turn(replace(header, state=self._folder.write(state)))

    def commit(self, number: int, state: bytes, message: bytes | memoryview) -> None:
        """State and message, both or neither. Raises StoreError."""
        check_state(state)
        header = self._folder.header()
        check_commit(number, header.last, message)
        with self._folder.writing(f"round {number}"):
            kept, after = self._folder.write(message), self._folder.write(state)
            self._folder.turn(replace(header, last=number, state=after, number=number, message=kept))

    def erase(self, state: bytes, number: int) -> None:
        """Put a state in place of the one before and drop the message. Raises StoreError."""
        check_state(state)
        check_number(number)
        header = self._folder.header()
        with self._folder.writing(f"the state without round {number}"):
            header = replace(header, last=max(header.last, number), state=self._folder.write(state))
            self._folder.turn(replace(header, number=NONE, message=None) if header.number <= number else header)

    def begin_again(self) -> None:
        """Give up whatever the folder holds, damaged or rolled back, and go on empty; the counter goes on counting.

        The clinic joins again at the next epoch, with new keys: those given up may have masked something already.
        """
        self._folder.begin_again()


def check_state(state: bytes) -> None:
    """Raise StoreError where it is too long for any keystore."""
    if len(state) > MAX_STATE:
        raise StoreError(f"a state of {len(state)} bytes; allowed are {MAX_STATE}")


def check_number(number: int) -> None:
    """Raise StoreError where no round has this number."""
    if not 0 <= number <= MAX_NUMBER:
        raise StoreError(f"round {number}; allowed are 0 to {MAX_NUMBER}")


def check_commit(number: int, last: int, message: bytes | memoryview) -> None:
    """Raise StoreError where the round is not above `last`, or the message too long."""
    check_number(number)
    if number <= last:
        raise StoreError(
            f"round {number} cannot be committed: round {last} was committed or erased already. Send again what `sent` "
            "gives: two updates under the same masks would show their difference"
        )
    if (size := memoryview(message).nbytes) > MAX_MESSAGE:
        raise StoreError(f"a message of {size} bytes; allowed are {MAX_MESSAGE}")
