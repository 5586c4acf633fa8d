"""A device in a process of its own: sends every file of a folder until the hub has all of them. Killed at any moment."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from fedmed.clock import SystemClock
from fedmed.errors import Unreachable
from fedmed.hub.client import HubClient
from fedmed.hub.joining import open_device
from tests.hub.clinic import piece_of


def main(device: Path, studies: Path) -> None:
    held = {piece_of(content).digest: content for path in sorted(studies.iterdir()) for content in [path.read_bytes()]}
    with HubClient(open_device(device, SystemClock())) as line:
        while True:
            try:
                done = line.upload([piece_of(each) for each in held.values()], lambda piece: held[piece.digest])
            except Unreachable:
                time.sleep(0.05)
                continue
            assert all(each.error is None for each in done)
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
