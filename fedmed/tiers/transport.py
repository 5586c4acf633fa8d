"""How a hub reaches its devices: bytes to a device by name, bytes back. The hub's own service implements it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from fedmed.clock import Clock


@dataclass(frozen=True)
class Answer:
    """What came back for a request."""

    device: str
    body: bytes | None
    """None where the device is lost."""
    reason: str = ""
    """Why it is lost."""


class Transport(Protocol):
    """The line to the devices. It is trusted with nothing: both ends judge what comes."""

    def devices(self) -> Sequence[str]:
        """Names of the devices that can be asked now."""

    def exchange(self, requests: Mapping[str, bytes], until: Callable[[], float]) -> Generator[Answer, None, None]:
        """Each answer as it comes, in any order, and each device that is lost meanwhile; ends when all are accounted for.

        It ends at `until`, on the hub's clock, whoever is missing then; that may come nearer meanwhile, so it is asked for
        again and again, each second at least. Whoever closes the iterator waits no longer. An
        answer that comes afterwards is dropped and its device named by `late`.
        """

    def late(self) -> Sequence[str]:
        """Devices whose answer came after its exchange was over, since this was asked last."""


class Bounded:
    """A line on which every exchange of a round ends when the round has to, however many of them it has."""

    def __init__(self, line: Transport) -> None:
        self._line, self._ends = line, _never

    def begin(self, ends: Callable[[], float]) -> None:
        """From now on exchanges end at `ends`, on the hub's clock; it is asked again and again."""
        self._ends = ends

    def devices(self) -> Sequence[str]:
        """Those that can be asked now."""
        return self._line.devices()

    def exchange(self, requests: Mapping[str, bytes], until: Callable[[], float]) -> Generator[Answer, None, None]:
        """As `Transport`."""
        return self._line.exchange(requests, lambda: min(until(), self._ends()))

    def late(self) -> Sequence[str]:
        """As `Transport`."""
        return self._line.late()


def _never() -> float:
    return float("inf")


class InMemory:
    """Devices in this process, asked one after the other."""

    def __init__(self, devices: Mapping[str, Callable[[bytes], bytes]], clock: Clock) -> None:
        """`devices`: what answers for each name; ConnectionError of it is a device that is lost, TimeoutError a late one."""
        self._devices, self._clock = dict(devices), clock
        self._late: list[str] = []

    def devices(self) -> Sequence[str]:
        """All of them."""
        return sorted(self._devices)

    def exchange(self, requests: Mapping[str, bytes], until: Callable[[], float]) -> Generator[Answer, None, None]:
        """The answers in the order of the requests."""
        for device, request in requests.items():
            if self._clock.now() >= until():
                return
            try:
                body = self._devices[device](request)
            except TimeoutError:
                self._late.append(device)
            except (ConnectionError, KeyError) as error:
                yield Answer(device, None, f"the device is gone ({type(error).__name__})")
            else:
                yield Answer(device, body)

    def late(self) -> Sequence[str]:
        """Those that were too late."""
        found, self._late = self._late, []
        return found
