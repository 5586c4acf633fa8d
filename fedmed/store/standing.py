"""What a service says of itself in one small file, for whoever asks on the same machine; and that there is one service."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fedmed.errors import ConfigError, StoreError
from fedmed.identity import files
from fedmed.store.locks import is_held
from fedmed.wire.canonical import canonical

STATUS, LOCK = "status.json", ".service.lock"
MAX_BYTES = 4 << 20


@contextmanager
def serving(folder: Path, what: str) -> Iterator[None]:
    """Be the one service of a folder. Raises ConfigError where another process is."""
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if is_held(handle):
            raise ConfigError(f"{folder}: {what} is up already, with this folder; stop that one first, or see its status")
        yield
    finally:
        os.close(handle)


def is_serving(folder: Path) -> bool:
    """Whether a service of this folder is up."""
    try:
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return is_held(handle)
    finally:
        os.close(handle)


def write_status(folder: Path, facts: Mapping[str, Any]) -> None:
    """Put `facts` (JSON) in place of those before. Raises StoreError."""
    try:
        files.replace(folder / STATUS, canonical(dict(facts)) + b"\n")
    except OSError as error:
        raise StoreError(f"{folder / STATUS} cannot be written ({error.strerror}); make room") from error


def read_status(folder: Path) -> dict[str, Any]:
    """What the service said last; nothing where it never did. Raises StoreError for a file that is no status."""
    path = folder / STATUS
    if not path.exists():
        return {}
    try:
        found = json.loads(files.read(path, MAX_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{path} cannot be read ({error}); the service writes it anew when it is up") from error
    return found if isinstance(found, dict) else {}
