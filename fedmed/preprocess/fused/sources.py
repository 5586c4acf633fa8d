"""The digest of a back end's own source files: what a parity certificate was made for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path


def digest(names: Iterable[str]) -> str:
    """SHA-256 over files of this folder, names included."""
    total = hashlib.sha256()
    for name in names:
        total.update(name.encode() + b"\0" + (Path(__file__).parent / name).read_bytes())
    return total.hexdigest()
