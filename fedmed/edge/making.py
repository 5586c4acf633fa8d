"""Results as DICOM objects, made in a process of its own that ends when nothing is to be made.

highdicom with its tables weighs 85 MB, more than all else that an agent at rest holds, and making a report takes the
processor for longer than all else that it adds to an image. So it is done in a child, which gives way to the looking at
images, and is there while findings come. Finding and image go through a pipe, as they lie in the spool
(`fedmed.edge.findings`); what comes back is sent. A child that dies takes nothing with it: the finding is in the spool.

    agent   8 bytes, length; a finding and its image
    child   8 bytes, length; a head in JSON (why, error, sizes); the objects
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

from fedmed.edge.findings import unpacked
from fedmed.errors import DataError, MissingPart, StoreError

IDLE_S, LIMIT_S = 60.0, 120.0
"""After which a child with nothing to do ends, and one that works at a finding is ended."""
NICE = 5
MOST_BYTES = 1 << 31
_LENGTH = 8


class MakerEnded(StoreError):
    """The process that makes results ended with a finding."""


class MakerSlow(MakerEnded):
    """It was ended, since it took longer than `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"making a result for the PACS took more than {seconds:g} s, and was ended; it is tried again")
        self.seconds = seconds


@dataclass(frozen=True)
class Made:
    """What a finding became."""

    objects: tuple[bytes, ...]
    """PS3.10 files."""
    why: str = ""
    """What of it could not be told; empty where nothing is lost."""


class Maker:
    """For one thread."""

    def __init__(self, idle_s: float = IDLE_S, limit_s: float = LIMIT_S) -> None:
        self._idle_s, self._limit_s = idle_s, limit_s
        self._process: subprocess.Popen[bytes] | None = None

    def make(self, content: bytes, patience: int = 1) -> Made:
        """Objects of a finding and its images, as they were packed; `patience` times the limit may be taken for it.

        Raises DataError where no object can be about the images, MissingPart, MakerEnded where the process ended with it,
        MakerSlow where it was ended, StoreError where none can be started.
        """
        limit_s = self._limit_s * patience
        if (answer := self._asked(content, limit_s)) is None:  # it ended for having nothing to do: a new one is asked
            answer = self._asked(content, limit_s)
        if answer is None:
            raise MakerEnded("the process that makes results ended with this one; it is tried again")
        return _read(answer)

    def is_up(self) -> bool:
        """Whether there is a process; one that has ended is no more than that from now on. Safe from any thread."""
        process = self._process
        return process is not None and process.poll() is None

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            with suppress(BrokenPipeError), process:  # closes the pipes; what was left to write goes nowhere
                pass

    def _asked(self, content: bytes, limit_s: float) -> bytes | None:
        """The answer; None from a process that has ended."""
        if not self.is_up():
            self.close()
            command = [sys.executable, "-m", "fedmed.edge.making", str(self._idle_s)]
            try:
                self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            except OSError as error:
                raise StoreError(
                    f"the process that makes results cannot be started ({error.strerror}); end others, it is tried again"
                ) from error
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        is_late = threading.Event()

        def end() -> None:
            is_late.set()
            process.kill()

        timer = threading.Timer(limit_s, end)
        timer.start()
        try:
            process.stdin.write(len(content).to_bytes(_LENGTH, "big") + content)
            process.stdin.flush()
            answer = _part(process.stdout)
        except BrokenPipeError:
            answer = None
        finally:
            timer.cancel()
        if answer is None:
            self.close()
            if is_late.is_set():
                raise MakerSlow(limit_s)
        return answer


def _part(pipe: IO[bytes]) -> bytes | None:
    """One message; None at the end."""
    head = pipe.read(_LENGTH)
    size = int.from_bytes(head, "big")
    if len(head) < _LENGTH or size > MOST_BYTES:
        return None
    content = pipe.read(size)
    return content if len(content) == size else None


def _read(answer: bytes) -> Made:
    line, _, rest = answer.partition(b"\n")
    told: dict[str, Any] = json.loads(line)
    if told["error"]:
        raise MissingPart(told["error"]) if told["is_missing"] else DataError(told["error"])
    objects, at = [], 0
    for size in told["sizes"]:
        objects.append(rest[at : at + size])
        at += size
    return Made(tuple(objects), told["why"])


def _made(content: bytes) -> bytes:
    from fedmed.dicom.results.making import results_of

    told: dict[str, Any] = {"error": "", "is_missing": False, "sizes": [], "why": ""}
    objects: tuple[bytes, ...] = ()
    try:
        finding, sources = unpacked(content)
        made = results_of(sources, finding)
        objects, told["why"], told["sizes"] = made.objects, made.why, [len(each) for each in made.objects]
    except (DataError, MissingPart) as error:
        told["error"], told["is_missing"] = str(error), isinstance(error, MissingPart)
    return b"".join((json.dumps(told).encode(), b"\n", *objects))


def child(idle_s: float) -> None:
    """What the process does, until its pipe is closed or nothing came for `idle_s`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # they are the agent's to hear; it closes the pipe
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.nice(NICE)
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # what a library prints is no answer
        while select.select([0], [], [], idle_s)[0]:
            content = _part(sys.stdin.buffer)
            if content is None:
                return
            answer = _made(content)
            answers.write(len(answer).to_bytes(_LENGTH, "big") + answer)
            answers.flush()


if __name__ == "__main__":
    try:
        child(float(sys.argv[1]))
    except BrokenPipeError:
        sys.exit(1)
