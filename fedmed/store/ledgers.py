"""The ledgers of a clinic, or of several, found under a path and verified: statements and departures."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fedmed.errors import DataError
from fedmed.store import chain, departures, ledger
from fedmed.store.departures import SUFFIX, Departure
from fedmed.store.ledger import Entry

FOLDER = "ledgers"
"""Of a run's folder."""
_ALLOWED = f"give a clinic's ledger (.jsonl), a folder of them, or a run's folder that holds {FOLDER}/"


@dataclass(frozen=True)
class Checked:
    """One file, every line verified."""

    path: Path
    lines: int
    head: str
    """SHA-256 of the last line, as hex; 64 zeros where nothing is in it."""


@dataclass(frozen=True)
class Clinic:
    """All that the ledgers of one clinic hold."""

    name: str
    """Of its files, without their endings."""
    files: tuple[Checked, ...] = ()
    departures: tuple[Departure, ...] = field(default=())
    statements: tuple[Entry, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        """The whole, for programs."""
        return {
            "clinic": self.name,
            "files": [{"path": str(each.path), "lines": each.lines, "head": each.head} for each in self.files],
            "departures": [asdict(each) for each in self.departures],
            "statements": [asdict(each) for each in self.statements],
        }


def read(path: Path) -> list[Clinic]:
    """The clinics whose ledgers lie at `path`: one file, a folder of files, or a run's folder; by name.

    Raises DataError where there is none, StoreError naming the line where one is not what was written.
    """
    if path.is_dir():
        files = _files(path / FOLDER if (path / FOLDER).is_dir() else path)
    elif path.is_file():
        files = [path]
    else:
        raise DataError(f"{path} is not there; {_ALLOWED}")
    if not files:
        raise DataError(f"{path} holds no ledger; {_ALLOWED}")
    found: dict[str, Clinic] = {}
    for file in files:
        name = _name(file)
        found[name] = _with(found.get(name, Clinic(name)), file)
    return [found[name] for name in sorted(found)]


def _files(folder: Path) -> list[Path]:
    """A file that is gone while its head is there is one that was taken away; its verification says so."""
    names = {path.name for path in folder.glob("*.jsonl")}
    names |= {path.name.removesuffix(".head") for path in folder.glob("*.jsonl.head") if not path.name.startswith(".")}
    return [folder / name for name in sorted(names)]


def _name(file: Path) -> str:
    return file.name.removesuffix(SUFFIX).removesuffix(".jsonl")


def _with(clinic: Clinic, file: Path) -> Clinic:
    end = chain.end_of(file)  # first: whoever is writing meanwhile adds lines, and those are for the next look
    sent, told = clinic.departures, clinic.statements
    if _holds_departures(file):
        sent += tuple(departures.verify(file)[: end.lines])
    else:
        told += tuple(ledger.verify(file)[: end.lines])
    return Clinic(clinic.name, (*clinic.files, Checked(file, end.lines, end.last)), sent, told)


def _holds_departures(file: Path) -> bool:
    """By its name or, under any other name, by its first line."""
    if file.name.endswith(SUFFIX):
        return True
    try:
        with file.open("rb") as lines:
            return "vector_blake3" in json.loads(lines.readline(chain.MAX_BYTES))["body"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return False  # what is wrong with it is said by its verification
