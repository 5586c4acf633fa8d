"""Instances that arrive at once share one transaction, so that four associations do not wait for four fsyncs in a row."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fedmed.dicom.arrivals import Kept
from fedmed.errors import FedmedError, StoreError

Instance = tuple[bytes, Mapping[str, Any]]
KeepMany = Callable[[Sequence[Instance]], Sequence[Kept]]
"""As `arrivals.KeepInstance`, for several: all of them are on the disk when it returns, or it raises and none is."""


@dataclass
class _Waiting:
    """One instance, and what became of it."""

    instance: Instance
    done: threading.Event = field(default_factory=threading.Event)
    kept: Kept | None = None
    error: Exception | None = None
    leads: bool = False


class Gathering:
    """Makes a `KeepInstance` out of a `KeepMany`, with no thread and no delay of its own.

    Whoever comes while nobody writes, writes; who comes meanwhile waits, and the first of them writes for all of them.
    """

    def __init__(self, keep_many: KeepMany, most: int = 64, most_bytes: int = 64 * 2**20) -> None:
        """At most `most` instances, and beyond the first `most_bytes`, go into one transaction."""
        self._keep_many, self._most, self._most_bytes = keep_many, most, most_bytes
        self._lock = threading.Lock()
        self._queue: list[_Waiting] = []
        self._is_writing = False

    def keep(self, content: bytes, facts: Mapping[str, Any]) -> Kept:
        """See `arrivals.KeepInstance`; raises what `keep_many` raised for the transaction that this instance was in."""
        mine = _Waiting((content, facts))
        with self._lock:
            self._queue.append(mine)
            mine.leads, self._is_writing = not self._is_writing, True
        if not mine.leads:
            mine.done.wait()
        if mine.leads:
            self._write()
        if mine.error is not None:
            raise mine.error
        assert mine.kept is not None
        return mine.kept

    def _write(self) -> None:
        """For those who wait now, oneself first; then the next of those who came meanwhile is woken to write."""
        with self._lock:
            batch = self._taken()
        try:
            kept = self._keep_many([one.instance for one in batch])
            for one, its in zip(batch, kept, strict=True):
                one.kept = its
        except (FedmedError, OSError) as error:
            for one in batch:
                one.error = error
        finally:
            for one in batch:
                if one.kept is None and one.error is None:
                    one.error = StoreError("the transaction that this instance was in was broken off; send it again")
            with self._lock:
                heir = self._queue[0] if self._queue else None
                self._is_writing = heir is not None
            for one in batch[1:]:
                one.done.set()
            if heir is not None:
                heir.leads = True
                heir.done.set()

    def _taken(self) -> list[_Waiting]:
        size, count = 0, 0
        for one in self._queue[: self._most]:
            size += len(one.instance[0])
            if count and size > self._most_bytes:
                break
            count += 1
        batch, self._queue = self._queue[:count], self._queue[count:]
        return batch
