"""Devices as processes that train on real cases, and a line to them: what benchmarks of tiers share.

Each process has its own keys and its own keystore on the disk, and may be killed at any moment; it goes on from there.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from fedmed.clock import SystemClock
from fedmed.identity.member import ROUNDING, MemberKeys
from fedmed.outbound.outbox import Outbox
from fedmed.privacy.secagg.member import Member
from fedmed.privacy.secagg.parameters import Policy
from fedmed.privacy.secagg.schedule import rounding_seed
from fedmed.sites.cases import Site
from fedmed.store.keystore import FileKeystore
from fedmed.tiers.messages import Failed, Plain, Task
from fedmed.tiers.taking_part import Own, TakingPart
from fedmed.tiers.transport import Answer

LEAST_BOUND = 64.0
FLAT = b"flat"
"""Before a task that is answered as a flat site answers, without masks: the benchmark's other arm."""
START = get_context("forkserver")
START.set_forkserver_preload(["edge_devices", "fedmed.learning.clinic", "torch._dynamo"])


@dataclass(frozen=True)
class Box:
    """A device, as its process is started."""

    name: str
    clinic: str
    site: Site
    """Its own cases."""
    keys: MemberKeys = field(repr=False)
    pins: Mapping[bytes, bytes] = field(repr=False)
    scope: str
    folder: Path
    is_masked: bool = True


def serve(box_bytes: tuple[Any, ...], line: Connection) -> None:
    """A device's process: requests in, answers out, until the line is closed."""
    import torch

    from fedmed.learning.clinic import Clinic
    from fedmed.learning.order import parse

    torch.set_num_threads(1)
    name, clinic, site, entropy, pins, scope, folder = box_bytes
    keys, clock, trainer = MemberKeys.generate(entropy), SystemClock(), Clinic(site)
    keystore = FileKeystore(folder / clinic / name, entropy[:32], clock)
    outbox = Outbox(Member(keys, Policy(scope, pins), secrets.token_bytes), keystore, threads=1)
    secret = keys.secret_for(ROUNDING)
    own = Own(lambda: len(pins), len(site.train), LEAST_BOUND)

    def train(order: str, model: Any) -> Any:
        return trainer.train(parse(order), model)

    part = TakingPart(outbox, train, own, lambda what: rounding_seed(secret, what), lambda text: None)
    line.send_bytes(b"\0" * 8)  # it is up
    with contextlib.suppress(EOFError, OSError):
        while True:
            said = line.recv_bytes()
            serial, request = said[:8], said[8:]
            line.send_bytes(
                serial + (_flat(train, request[len(FLAT) :]) if request.startswith(FLAT) else part.answer(request))
            )


def _flat(train: Any, request: bytes) -> bytes:
    task = Task.decode(request)
    made, values = train(task.order, task.model)
    change = {name: made[name] - value for name, value in task.model.items() if value.dtype.kind == "f"}
    return Plain(values["num-examples"], {"loss": values["loss"]}, change).encode()


@dataclass
class Running:
    """A device's process and the line to it."""

    box: Box
    entropy: bytes
    process: Any = None
    line: Connection | None = None

    def start(self) -> None:
        """Begin it anew, with what its disk holds; back once it answers."""
        self.begin()
        self.up()

    def begin(self) -> None:
        """Begin it, with what its disk holds."""
        box = self.box
        here, there = START.Pipe()
        facts = (box.name, box.clinic, box.site, self.entropy, dict(box.pins), box.scope, box.folder)
        self.process = START.Process(target=serve, args=(facts, there), daemon=True)
        self.process.start()
        there.close()
        self.line = here

    def up(self) -> None:
        """Wait until it answers."""
        assert self.line is not None
        self.line.recv_bytes()

    def kill(self) -> None:
        """As a power cut would."""
        self.process.kill()

    @property
    def is_up(self) -> bool:
        """Whether it still runs."""
        return self.process is not None and self.process.is_alive()


class Pipes:
    """A hub's transport to processes on this machine."""

    def __init__(self, running: Mapping[str, Running]) -> None:
        self.running = dict(running)
        self._serial, self._late, self.sent = 0, list[str](), 0
        self._lock = threading.Lock()

    def devices(self) -> Sequence[str]:
        """Those that run."""
        return [name for name, each in self.running.items() if each.is_up]

    def exchange(self, requests: Mapping[str, bytes], until: Callable[[], float]) -> Generator[Answer, None, None]:
        """The answers as they come."""
        self._serial += 1
        serial, open_ = self._serial.to_bytes(8, "big"), dict[Any, str]()
        for name, request in requests.items():
            line = self.running[name].line
            try:
                assert line is not None
                threading.Thread(target=_send, args=(line, serial + request), daemon=True).start()
                open_[line] = name
            except OSError:
                yield Answer(name, None, "its process ended")
        while open_ and (left := until() - time.monotonic()) > 0:
            for line in wait(list(open_), min(left, 0.2)):
                name = open_[line]
                try:
                    said = line.recv_bytes()
                except (EOFError, OSError):
                    del open_[line]
                    yield Answer(name, None, "its process ended")
                    continue
                if said[:8] != serial:
                    self._late.append(name)
                    continue
                del open_[line]
                yield Answer(name, said[8:])

    def late(self) -> Sequence[str]:
        """Those that answered what was over."""
        found, self._late = self._late, []
        return found


def _send(line: Connection, said: bytes) -> None:
    with contextlib.suppress(OSError):  # whoever waits for the answer sees that the line is closed
        line.send_bytes(said)


def reason(body: bytes) -> str:
    """Why a device failed."""
    return Failed.decode(body).reason
