"""What a service says while it runs: a line each, to standard error (journald) and to a file that rotates.

No patient's data: of a text that may name files the log has what stands for it (`wire.confided`); of what libraries log, the
place alone, since their texts quote what they read. Flower's name runs and nodes, and are kept.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path

from fedmed.clock import Clock
from fedmed.errors import ConfigError
from fedmed.wire.confided import for_log
from fedmed.wire.visible import visible
from fedmed.wire.words import count

MOST_TEXT = 2000
FILE_BYTES, FILES = 100 * 10**6, 3
AGAIN_S = 60.0
"""The same words are one line in this time: a disk that is full is found full every second."""
FLOWER = "flwr"
_SYSLOG = {"info": 6, "warning": 4, "error": 3}
"""As journald reads levels at a line's beginning (RFC 5424)."""


class ServiceLog(logging.Handler):
    """Safe from any thread."""

    def __init__(self, clock: Clock, file: RotatedFile | None, as_json: bool, environment: Mapping[str, str]) -> None:
        super().__init__(logging.WARNING)
        self._clock, self._file, self._as_json, self._turn = clock, file, as_json, threading.Lock()
        self._is_for_journald = bool(environment.get("JOURNAL_STREAM"))
        self._said: dict[str, tuple[float, int]] = {}

    def tell(self, text: str) -> None:
        """Say what the service has to say; what it says again within a minute becomes a number."""
        for line in self._new(for_log(text), self._clock.now()):
            self._put("info", line)

    def _new(self, text: str, now: float) -> list[str]:
        with self._turn:
            over = {each: times for each, (since, times) in self._said.items() if now - since >= AGAIN_S}
            for each in over:
                del self._said[each]
            is_new = text not in self._said
            since, times = self._said.get(text, (now, -1))
            self._said[text] = (since, times + 1)
        again = [f"{each} ({count(times, 'more time')})" for each, times in over.items() if times]
        return again + [text] * is_new

    def emit(self, record: logging.LogRecord) -> None:
        """A library's record; never its traceback, whose last line is a text of data as well."""
        level = "warning" if record.levelno < logging.ERROR else "error"
        place = f"{record.name}, {record.filename}:{record.lineno}"
        is_flower = record.name.partition(".")[0] == FLOWER
        self._put(level, f"{place}: {record.getMessage() if is_flower else 'logged something that is left out here'}")

    def _put(self, level: str, text: str) -> None:
        line = self._line(level, text)
        with self._turn:
            with suppress(OSError):  # nobody reads it any more
                sys.stderr.write(f"<{_SYSLOG[level]}>{line}\n" if self._is_for_journald else f"{line}\n")
                sys.stderr.flush()
            if self._file is None:
                return
            if lost := self._file.lost:
                gone = count(lost, "line before this one was", "lines before this one were")
                line = f"{self._line('warning', f'{gone} lost: the disk was full')}\n{line}"
            self._file.write(line)

    def _line(self, level: str, text: str) -> str:
        now = datetime.fromtimestamp(self._clock.unix(), timezone.utc).isoformat(timespec="seconds")
        shown = visible(text)
        shown = shown if len(shown) <= MOST_TEXT else f"{shown[: MOST_TEXT - 1]}…"
        if self._as_json:
            return json.dumps({"time": now, "level": level, "text": shown}, ensure_ascii=False)
        return f"{now} {shown}" if level == "info" else f"{now} {level}: {shown}"


class RotatedFile:
    """A file of at most `most` bytes, and `files - 1` older ones: NAME, NAME.1, NAME.2. Only their owner can read them.

    A disk that refuses loses lines of the log, and nothing else; `lost` counts them until one is written again.
    """

    def __init__(self, path: Path, most: int = FILE_BYTES, files: int = FILES) -> None:
        """Raises ConfigError where no file can be written there."""
        self._path, self._most, self._files, self.lost = path, most, files, 0
        try:
            os.close(self._opened())
        except OSError as error:
            raise ConfigError(
                f"log: {path} cannot be written ({error.strerror}); give this user the right to, name another place, or null"
            ) from error

    def write(self, line: str) -> None:
        """Write a line, in a new file where the old one is full."""
        data = f"{line}\n".encode("utf-8", "backslashreplace")
        try:
            self._make_room(len(data))
            with os.fdopen(self._opened(), "wb") as file:
                file.write(data)
            self.lost = 0
        except OSError:
            self.lost += 1

    def _opened(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def _make_room(self, size: int) -> None:
        if not self._path.exists() or self._path.stat().st_size + size <= self._most:
            return
        for number in range(self._files - 1, 0, -1):
            older = self._path if number == 1 else self._numbered(number - 1)
            if older.exists():
                older.replace(self._numbered(number))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


@contextmanager
def hearing(log: ServiceLog) -> Iterator[None]:
    """Have every library's records and warnings go into `log` and nowhere else; those of libraries imported so far."""
    known = [each for each in logging.root.manager.loggerDict.values() if isinstance(each, logging.Logger)]
    for library in known:
        library.handlers.clear()  # Flower colours its lines, and writes them itself
        library.propagate = True
    logging.root.addHandler(log)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        logging.root.removeHandler(log)
