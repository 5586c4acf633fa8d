"""What commands and the agent of one folder have in common: files by which one tells the other."""

from __future__ import annotations

import json
from pathlib import Path

from fedmed.errors import StoreError
from fedmed.identity import files
from fedmed.wire.canonical import canonical

PAUSED, RESULTS, SEEN_TO = "paused", "results", "seen-to.json"
"""A file that is there while staff wants no image to be looked at; the folder of results; what staff says it has seen to."""
_MOST = 4096
_ASKED, _ANSWERED = "device", "answer"


def results_of(folder: Path) -> list[Path]:
    """Results as JSON, the oldest first."""
    return sorted((folder / RESULTS).glob("*/*.json"), key=lambda path: (path.parent.name, path.stat().st_mtime_ns))


def say_seen_to(folder: Path, device: str) -> None:
    """Have the agent hear that staff has seen to a device of this machine. Raises StoreError."""
    _write(folder / SEEN_TO, {_ASKED: device[:64]})


def asked_of(folder: Path) -> str | None:
    """The device that staff says it has seen to, as long as nobody answered."""
    said = _read(folder / SEEN_TO)
    return said.get(_ASKED) if _ANSWERED not in said else None


def answer(folder: Path, device: str, words: str) -> None:
    """Answer staff. Raises StoreError."""
    _write(folder / SEEN_TO, {_ASKED: device, _ANSWERED: words})


def answered(folder: Path) -> str | None:
    """The answer, once; None as long as there is none."""
    found = _read(folder / SEEN_TO).get(_ANSWERED)
    if found is not None:
        (folder / SEEN_TO).unlink(missing_ok=True)
    return found


def _read(path: Path) -> dict[str, str]:
    """Nothing where there is no file, and for one that neither the agent nor a command wrote."""
    try:
        said = json.loads(files.read(path, _MOST))
        return {key: str(said[key]) for key in (_ASKED, _ANSWERED) if key in said}
    except (OSError, ValueError, TypeError, RecursionError, StoreError):
        return {}


def _write(path: Path, said: dict[str, str]) -> None:
    try:
        files.replace(path, canonical(said))
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error.strerror}); make room, then try again") from error
