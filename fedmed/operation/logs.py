"""What a service says while it runs: one line an event, to standard error (journald) or to a file that rotates.

No patient's data: an event has the audit log's kinds of action and its keys, texts are fitted, and of an error of data its
kind alone is told, since its text may name files. Levels are those of syslog, as journald reads them at a line's beginning.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from fedmed.clock import Clock
from fedmed.errors import DataError, StoreError
from fedmed.operation.metrics import kind_of
from fedmed.store.audit.event import DETAILS, KINDS, MOST_DETAIL, Detail, fitted

INFO, WARNING, ERROR = 6, 4, 3
"""Of syslog (RFC 5424)."""
_LEVELS = {INFO: "info", WARNING: "warning", ERROR: "error"}
MOST_TEXT = 1024
FILE_BYTES, FILES = 100 * 10**6, 3
Write = Callable[[int, str], None]
"""Takes a level and a line without its end."""


class Log:
    """Safe from any thread."""

    def __init__(self, clock: Clock, write: Write, as_json: bool = False) -> None:
        self._clock, self._write, self._as_json, self._lock = clock, write, as_json, threading.Lock()

    def say(self, action: str, text: str = "", level: int = INFO, **details: Detail) -> None:
        """Something happened: `action` as in the audit log, `text` of our own. Keys that the audit log lacks are left out.

        Raises StoreError for an action of no kind that the audit log knows.
        """
        if action.split(".", 1)[0] not in KINDS:
            raise StoreError(f"{action[:80]!r} is no action; it begins with one of: {', '.join(KINDS)}")
        told = {key: _fitted(value) for key, value in details.items() if key in DETAILS}
        self._put(level, action, fitted(text, MOST_TEXT), told)

    def failed(self, action: str, error: BaseException, level: int = ERROR, **details: Detail) -> None:
        """Something failed, and the service goes on."""
        text = "its text is left out, since it may name files" if _may_name_files(error) else str(error)
        self.say(action, f"{kind_of(error)}: {type(error).__name__}: {text}", level, **details)

    def _put(self, level: int, action: str, text: str, told: Mapping[str, Detail]) -> None:
        now = datetime.fromtimestamp(self._clock.unix(), timezone.utc).isoformat(timespec="milliseconds")
        if self._as_json:
            record: dict[str, Any] = {"time": now, "level": _LEVELS.get(level, str(level)), "action": action}
            line = json.dumps({**record, "text": text, **({"details": told} if told else {})}, ensure_ascii=False)
        else:
            pairs = "".join(f" {key}={json.dumps(value, ensure_ascii=False)}" for key, value in sorted(told.items()))
            line = f"{now} {_LEVELS.get(level, level)} {action}{pairs}{f': {text}' if text else ''}"
        with self._lock:
            self._write(level, line)


def standard_error(environment: Mapping[str, str]) -> Write:
    """To standard error, with journald's level before each line where it reads them ($JOURNAL_STREAM)."""
    for_journald = bool(environment.get("JOURNAL_STREAM"))

    def write(level: int, line: str) -> None:
        with suppress(OSError):  # nobody reads it any more
            sys.stderr.write(f"<{level}>{line}\n" if for_journald else f"{line}\n")
            sys.stderr.flush()

    return write


class RotatedFile:
    """A file of at most `most` bytes, and `files - 1` older ones: NAME, NAME.1, NAME.2. Only their owner can read them.

    A disk that refuses loses lines of the log, and nothing else: they are counted, and told once there is room.
    """

    def __init__(self, path: Path, most: int = FILE_BYTES, files: int = FILES) -> None:
        self._path, self._most, self._files, self._lost = path, most, files, 0

    def __call__(self, level: int, line: str) -> None:
        """Write a line, in a new file where the old one is full."""
        told = f"({self._lost} lines were lost, as the disk was full)\n" if self._lost else ""
        data = f"{told}{line}\n".encode("utf-8", "backslashreplace")
        try:
            self._make_room(len(data))
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            self._lost = 0
        except OSError:
            self._lost += 1

    def _make_room(self, size: int) -> None:
        if not self._path.exists() or self._path.stat().st_size + size <= self._most:
            return
        for number in range(self._files - 1, 0, -1):
            older = self._path if number == 1 else self._numbered(number - 1)
            if older.exists():
                older.replace(self._numbered(number))
        self._path.unlink(missing_ok=True)

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def _fitted(value: Detail) -> Detail:
    return fitted(value, MOST_DETAIL) if isinstance(value, str) else value


def _may_name_files(error: BaseException) -> bool:
    """Whether an error, or one that it came from, is of data."""
    while error is not None:
        if isinstance(error, (DataError, OSError, UnicodeError)):
            return True
        error = error.__cause__  # type: ignore[assignment]
    return False
