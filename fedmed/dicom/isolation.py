"""Processes that inspect files in our stead: a codec that crashes or never ends costs one file and not the scan.

A child gets the place of a file as a line of JSON and answers with a line of JSON; nothing it says is unpickled, since
whoever wrote the file may have taken it over.
"""

from __future__ import annotations

import json
import os
import resource
import selectors
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field

from fedmed.clock import Clock, SystemClock
from fedmed.dicom.inspection import FileRecord, inspect_file
from fedmed.dicom.limits import Limits
from fedmed.dicom.reasons import Reason, Status
from fedmed.dicom.sources import Source, reopen

MAX_LINE = 64 * 1024
COMMAND = [sys.executable, "-c", "from fedmed.dicom.isolation import _child; _child()"]
SPARE_BYTES = 4 * 1024**3
"""Of address space for Python and the codecs, beside three times the largest image."""


def _child() -> None:
    """Answers until its input ends; the codecs' own output goes nowhere."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    limits = Limits(**json.loads(sys.argv[1]))
    most = SPARE_BYTES + 3 * limits.decoded_bytes
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        request = json.loads(line)
        record = inspect_file(reopen(tuple(request["place"]), request["name"], limits), limits)
        answers.write(json.dumps({**asdict(record), "path": ""}) + "\n")
        answers.flush()


@dataclass
class _Worker:
    """A child, and what it is at."""

    process: subprocess.Popen[bytes]
    number: int
    source: Source
    deadline: float
    answer: bytearray = field(default_factory=bytearray)

    def ask(self) -> None:
        """Hands it the file; a child that is dead already is found out when its answer is awaited."""
        request = json.dumps({"place": self.source.place, "name": self.source.name}) + "\n"
        try:
            os.write(_fileno(self.process.stdin), request.encode())
        except BrokenPipeError:
            self.process.wait()


class Crew:
    """Some processes that inspect files at the same time."""

    def __init__(self, workers: int, limits: Limits, seconds: float) -> None:
        self.limits, self.seconds = limits, seconds
        self.clock: Clock = SystemClock()
        self.idle: list[subprocess.Popen[bytes]] = []
        self.left = workers
        self.busy: dict[int, _Worker] = {}
        self.done: dict[int, FileRecord] = {}

    def records(self, sources: Iterable[Source]) -> Iterator[FileRecord]:
        """One record a source, in their order."""
        following = 0
        try:
            for number, source in enumerate(sources):
                if source.place is None:
                    self.done[number] = inspect_file(source, self.limits)
                else:
                    self._give(number, source)
                while following in self.done:
                    yield self.done.pop(following)
                    following += 1
            while self.busy:
                self._wait()
            while following in self.done:
                yield self.done.pop(following)
                following += 1
        finally:
            for process in (*self.idle, *(worker.process for worker in self.busy.values())):
                _end(process)

    def _give(self, number: int, source: Source) -> None:
        while not self.idle and self.left == 0:
            self._wait()
        if not self.idle:
            self.left -= 1
            self.idle.append(self._start())
        worker = _Worker(self.idle.pop(), number, source, self.clock.now() + self.seconds)
        worker.ask()
        self.busy[_fileno(worker.process.stdout)] = worker

    def _start(self) -> subprocess.Popen[bytes]:
        command = [*COMMAND, json.dumps(asdict(self.limits))]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def _wait(self) -> None:
        """Until a busy child answers, dies, or has taken too long."""
        with selectors.DefaultSelector() as selector:
            for number in self.busy:
                selector.register(number, selectors.EVENT_READ)
            soonest = min(worker.deadline for worker in self.busy.values())
            ready = selector.select(max(0.0, soonest - self.clock.now()))
        for key, _ in ready:
            self._hear(key.fd)
        for number, worker in list(self.busy.items()):
            if self.clock.now() > worker.deadline:
                self._replace(number, f"Decoding it takes longer than {self.seconds:g} seconds.")

    def _hear(self, number: int) -> None:
        worker = self.busy[number]
        part = os.read(number, MAX_LINE)
        worker.answer += part
        if not part or len(worker.answer) > MAX_LINE:
            self._replace(number, "The decoder crashed on it.")
        elif worker.answer.endswith(b"\n"):
            try:
                self.done[worker.number] = _record(worker.source.name, worker.answer)
            except (ValueError, KeyError, TypeError):
                self._replace(number, "The decoder's process did not answer as ours does.")
            else:
                self.idle.append(self.busy.pop(number).process)

    def _replace(self, number: int, detail: str) -> None:
        worker = self.busy.pop(number)
        _end(worker.process)
        self.left += 1
        self.done[worker.number] = FileRecord(worker.source.name, Status.QUARANTINED, Reason.DECODE_FAILED, detail)


def _record(name: str, answer: bytearray) -> FileRecord:
    said = json.loads(answer)
    shape = said["shape"]
    return FileRecord(
        name,
        Status(said["status"]),
        Reason(said["reason"]) if said["reason"] else None,
        str(said["detail"]),
        tuple(int(length) for length in shape) if shape else None,
        str(said["pixel_sha256"]),
    )


def _fileno(stream: object) -> int:
    number: int = stream.fileno()  # type: ignore[attr-defined]
    return number


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for stream in (process.stdin, process.stdout):
        if stream:
            stream.close()
    process.wait()
