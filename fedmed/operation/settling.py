"""After a restore: no service starts before somebody has looked at what went back in time, and said so."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fedmed.errors import StoreError
from fedmed.identity import files
from fedmed.wire.canonical import canonical

MARK = "restored.json"
MAX_BYTES = 1 << 16


@dataclass(frozen=True)
class Restored:
    """What a folder was restored from."""

    role: str
    made_unix: float
    """When the backup was made."""
    unix: float
    """When it was restored."""
    look_at: Sequence[str]


def mark(folder: Path, said: Restored) -> None:
    """Remember that this folder was restored. Raises OSError."""
    files.replace(folder / MARK, canonical(asdict(said)) + b"\n")


def restored(folder: Path) -> Restored | None:
    """What a folder was restored from, and nobody settled yet. Raises StoreError for a file that cannot be read."""
    path = folder / MARK
    if not path.exists():
        return None
    try:
        return Restored(**json.loads(files.read(path, MAX_BYTES)))
    except (OSError, ValueError, TypeError) as error:
        raise StoreError(f"{path} cannot be read ({type(error).__name__}); restore again") from error


def refuse_unsettled(folder: Path) -> None:
    """Raises StoreError where the folder was restored and nobody has settled it."""
    if (found := restored(folder)) is not None:
        todo = "".join(f"\n  - {each}" for each in found.look_at)
        raise StoreError(
            f"{folder} was restored from a backup, and nothing is served before somebody has looked at:{todo}\n"
            f"then say: fedmed {found.role} settle --who NAME --at {folder}"
        )


def settle(folder: Path) -> None:
    """Somebody has looked. Raises OSError."""
    (folder / MARK).unlink(missing_ok=True)
    files.sync_folder(folder)
