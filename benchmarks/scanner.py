"""A scanner for measurements: drawn MR slices of 16 KB by C-STORE, each sent until it is acknowledged.

    python benchmarks/scanner.py PORT COUNT FILE      FILE holds how many are acknowledged, as text

Four associations at once, a study in one of them, its images in order. The number of an image is in its pixels, so that it
is known again when names and UIDs are gone.
"""

from __future__ import annotations

import os
import struct
import sys
import threading
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.dicom.senders import Wire, data_set_of, image, request, store

ASSOCIATIONS, STUDY = 4, 60
"""Images of a study."""
SIDE = 88
PIXELS = SIDE * SIDE * 2
AGAIN_S = 0.1
ROOT = "1.2.826.0.1.3680043.9.9"
INSTANCE, OF_STUDY, SERIES = f"{ROOT}.10000000", f"{ROOT}.20000000", f"{ROOT}.30000000"
AT = b"7001"
"""The number in the series as it stands in the template, where it is nowhere else; the first of each."""
MARK = struct.Struct("<HH")
"""Of a number: two pixels of twelve bits."""


@cache
def template() -> bytes:
    """A slice as a data set, the identifiers of number 0 in it."""
    uids = {"SOPInstanceUID": INSTANCE, "StudyInstanceUID": OF_STUDY, "SeriesInstanceUID": SERIES}
    return data_set_of(image(1, SIDE, InstanceNumber=int(AT), **uids))


def drawn(number: int) -> tuple[str, bytes]:
    """The instance UID and the data set of an image."""
    study, at = divmod(number, STUDY)
    found, instance = template(), _numbered(INSTANCE, number)
    head = found[:-PIXELS].replace(AT, b"%d" % (int(AT) + at))
    for old, new in ((INSTANCE, instance), (OF_STUDY, _numbered(OF_STUDY, study)), (SERIES, _numbered(SERIES, study))):
        head = head.replace(old.encode(), new.encode())
    return instance, head + MARK.pack(number & 0xFFF, number >> 12) + found[MARK.size - PIXELS :]


def number_of(content: bytes) -> int:
    """Of an image that came back, its pixels compared. Raises ValueError where they are not what was sent."""
    low, high = MARK.unpack_from(content, len(content) - PIXELS)
    if content[MARK.size - PIXELS :] != template()[MARK.size - PIXELS :]:
        raise ValueError(f"image {low + (high << 12)} has other pixels than were sent")
    return int(low + (high << 12))


def _numbered(uid: str, number: int) -> str:
    return f"{uid[:-7]}{number:07}"


class Scanner:
    """Sends so many images to one port of this host."""

    def __init__(self, port: int, count: int, told: Path) -> None:
        self._at, self._count, self._lock, self._acknowledged = SimpleNamespace(port=port), count, threading.Lock(), 0
        self._told = os.open(told, os.O_WRONLY | os.O_CREAT, 0o644)

    def send(self) -> None:
        """All of them."""
        lanes = [threading.Thread(target=self._lane, args=(first,)) for first in range(ASSOCIATIONS)]
        for lane in lanes:
            lane.start()
        for lane in lanes:
            lane.join()
        os.close(self._told)

    def _lane(self, first: int) -> None:
        numbers = (number for number in range(self._count) if number // STUDY % ASSOCIATIONS == first)
        wire: Wire | None = None
        for number in numbers:
            instance, data_set = drawn(number)
            while not self._is_acknowledged(wire := wire or self._associated(), instance, data_set):
                wire = None
                time.sleep(AGAIN_S)
            self._tell()
        if wire is not None:
            wire.socket.close()

    def _associated(self) -> Wire:
        while True:
            with suppress(OSError):
                wire = Wire(self._at)  # type: ignore[arg-type]
                with suppress(OSError):
                    wire.send(request())
                    if wire.hear()[0] == 2:
                        return wire
                wire.socket.close()
            time.sleep(AGAIN_S)

    def _is_acknowledged(self, wire: Wire, instance: str, data_set: bytes) -> bool:
        try:
            wire.send(store(instance, data_set))
            return wire.status() == 0
        except (OSError, AssertionError):  # the agent was killed
            wire.socket.close()
            return False

    def _tell(self) -> None:
        with self._lock:
            self._acknowledged += 1
            os.pwrite(self._told, b"%012d" % self._acknowledged, 0)


if __name__ == "__main__":
    Scanner(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])).send()
