"""The registry of committed global models in one folder: three files a model, and a signed list that names them.

The three are written first, each whole and on the disk, the list last: whatever a power cut leaves, a model is whole or
absent. What no list names is swept. One process writes at a time.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedmed.clock import Clock
from fedmed.errors import FedmedError, StoreError
from fedmed.identity.modelkey import ModelKey
from fedmed.privacy.sealing import Pieces
from fedmed.store.blobs import FolderStore
from fedmed.store.disk import Disk
from fedmed.store.locks import alone
from fedmed.store.models import index as indexing
from fedmed.store.models import lineage
from fedmed.store.models.cover import Cover
from fedmed.store.models.index import LINEAGE, MODEL, SIGNATURE, Entry, File, Index, ModelAltered
from fedmed.store.models.lineage import Committed, Weights
from fedmed.store.models.retention import RETENTION, Retention
from fedmed.store.models.shelf import Shelf
from fedmed.wire.tensors import header_of, raw

KEPT, NOT_DUE, FAILED = "kept", "not due", "failed"
AGAIN_S = 30.0
"""Until a model that could not be written is tried again."""
Model = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Told:
    """What became of a model."""

    what: str
    """`kept`, `not due`, or `failed`: then it is held in memory and tried again."""
    sha256: str = ""
    """Of its weights, where it was kept."""
    reason: str = ""
    """Why it could not be written, for the operator."""
    dropped: tuple[str, ...] = ()
    """Models that went, by RUN:ROUND."""


@dataclass(frozen=True)
class _Waiting:
    said: Committed
    model: Model
    unix: float


class Registry(Shelf):
    """Reads and writes."""

    def __init__(
        self,
        folder: Path,
        cover: Cover,
        key: ModelKey,
        clock: Clock,
        federation: str,
        retention: Retention = RETENTION,
        disk: Disk | None = None,
    ) -> None:
        """The registry in `folder`, begun where nothing is there.

        Raises ModelAltered where models are there and no index, StoreError where the folder cannot be written.
        """
        self.folder, self.retention = folder, retention
        self._key, self._clock, self._federation = key, clock, federation
        self._waiting: _Waiting | None = None
        self._again, self._turn = 0.0, threading.Lock()
        try:
            self._blobs = FolderStore(folder, disk)
            super().__init__(self._blobs, cover, key.public)
            with alone(folder / ".lock"):
                self._begin()
        except OSError as error:
            raise StoreError(f"{folder}: no registry of models can be begun there ({error.strerror})") from error

    @property
    def is_waiting(self) -> bool:
        """Whether a model waits in memory to be written."""
        return self._waiting is not None

    def commit(self, said: Committed, model: Model, final: bool = False) -> Told:
        """Keep the model of a committed round where one is due, and let others go. Raises nothing of ours: it is told.

        The last model of a run is `final`, hence due. What could not be written waits, copied, in memory, one model at most,
        until `retry` or the next round. The same round again, as after a restart, is kept once.
        """
        unix = self._clock.unix()
        with self._turn:
            try:
                newest = self.index().newest(said.run)
                if not (final or self.is_waiting or self.retention.is_due(newest, said.round, unix)):
                    return Told(NOT_DUE)
                return self._keep(said, model, unix)
            except (FedmedError, OSError) as error:
                copied = {name: np.array(value) for name, value in model.items()}
                self._waiting, self._again = _Waiting(said, copied, unix), self._clock.now() + AGAIN_S
                return Told(FAILED, reason=str(error))

    def retry(self) -> Told:
        """Write what waits, where it is time to; a service asks as often as it likes, from any thread."""
        with self._turn:
            if (waiting := self._waiting) is None or self._clock.now() < self._again:
                return Told(NOT_DUE)
            try:
                return self._keep(waiting.said, waiting.model, waiting.unix)
            except (FedmedError, OSError) as error:
                self._again = self._clock.now() + AGAIN_S
                return Told(FAILED, reason=str(error))

    def prune(self, retention: Retention | None = None) -> tuple[Entry, ...]:
        """Let go what retention does not keep; those that went. Raises StoreError."""
        with self._writing() as index:
            following, gone = self._after(index, retention or self.retention)
            if gone:
                self._write(following)
            self._sweep(following)
            return gone

    def hold(self, run: str, sha256: str) -> None:
        """Keep the model that `run` goes on from, whatever its age, until `release`. Raises StoreError."""
        with self._writing() as index:
            self._write(index.of(index.entries, {**index.held, run: sha256}))

    def release(self, run: str) -> None:
        """`run` has ended. Raises StoreError."""
        with self._writing() as index:
            if run in index.held:
                self._write(index.of(index.entries, {name: held for name, held in index.held.items() if name != run}))

    def _begin(self) -> None:
        there = self._blobs.names()
        if indexing.NAME in there:
            self.index()
        elif there:
            raise ModelAltered(f"{self.store.where(indexing.NAME)}: the index is missing; put a copy of it back")
        else:
            self._write(Index())

    def _keep(self, said: Committed, model: Model, unix: float) -> Told:
        with self._writing() as index:
            digest, size = _measured(model)
            if (there := index.at(said.run, said.round)) is not None:
                if there.sha256 != digest:
                    raise StoreError(f"{there} is in the registry with other weights; a round is committed once")
                self._waiting = None
                self._sweep(index)
                return Told(KEPT, digest)
            files = self._put_all(said, model, unix, Weights(digest, size, sum(value.size for value in model.values())))
            entry = Entry(said.run, said.round, unix, said.score, said.metric, said.higher_is_better, files)
            following, gone = self._after(index.of((*index.entries, entry)), self.retention)
            self._write(following)
            self._waiting = None
            self._sweep(following)
            return Told(KEPT, digest, dropped=tuple(map(str, gone)))

    def _put_all(self, said: Committed, model: Model, unix: float, weights: Weights) -> dict[str, File]:
        """The three files, on the disk."""
        told = lineage.record(said, self._federation, unix, weights)
        digests = {MODEL: weights.sha256, LINEAGE: hashlib.sha256(told).hexdigest()}
        signature = self._key.signature(f"{said.run}-{said.round}", digests)
        return {
            MODEL: self._put(weights.sha256, weights.bytes, Pieces(_pieces(model))),
            LINEAGE: self._put(digests[LINEAGE], len(told), Pieces([told])),
            SIGNATURE: self._put(hashlib.sha256(signature).hexdigest(), len(signature), Pieces([signature])),
        }

    def _put(self, sha256: str, size: int, source: Pieces) -> File:
        name = self.cover.name(sha256)
        self._blobs.fill(name, lambda sink: self.cover.write(name, source, sink))
        return File(name, sha256, size)

    def _after(self, index: Index, retention: Retention) -> tuple[Index, tuple[Entry, ...]]:
        stay = retention.kept(index.entries, set(index.held.values()))
        kept = tuple(entry for entry in index.entries if (entry.run, entry.round) in stay)
        gone = tuple(entry for entry in index.entries if (entry.run, entry.round) not in stay)
        return index.of(kept), gone

    def _write(self, index: Index) -> None:
        content = index.signed(self._key)
        self._blobs.fill(indexing.NAME, lambda sink: self.cover.write(indexing.NAME, Pieces([content]), sink))

    def _sweep(self, index: Index) -> None:
        """Remove what the index on the disk does not name."""
        self._blobs.sweep()
        for name in self._blobs.names().keys() - index.blobs().keys():
            if indexing.BLOB.fullmatch(name):
                self._blobs.remove(name)

    @contextmanager
    def _writing(self) -> Iterator[Index]:
        """The index, and nobody else writing."""
        try:
            with alone(self.folder / ".lock"):
                yield self.index()
        except OSError as error:
            raise StoreError(
                f"the registry of models {self.folder} cannot be written ({error.strerror or error}); make room or mend the "
                "disk"
            ) from error


def _pieces(model: Model) -> Iterator[bytes | memoryview]:
    yield header_of(model)
    for value in model.values():
        yield raw(value.astype(value.dtype.newbyteorder("<"), copy=False))


def _measured(model: Model) -> tuple[str, int]:
    """SHA-256 and bytes of the file that a model makes."""
    hashed, size = hashlib.sha256(), 0
    for piece in _pieces(model):
        hashed.update(piece)
        size += len(piece)
    return hashed.hexdigest(), size
