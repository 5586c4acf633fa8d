"""Which packages an app runs with: every distribution of this Python, with the digest of its RECORD.

RECORD (packaging.python.org, "Recording installed projects") has a SHA-256 of each installed file, so that another wheel of
the same version is another digest. It says what was installed; files altered on the disk since are found by pip, not here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

import fedmed
from fedmed.wire.canonical import digest

OWN = "fedmed"


@dataclass(frozen=True)
class Lock:
    """The packages of one machine."""

    digest: str
    packages: dict[str, str]
    """Name -> version."""


@cache
def lock() -> Lock:
    """Those of this process, read once: what is imported already does not change under it."""
    found = {each.name.lower().replace("_", "-"): each for each in metadata.distributions()}
    rows = {name: [each.version, _record(name, each)] for name, each in sorted(found.items())}
    return Lock(digest(rows), {name: version for name, (version, _) in rows.items()})


def changes(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """`name: old -> new` of every package whose version differs."""
    names = sorted(name for name in {**before, **now} if before.get(name) != now.get(name))
    return [f"{name}: {before.get(name, 'absent')} -> {now.get(name, 'absent')}" for name in names]


def _record(name: str, distribution: metadata.Distribution) -> str:
    record = distribution.read_text("RECORD") or ""
    if name == OWN and f"{OWN}/__init__.py" not in record:  # a checkout: its RECORD names no file of the library
        return _tree(Path(fedmed.__file__).parent)
    return hashlib.sha256(record.encode()).hexdigest()


def _tree(folder: Path) -> str:
    made = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        made.update(f"{path.relative_to(folder)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return made.hexdigest()
