"""A center's folder behind the real listener, and clinics' folders, for the tests of joining."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fedmed.center.enrolment import EnrolmentApp
from fedmed.center.folder import KEYS_FILE as CENTER_KEYS
from fedmed.center.folder import SERVER_FILE, CenterFolder, make_center
from fedmed.center.listening import Listener
from fedmed.center.tls import Tls
from fedmed.clinic.dialing import shaking
from fedmed.clinic.folder import CERTIFICATE_FILE, KEYS_FILE, ClinicFolder
from fedmed.clinic.joining import Joined, Waiting, join
from fedmed.clock import SystemClock
from fedmed.config.roles import Center
from fedmed.identity.enrolment import Admit
from fedmed.identity.joinfile import Join
from fedmed.identity.transport import TransportAuthority


class Brisk(SystemClock):
    """Right, but nobody who sleeps by it waits."""

    def __init__(self, ahead_s: float = 0.0) -> None:
        self.ahead_s = ahead_s
        self.slept: list[float] = []

    def unix(self) -> float:
        return super().unix() + self.ahead_s

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def tls(folder: CenterFolder) -> Tls:
    path = folder.path
    return Tls(path / SERVER_FILE, path / CENTER_KEYS, path / TransportAuthority.certificate_file)


@dataclass
class Federation:
    """One center, up."""

    folder: CenterFolder
    listener: Listener
    place: Path
    told: list[Waiting] = field(default_factory=list)

    def invite(self, name: str, days: int = 7) -> tuple[Join, bytes]:
        """A join file whose port is the listener's."""
        return self.folder.invite(name, days)

    def ask(self, content: bytes, at: str, clock: SystemClock | None = None, proxy: str | None = "none") -> Joined | None:
        """One try of a clinic, without waiting for the operator."""
        return join(content, self.place / at, proxy, clock or Brisk(), self.told.append, wait=False)

    def admit(self, name: str) -> None:
        """What `fedmed center admit` does once the words were found the same."""
        seat = self.folder.enrolments.roll().of(name)
        self.folder.enrolments.apply(Admit(name, seat.fingerprint), self.folder.sign)

    def joined(self, name: str) -> ClinicFolder:
        """A clinic that is a member."""
        content = self.invite(name)[1]
        assert self.ask(content, name) is None
        self.admit(name)
        found = self.ask(content, name)
        assert found is not None
        return found.folder

    def as_member(self, clinic: ClinicFolder) -> ssl.SSLContext:
        return shaking(clinic.authority(), clinic.path / CERTIFICATE_FILE, clinic.path / KEYS_FILE)


@contextmanager
def federation(place: Path, host: str = "127.0.0.1", clock: SystemClock | None = None) -> Iterator[Federation]:
    """A center on a free port of this machine, until the end of the block."""
    config = Center(federation="study", host=host, also=("127.0.0.1",), port=1)
    folder = make_center(place / "center", config, clock or Brisk())
    with Listener(EnrolmentApp(folder), tls(folder), "127.0.0.1", 0) as listener:
        served = CenterFolder(
            folder.path, config.model_copy(update={"port": listener.port}), folder.clock, folder.enrolments
        )
        yield Federation(served, listener, place)
