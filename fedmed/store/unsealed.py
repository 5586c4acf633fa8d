"""A keystore for simulations, which several processes of one machine share: files that are neither sealed nor synced.

    PATH            how often it was written, the rounds, then the state
    PATH.message    the number of a round and its message, written over the one before: files made anew cost more
    PATH.lock       held for the moment of a change

It is for keys that are made for one run. What it does promise is one order of changes: whoever looks at it last may change
it, so a process that is late with a message, after another has answered for the same clinic, changes and sends nothing.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedmed.errors import StoreError
from fedmed.store.keyslots import NONE
from fedmed.store.keystore import check_commit, check_number, check_state
from fedmed.store.locks import alone

_HEAD = struct.Struct(">Qqq")  # generation, the newest round committed or erased, the message's round
_NUMBER = struct.Struct(">q")


class UnsealedKeystore:
    """See `fedmed.store.keystore.Keystore`; a change raises StoreError where another process made one since `load`."""

    def __init__(self, path: Path) -> None:
        self._path, self._message = path, path.with_name(f"{path.name}.message")
        self._generation, self._last, self._number = 0, NONE, NONE
        self._state: bytes | None = None
        self.load()

    def load(self) -> bytes | None:
        """The state as last written, whichever process wrote it."""
        try:
            with self._path.open("rb") as file:
                generation, last, number = _HEAD.unpack(file.read(_HEAD.size))
                if generation != self._generation:
                    self._state = file.read()
        except FileNotFoundError:
            return None
        self._generation, self._last, self._number = generation, last, number
        return self._state

    def save(self, state: bytes, begins: bool = False) -> None:
        """Put a state in place of the one before."""
        with self._changing():
            self._put(state, NONE if begins else self._last, NONE if begins else self._number)

    def commit(self, number: int, state: bytes, message: bytes | memoryview) -> None:
        """State and message, both or neither."""
        check_commit(number, self._last, message)
        with self._changing():
            with os.fdopen(os.open(self._message, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
                file.write(_NUMBER.pack(number))
                file.write(message)
                file.truncate()
            self._put(state, number, number)

    def sent(self, number: int) -> bytes | None:
        """The message that was committed for this round."""
        check_number(number)
        if number != self._number:
            return None
        with self._message.open("rb") as file:
            written = file.read(_NUMBER.size)  # that of a later one, where a process ended while it wrote
            return file.read() if written == _NUMBER.pack(number) else None

    def erase(self, state: bytes, number: int) -> None:
        """Put a state in place of the one before and forget the message."""
        check_number(number)
        with self._changing():
            self._put(state, max(self._last, number), self._number if self._number > number else NONE)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with alone(self._path.with_name(f"{self._path.name}.lock")):
            if self._written() != self._generation:
                raise StoreError(
                    f"{self._path}: another process has answered for this clinic since this one looked; nothing is sent. "
                    "Ask again"
                )
            try:
                yield
            except OSError as error:
                raise StoreError(f"the state cannot be written to {self._path}: {error.strerror}; make room") from error

    def _written(self) -> int:
        """How often."""
        try:
            with self._path.open("rb") as file:
                return int(_HEAD.unpack(file.read(_HEAD.size))[0])
        except FileNotFoundError:
            return 0

    def _put(self, state: bytes, last: int, number: int) -> None:
        check_state(state)
        temporary = self._path.with_name(f"{self._path.name}.new")
        temporary.write_bytes(_HEAD.pack(self._generation + 1, last, number) + state)
        temporary.replace(self._path)
        self._generation, self._last, self._number, self._state = self._generation + 1, last, number, state
