"""The way of a round's messages between a hub and its devices, over what the hub has: files down, objects up.

    down/DEVICE/round/SERIAL     a request, until it is answered or over
    updates/DEVICE/DIGEST        an answer, as the hub's service kept it; its facts name the serial

A serial is 20 digits and only grows. It stands before each request and each answer, so that no two are the same bytes. This
end needs the folder and nothing of the service: whoever asks may be another process.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path

from fedmed.clock import Clock
from fedmed.errors import StoreError
from fedmed.tiers.transport import Answer

ROUND, UPDATES, DOWN = "round", "updates", "down"
SERIAL_BYTES = 20
POLL_S = 0.05
MOST_FACTS = 1 << 20
WHOLE = "[0-9a-f]*.json"
"""Names of what is known of an answer; while it is written its name has a point before it."""


class FolderTransport:
    """`fedmed.tiers.transport.Transport` over a hub's folder; for one thread."""

    def __init__(self, folder: Path, alive: Callable[[], Sequence[str]], clock: Clock) -> None:
        """`alive`: the devices that the hub hears."""
        self._folder, self._alive, self._clock = folder, alive, clock
        self._last, self._late = 0, list[str]()

    def devices(self) -> Sequence[str]:
        """Those that the hub hears."""
        return self._alive()

    def late(self) -> Sequence[str]:
        """Devices whose answer came when nobody waited for it any more."""
        found, self._late = self._late, []
        return found

    def exchange(self, requests: Mapping[str, bytes], until: Callable[[], float]) -> Generator[Answer, None, None]:
        """As `Transport`. Raises StoreError where the folder cannot be written."""
        self._last = max(self._last + 1, int(self._clock.unix() * 1000))
        serial, waiting = f"{self._last:0{SERIAL_BYTES}d}", set(requests)
        try:
            for device, request in requests.items():
                self._put(device, serial, request)
            while waiting and self._clock.now() < until():
                before = len(waiting)
                for answer in [*self._came(waiting, serial), *self._gone(waiting)]:
                    if answer.device in waiting:
                        waiting.discard(answer.device)
                        self._take_away(answer.device)
                        yield answer
                if len(waiting) == before:
                    self._clock.sleep(POLL_S)
        finally:
            for device in requests:
                self._take_away(device)

    def _put(self, device: str, serial: str, request: bytes) -> None:
        place = self._folder / DOWN / device / ROUND / serial
        self._take_away(device)  # what a process that was ended had asked
        try:
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            beside = place.with_name(f".{serial}")
            beside.write_bytes(serial.encode() + request)
            beside.replace(place)
        except OSError as error:
            raise StoreError(f"{place} cannot be written ({error.strerror}); make room or mend the disk") from error

    def _take_away(self, device: str) -> None:
        for path in (self._folder / DOWN / device / ROUND).glob("*"):
            path.unlink(missing_ok=True)

    def _came(self, waiting: set[str], serial: str) -> Iterator[Answer]:
        for device in sorted(waiting):
            for path in sorted((self._folder / UPDATES / device).glob(WHOLE)):
                if (of := _serial_in(path)) is None:
                    continue
                answer = _content(path.with_suffix(""), of)
                if of == serial and answer is not None:
                    yield Answer(device, answer)
                elif of < serial:
                    self._late.append(device)

    def _gone(self, waiting: set[str]) -> list[Answer]:
        alive = set(self._alive())
        return [
            Answer(device, None, "the hub does not hear it any more, or it takes no work")
            for device in sorted(waiting - alive)
        ]


def _serial_in(path: Path) -> str | None:
    """The round that an object answers; None where it is none, or not there whole yet."""
    try:
        text = path.read_bytes()[:MOST_FACTS]
        serial = json.loads(text)["facts"][ROUND] if path.with_suffix("").exists() else None
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    return serial if isinstance(serial, str) and len(serial) == SERIAL_BYTES and serial.isdigit() else None


def _content(path: Path, serial: str) -> bytes | None:
    """The answer, which is taken away; None where it begins with another serial than its facts say."""
    try:
        content = path.read_bytes()
        path.with_suffix(".json").unlink(missing_ok=True)
        path.unlink(missing_ok=True)
    except OSError:
        return None
    return content[SERIAL_BYTES:] if content[:SERIAL_BYTES] == serial.encode() else None
