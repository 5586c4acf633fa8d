"""A device's spool in a process of its own, to be killed at any moment: it fills, makes steps and drains, and says how far.

    python -m benchmarks.spool_device FOLDER FIRST COUNT SIZE DOING...      DOING: fill=EACH, step, drain=PORT, plain=PORT

`fill` puts images FIRST to COUNT, EACH a commit and one a second of a clock that runs as fast as the disk allows, and writes
a line for each that was acknowledged. `step` turns each instance into a study, as de-identification does; `drain` sends the
studies (the instances, where no step is made) to a port of this machine, up to 256 of a group at once, and is done with them
when all are acknowledged. `plain` sends the same images from memory.
"""

from __future__ import annotations

import hashlib
import os
import queue
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fedmed.store.spool.entry import INSTANCE, STUDY, USUAL, Entry, New
from fedmed.store.spool.quota import Quota
from fedmed.store.spool.spool import Spool

START = 1_800_000_000.0
STUDY_IMAGES = 400
IDLE_S = 0.005
AHEAD = 2
"""Groups that are sent and not yet acknowledged."""
FRAME = struct.Struct(">QQ")  # number of the image, bytes that follow
QUOTA = Quota(bytes=64 * 10**9)
END_S = 300.0


class DrivenClock:
    """As many seconds past `START` as images came."""

    time = START

    def now(self) -> float:
        """Seconds."""
        return self.time

    def unix(self) -> float:
        """Seconds since 1970."""
        return self.time

    def sleep(self, seconds: float) -> None:
        """Nobody sleeps here."""
        self.time += seconds


