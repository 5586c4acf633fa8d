"""What was set aside because it cannot be trusted, why, and what a person decided about it.

A folder of small JSON files, each written beside its place and renamed, so that a reader in another process sees all of it
or nothing. A record and a release are two files that are never changed in place: two processes cannot undo each other's.

    ID.json             what is set aside: a file or series, the reason, the digest of its bytes
    ID.MARK.release     a person's word that it may be used all the same; MARK binds it to that reason and that digest

A record holds no patient's name or number. It holds paths and UIDs, which are the hospital's own: it stays there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fedmed.clock import Clock
from fedmed.dicom.case import Case, Level
from fedmed.dicom.reasons import OVERRULABLE, SENTENCES, Reason
from fedmed.errors import ConfigError, StoreError
from fedmed.wire.canonical import canonical, digest

ID_LETTERS = 16
MOST_BYTES = 256 * 1024  # of one record; longer ones are not ours


@dataclass(frozen=True)
class Release:
    """A person's decision."""

    who: str
    why: str
    at: float
    """Seconds since 1970."""


@dataclass(frozen=True)
class Record:
    """A case in the quarantine."""

    case: Case
    since: float
    """Seconds since 1970."""
    release: Release | None = None

    @property
    def id(self) -> str:
        """Its name in the quarantine."""
        return name_of(self.case.level, self.case.subject)

    def as_json(self) -> dict[str, Any]:
        """For programs and for the terminal."""
        facts = asdict(self.case) | {"reason": self.case.reason.value, "sentence": SENTENCES[self.case.reason]}
        released = asdict(self.release) if self.release else None
        return {"id": self.id, **facts, "since": self.since, "release": released, "releasable": self.case.releasable}


def name_of(level: Level, subject: str) -> str:
    """The id of a record: the same at every scan."""
    return digest([level, subject])[:ID_LETTERS]


class Quarantine:
    """The quarantine of one folder; any number of processes may use it at once."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.folder, self._clock = folder, clock

    def set_aside(self, case: Case) -> Record:
        """Keep a record of the case, unless there is the same already. Raises StoreError where the disk refuses."""
        path = self._path(name_of(case.level, case.subject))
        try:
            known = self._read(path)
            if known.case == case:
                return known
        except (FileNotFoundError, StoreError):
            pass  # there is none, or a damaged one, which this one replaces
        self._write(path, {"case": asdict(case), "since": self._clock.unix()})
        return self._read(path)

    def allows(self, case: Case) -> bool:
        """Whether a person released this case, for this reason and with these very bytes."""
        return case.releasable and self._release_of(case) is not None

    def lift(self, level: Level, subject: str) -> None:
        """Forget the record of what is sound now; releases are kept."""
        self._path(name_of(level, subject)).unlink(missing_ok=True)

    def records(self) -> tuple[list[Record], list[str]]:
        """All cases, the oldest first, and what was wrong with the records that cannot be read."""
        found: list[Record] = []
        faults: list[str] = []
        for path in self._paths():
            try:
                found.append(self._read(path))
            except FileNotFoundError:  # lifted by another process meanwhile
                continue
            except StoreError as error:
                faults.append(str(error))
        return sorted(found, key=lambda record: (record.since, record.id)), faults

    def record(self, name: str) -> Record:
        """The case whose id is or begins with `name`. Raises ConfigError where that names none or several."""
        found = [path for path in self._paths() if path.stem.startswith(name)] if name else []
        if len(found) != 1:
            few = ", ".join(path.stem for path in found[:8]) or "no record"
            raise ConfigError(f"{name or 'an empty id'} fits {few}; give one id as `fedmed data quarantine list` shows it")
        try:
            return self._read(found[0])
        except FileNotFoundError as error:
            raise ConfigError(f"{name}: its record was lifted this moment; list again") from error

    def release(self, name: str, who: str, why: str) -> Record:
        """Let intake use it from now on, as long as its bytes stay as they are.

        Raises ConfigError where nobody is named, no ground is given, or the reason is none that a person can overrule.
        """
        record = self.record(name)
        if not who.strip() or not why.strip():
            raise ConfigError("a release names who decides and why; both are kept in the record")
        if not record.case.releasable:
            may = ", ".join(sorted(reason.value for reason in OVERRULABLE))
            raise ConfigError(
                f"{record.id} is set aside as {record.case.reason.value}, which no person can overrule (only: {may}); "
                "mend or export the files anew"
            )
        self._write(self._release_path(record.case), asdict(Release(who.strip(), why.strip(), self._clock.unix())))
        return self._read(self._path(record.id))

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _release_path(self, case: Case) -> Path:
        mark = digest([case.reason.value, case.sha256])[:ID_LETTERS]
        return self.folder / f"{name_of(case.level, case.subject)}.{mark}.release"

    def _paths(self) -> Iterable[Path]:
        return sorted(self.folder.glob("[0-9a-f]*.json"))

    def _read(self, path: Path) -> Record:
        body = _sealed(path)
        try:
            fields = dict(body["case"])
            case = Case(**fields | {"reason": Reason(fields["reason"])})
            since = float(body["since"])
        except (LookupError, TypeError, ValueError) as error:
            raise StoreError(f"{path}: is no record of the quarantine ({type(error).__name__}: {error})") from error
        record = Record(case, since, self._release_of(case))
        if path.stem != record.id:
            raise StoreError(f"{path}: is the record {record.id}, moved here")
        return record

    def _release_of(self, case: Case) -> Release | None:
        """None also where the release is damaged: what cannot be read sets nobody's data free."""
        try:
            return Release(**_sealed(self._release_path(case)))
        except (FileNotFoundError, StoreError, TypeError):
            return None

    def _write(self, path: Path, body: dict[str, Any]) -> None:
        """All of it or nothing, on the disk before this returns."""
        temporary = self.folder / f".{path.name}.{os.getpid()}.{id(body):x}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                file.write(canonical({"body": body, "sha256": digest(body)}))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            raise StoreError(
                f"{path}: cannot be written ({error.strerror or error}); make room or name another folder"
            ) from error
        finally:
            temporary.unlink(missing_ok=True)


def _sealed(path: Path) -> dict[str, Any]:
    """The body of a file whose seal is whole. Raises FileNotFoundError, or StoreError for anything else that is wrong."""
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise StoreError(f"{path}: is longer than {MOST_BYTES} bytes, so it is no record of the quarantine")
        sealed = json.loads(text)
        body, seal = dict(sealed["body"]), sealed["sha256"]
    except FileNotFoundError:
        raise
    except (OSError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise StoreError(f"{path}: cannot be read ({type(error).__name__}: {error})") from error
    if seal != digest(body):
        raise StoreError(f"{path}: does not have the digest it was written with")
    return body
