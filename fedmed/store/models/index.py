"""The list of a registry's models, signed: a model is in the registry when the list on the disk names it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from fedmed.errors import StoreError
from fedmed.identity.modelkey import ModelKey, ModelPublic
from fedmed.wire.canonical import canonical

NAME = "index"
BLOB = re.compile("[0-9a-f]{64}")
"""What all other blobs are named."""
MAX_BYTES = 64 << 20
MODEL, LINEAGE, SIGNATURE = "model.safetensors", "lineage.json", "model.sig"
FILES = (MODEL, LINEAGE, SIGNATURE)
_KIND, _VERSION = "fedmed-model-index", 1
_CONTEXT = b"fedmed/model index/1\x00"


class ModelAltered(StoreError):
    """A model, its lineage, its signature or the index is not what was committed; the text names the file."""


@dataclass(frozen=True)
class File:
    """One of a model's three files."""

    blob: str
    """The name that it lies under."""
    sha256: str
    """Of its content, in hex."""
    bytes: int
    """Of its content."""


@dataclass(frozen=True)
class Entry:
    """One model in the registry."""

    run: str
    round: int
    unix: float
    score: float | None
    metric: str
    higher_is_better: bool
    files: Mapping[str, File]
    """By the names of `FILES`."""

    @property
    def sha256(self) -> str:
        """Of the weights, hence the model's name in the lineage of those that go on from it."""
        return self.files[MODEL].sha256

    def __str__(self) -> str:
        return f"{self.run}:{self.round}"


@dataclass(frozen=True)
class Index:
    """All of them."""

    number: int = 0
    """How often it was written."""
    entries: tuple[Entry, ...] = ()
    """In the order in which they were committed."""
    held: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of the weights that a run, by its name, goes on from."""

    def blobs(self) -> dict[str, str]:
        """Names of all blobs, and of which file of which model each is."""
        return {file.blob: f"{name} of {entry}" for entry in self.entries for name, file in entry.files.items()}

    def newest(self, run: str) -> Entry | None:
        """The run's model of the highest round."""
        return max((entry for entry in self.entries if entry.run == run), key=lambda entry: entry.round, default=None)

    def at(self, run: str, round: int) -> Entry | None:
        """The model of one round."""
        return next((entry for entry in self.entries if (entry.run, entry.round) == (run, round)), None)

    def of(self, entries: tuple[Entry, ...], held: Mapping[str, str] | None = None) -> Index:
        """The next one."""
        return replace(self, number=self.number + 1, entries=entries, held=self.held if held is None else held)

    def signed(self, key: ModelKey) -> bytes:
        """For the blob `NAME`."""
        body = {"kind": _KIND, "version": _VERSION, **asdict(self)}
        return canonical({**body, "signature": key.sign(_CONTEXT + canonical(body)).hex()})


def read(content: bytes, public: ModelPublic, where: str) -> Index:
    """The index in a blob. Raises ModelAltered, naming `where`."""
    try:
        said = json.loads(content)
        signature = bytes.fromhex(said.pop("signature"))
        if not public.is_signed(signature, _CONTEXT + canonical(said)):
            raise ModelAltered(f"{where}: the index is not what this center's key for models signed; put a copy of it back")
        if (said["kind"], said["version"]) != (_KIND, _VERSION):
            raise ModelAltered(f"{where}: the index is of another version than {_VERSION}; use the fedmed that wrote it")
        return Index(said["number"], tuple(_entry(one) for one in said["entries"]), said["held"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelAltered(f"{where}: the index cannot be read ({type(error).__name__}); put a copy of it back") from error


def _entry(said: dict[str, Any]) -> Entry:
    files = {name: File(**file) for name, file in said["files"].items()}
    if tuple(sorted(files)) != tuple(sorted(FILES)):
        raise ValueError("other files than a model has")
    return Entry(**{**said, "files": files})