def image(number: int, size: int) -> bytes:
    """The image of this number: like no other, and the same at each call."""
    seed = hashlib.sha256(number.to_bytes(8, "big")).digest()
    return (seed * (size // 32 + 1))[:size]


def fill(spool: Spool, clock: DrivenClock, numbers: range, size: int, each: int) -> None:
    """Put the images, and say so of each once it is on the disk."""
    for first in numbers[::each]:
        batch = range(first, min(first + each, numbers.stop))
        clock.time = START + first
        spool.put(*(New(INSTANCE, group_of(n), USUAL, {"number": n}, image(n, size)) for n in batch))
        os.write(1, b"".join(b"%d\n" % number for number in batch))


def group_of(number: int) -> str:
    """The study that an image belongs to."""
    return f"study {number // STUDY_IMAGES}"


def plain(numbers: range, size: int, port: int) -> None:
    """The images to the port, from memory: what the link carries."""
    with socket.create_connection(("127.0.0.1", port)) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in numbers:
            link.sendall(FRAME.pack(number, size))
            link.sendall(image(number, size))
        for _ in numbers:
            link.recv(1)


def step(spool: Spool, clock: DrivenClock, ended: threading.Event) -> None:
    """Each instance becomes a study, until there is none and none comes."""
    while True:
        over = ended.is_set()
        entry = spool.next([INSTANCE], clock.unix())
        if entry is not None:
            spool.turn(entry.number, New(STUDY, entry.group, entry.priority, entry.facts, b"study" + spool.content(entry)))
        elif over:
            return
        else:
            time.sleep(IDLE_S)


def drain(spool: Spool, clock: DrivenClock, kind: str, port: int, ended: threading.Event) -> None:
    """Entries of the kind to the port, until none is left and none comes; one group leaves while another is acknowledged."""
    under_way: queue.Queue[list[Entry]] = queue.Queue(AHEAD)
    with socket.create_connection(("127.0.0.1", port)) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        finishing = threading.Thread(target=finish, args=(spool, link, under_way))
        finishing.start()
        while True:
            over = ended.is_set() and not under_way.unfinished_tasks
            entries = spool.batch([kind], clock.unix())
            if entries:
                for entry in entries:
                    link.sendall(FRAME.pack(entry.facts["number"], entry.size))
                    link.sendall(spool.content(entry))
                under_way.put(entries)
            elif over:
                break
            else:
                time.sleep(IDLE_S)
        under_way.put([])
        finishing.join()


def finish(spool: Spool, link: socket.socket, under_way: queue.Queue[list[Entry]]) -> None:
    """Be done with what is acknowledged, all that was sent at once in one commit."""
    while entries := under_way.get():
        for _ in entries:
            if not link.recv(1):
                os._exit(1)  # the receiver went away
        spool.done(*(entry.number for entry in entries))
        under_way.task_done()


def main() -> None:
    """Do what the command line says, at once."""
    folder, first, count, size, *doing = sys.argv[1:]
    numbers, clock, filled, stepped = range(int(first), int(count)), DrivenClock(), threading.Event(), threading.Event()
    clock.time = START + numbers.stop
    words = {name: int(value or 1) for name, _, value in (word.partition("=") for word in doing)}
    if "plain" in words:
        plain(numbers, int(size), words["plain"])
        return
    with Spool(Path(folder), clock, QUOTA, lambda entry, reason: sys.exit(f"{entry.number} was dropped: {reason}")) as spool:
        threads = []
        if "step" in words:
            threads.append(threading.Thread(target=lambda: (step(spool, clock, filled), stepped.set())))
        if "drain" in words:
            kind, after = (STUDY, stepped) if "step" in words else (INSTANCE, filled)
            threads.append(threading.Thread(target=drain, args=(spool, clock, kind, words["drain"], after)))
        for thread in threads:
            thread.start()
        if "fill" in words:
            fill(spool, clock, numbers, int(size), words["fill"])
        filled.set()
        for thread in threads:
            thread.join()


def start(folder: Path, first: int, count: int, size: int, *doing: str) -> subprocess.Popen[bytes]:
    """The device as a child process."""
    words = [str(folder), str(first), str(count), str(size), *doing]
    root = Path(__file__).resolve().parents[1]
    command = [sys.executable, "-m", "benchmarks.spool_device", *words]
    return subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE)


def fill_with_kills(folder: Path, count: int, size: int, kills: int, rng: random.Random, *more: str, each: int = 1) -> int:
    """Images 0 to `count` are filled in by devices that are killed at random moments; how many died so.

    What was acknowledged is not sent again; what was not is, as a scanner does. `more` is done besides.
    """
    first, died = 0, 0
    for kill in range(kills + 1):
        goal = int(count * (kill + rng.uniform(0.5, 1.0)) / (kills + 1))
        device = start(folder, first, count, size, f"fill={each}", *more)
        timer = threading.Timer(END_S, device.kill)
        timer.start()
        assert device.stdout is not None
        for line in device.stdout:
            if not line.endswith(b"\n"):
                continue
            first = int(line) + 1
            if kill < kills and first >= goal and device.poll() is None:
                time.sleep(rng.uniform(0, 0.02))
                device.send_signal(signal.SIGKILL)
        device.stdout.close()
        ended = device.wait()
        timer.cancel()
        died += ended == -signal.SIGKILL
        if ended not in (0, -signal.SIGKILL) or (kill == kills and ended != 0):
            raise RuntimeError(f"the device ended with {ended}")
    return died


@dataclass
class Receiver:
    """A peer that reads at a given speed and keeps what it has not got yet, in the order in which it came."""

    size: int
    bytes_per_s: float | None = None
    prefix: bytes = b""
    """What a step puts before an image."""
    got: list[int] = field(default_factory=list)
    again: int = 0
    wrong: int = 0
    read: int = 0
    took_s: float = 0.0
    """From the first connection to the last byte."""

    def late(self) -> int:
        """Images that came after a later one of their study."""
        newest: dict[str, int] = {}
        found = 0
        for number in self.got:
            found += number < newest.get(group_of(number), -1)
            newest[group_of(number)] = max(number, newest.get(group_of(number), -1))
        return found

    def __enter__(self) -> Receiver:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
        self.port = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()

    def _serve(self) -> None:
        have: set[int] = set()
        while True:
            try:
                link, _ = self._listening.accept()
            except OSError:
                return
            with link:
                for number, content in self._frames(link):
                    self.again += number in have
                    self.wrong += content != self.prefix + image(number, self.size)
                    if number not in have:
                        have.add(number)
                        self.got.append(number)
                    try:
                        link.sendall(b"k")
                    except OSError:
                        break

    def _frames(self, link: socket.socket) -> Iterator[tuple[int, bytes]]:
        begun, read = time.perf_counter(), 0
        since = begun
        while True:
            parts = bytearray()
            need = FRAME.size
            while len(parts) < need:
                try:
                    piece = link.recv(min(need - len(parts), 1 << 16))
                except OSError:
                    return
                if not piece:
                    return
                parts += piece
                read += len(piece)
                if len(parts) >= FRAME.size:
                    need = FRAME.size + FRAME.unpack_from(parts)[1]
                if self.bytes_per_s is not None:
                    # A link that was idle does not make up for it: what it did not carry then is lost.
                    begun = max(begun, time.perf_counter() - read / self.bytes_per_s - 0.005)
                    time.sleep(max(0.0, begun + read / self.bytes_per_s - time.perf_counter()))
            self.read += len(parts)
            self.took_s += time.perf_counter() - since
            since = time.perf_counter()
            yield FRAME.unpack_from(parts)[0], bytes(parts[FRAME.size :])


if __name__ == "__main__":
    main()
