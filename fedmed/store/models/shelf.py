"""Reading a registry, wherever it lies: list, find, verify, export; nothing is handed out that was not checked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fedmed.errors import ConfigError, ProtocolRefused, StoreError
from fedmed.identity.modelkey import ModelPublic
from fedmed.privacy.sealing import SealBroken
from fedmed.store.blobs import Store
from fedmed.store.models import index as indexing
from fedmed.store.models import lineage
from fedmed.store.models.cover import Cover
from fedmed.store.models.index import FILES, LINEAGE, MODEL, SIGNATURE, Entry, Index, ModelAltered

LATEST, BEST = "latest", "best"
PUBLIC = "models.pem"


class Shelf:
    """A registry that is only read."""

    def __init__(self, store: Store, cover: Cover, public: ModelPublic) -> None:
        self.store, self.cover, self.public = store, cover, public

    def index(self) -> Index:
        """The list of models. Raises ModelAltered, StoreError where it cannot be read."""
        where = self.store.where(indexing.NAME)
        content = b"".join(self._blob(indexing.NAME, "the index", indexing.MAX_BYTES))
        return indexing.read(content, self.public, where)

    def find(self, which: str) -> Entry:
        """A model by RUN:ROUND, by the beginning of its SHA-256 (6 digits at least), or `latest`, `best`.

        Raises ConfigError, which says what there is.
        """
        entries = self.index().entries
        if which in (LATEST, BEST) and entries:
            newest = max(entries, key=lambda entry: (entry.unix, entry.round))
            return newest if which == LATEST else _best([entry for entry in entries if entry.run == newest.run], newest)
        found = [entry for entry in entries if str(entry) == which or (len(which) > 5 and entry.sha256.startswith(which))]
        if len({entry.sha256 for entry in found}) == 1:
            return found[0]
        there = ", ".join(map(str, entries[-5:])) or "none yet"
        raise ConfigError(
            f"{'several models begin with' if found else 'there is no model'} {which[:80]!r}; allowed are RUN:ROUND, the "
            f"beginning of a SHA-256, latest, best. The newest: {there}"
        )

    def lineage(self, entry: Entry) -> dict[str, Any]:
        """Where a model comes from. Raises ModelAltered."""
        content = b"".join(self._file(entry, LINEAGE))
        try:
            return lineage.read(content)
        except ValueError as error:
            raise ModelAltered(f"{self._where(entry, LINEAGE)}: the lineage of {entry} cannot be read ({error})") from error

    def verify(self, entry: Entry) -> None:
        """Check all three files against the index, each other, and the signature. Raises ModelAltered, StoreError."""
        for _ in self._file(entry, MODEL):
            pass
        said, at = self.lineage(entry), self._where(entry, LINEAGE)
        weights = entry.files[MODEL]
        if (said.get("run"), said.get("round"), said.get("model", {}).get("sha256")) != (*_which(entry), weights.sha256):
            raise ModelAltered(f"{at}: the lineage is of another model than {entry}; put a copy of it back")
        bundle = b"".join(self._file(entry, SIGNATURE))
        try:
            self.public.check(bundle, {name: entry.files[name].sha256 for name in (MODEL, LINEAGE)})
        except ProtocolRefused as error:
            raise ModelAltered(f"{self._where(entry, SIGNATURE)}: the signature of {entry} is not good: {error}") from error

    def export(self, entry: Entry, out: Path) -> Path:
        """Write a model, verified, as `model_signing verify key` takes it; the folder `out/model` of what is signed.

        Raises ConfigError where `out` is there and not empty, ModelAltered, StoreError.
        """
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ConfigError(f"{out} is not an empty folder; name a new one")
        self.verify(entry)
        try:
            (out / "model").mkdir(parents=True)
            for name in FILES:
                with (out / (name if name == SIGNATURE else f"model/{name}")).open("xb") as file:
                    file.writelines(self._file(entry, name))
            (out / PUBLIC).write_bytes(self.public.pem())
        except OSError as error:
            raise StoreError(f"{out} cannot be written ({error.strerror}); make room, or name another folder") from error
        return out / "model"

    def _file(self, entry: Entry, name: str) -> Iterator[bytes]:
        """A file's content; the last bytes come, and the end, only where all of it is as it was committed."""
        file, hashed, size, last = entry.files[name], hashlib.sha256(), 0, b""
        for piece in self._blob(file.blob, f"{name} of {entry}", file.bytes):
            hashed.update(piece)
            size += len(piece)
            if last:
                yield last
            last = piece
        if (hashed.hexdigest(), size) != (file.sha256, file.bytes):
            raise ModelAltered(f"{self._where(entry, name)}: {name} of {entry} is not what was committed; put a copy back")
        yield last

    def _blob(self, blob: str, what: str, most: int) -> Iterator[bytes]:
        where = self.store.where(blob)
        try:
            with self.store.open(blob) as source:
                for piece in self.cover.read(blob, source):
                    most -= len(piece)
                    if most < 0:
                        raise ModelAltered(f"{where}: {what} is longer than what was committed; put a copy back")
                    yield piece
        except FileNotFoundError as error:
            raise ModelAltered(f"{where}: {what} is missing; put a copy back") from error
        except SealBroken as error:
            raise ModelAltered(f"{where}: {what} is not what was sealed with this key; put a copy back") from error
        except OSError as error:
            raise StoreError(f"{where}: {what} cannot be read ({error.strerror or error})") from error

    def _where(self, entry: Entry, name: str) -> str:
        return self.store.where(entry.files[name].blob)


def _which(entry: Entry) -> tuple[str, int]:
    return entry.run, entry.round


def _best(entries: list[Entry], otherwise: Entry) -> Entry:
    scored = [entry for entry in entries if entry.score is not None]
    return max(scored, key=lambda entry: _goodness(entry), default=otherwise)


def _goodness(entry: Entry) -> tuple[float, int]:
    score = entry.score or 0.0
    return (score if entry.higher_is_better else -score), -entry.round
