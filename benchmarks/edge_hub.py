"""The hub of a clinic's devices over the loopback: objects up beside one TLS socket with the same work, and heartbeats.

The hub is `fedmed clinic hub up` in a process of its own, with its files, receipts and syncs. The peer is a thread that
takes the same bytes over one TLS 1.3 connection, reckons their SHA-256, writes and syncs a file for each object: the least
that keeps what the hub promises.
"""

from __future__ import annotations

import hashlib
import os
import random
import socket
import ssl
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.form import Row, make_row, show  # noqa: E402
from fedmed.hub.client import HubClient  # noqa: E402
from fedmed.hub.greeting import dialing, listening  # noqa: E402
from fedmed.hub.messages import Piece  # noqa: E402
from fedmed.identity.files import sync_folder  # noqa: E402
from tests.hub.process import Service, service  # noqa: E402

KINDS = (("image of 16 KB", 16_000, 500), ("object of 0.5 MB", 500_000, 60), ("object of 64 MB", 64_000_000, 1))
ROUNDS = 5
DEVICES, BEATS = 50, 20
Objects = list[bytes]


def objects(size: int, count: int, seed: int) -> Objects:
    """So many of so many bytes, never the same twice."""
    chance = random.Random(seed)
    return [chance.randbytes(size) for _ in range(count)]


def through_hub(device: HubClient, held: Objects) -> float:
    """Seconds until the hub has acknowledged all."""
    by_digest = {hashlib.sha256(each).hexdigest(): each for each in held}
    pieces = [Piece(digest, "study", len(each)) for digest, each in by_digest.items()]
    began = time.perf_counter()
    done = device.upload(pieces, lambda piece: by_digest[piece.digest])
    took = time.perf_counter() - began
    assert all(each.error is None for each in done)
    return took


def through_socket(place: Service, held: Objects, folder: Path) -> float:
    """Seconds until the peer has acknowledged all."""
    context = listening(str(place.hub.path / "hub.crt"), str(place.hub.path / "hub.keys"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taking = threading.Thread(target=_take, args=(listener, context, len(held), folder))
        taking.start()
        with socket.create_connection(listener.getsockname()) as plain, dialing().wrap_socket(plain) as line:
            began = time.perf_counter()
            for each in held:
                line.sendall(len(each).to_bytes(8, "big") + each)
            assert line.recv(64)
            took = time.perf_counter() - began
        taking.join()
    assert sorted(path.name for path in folder.iterdir()) == sorted(hashlib.sha256(each).hexdigest() for each in held)
    return took


def _take(listener: socket.socket, context: ssl.SSLContext, count: int, folder: Path) -> None:
    plain, _ = listener.accept()
    with plain, context.wrap_socket(plain, server_side=True) as line, line.makefile("rb") as stream:
        for _ in range(count):
            content = stream.read(int.from_bytes(stream.read(8), "big"))
            with (folder / hashlib.sha256(content).hexdigest()).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        sync_folder(folder)
        line.sendall(b"done")


def upload_rows(place: Service, device: HubClient, path: Path) -> list[Row]:
    """Megabytes a second of each kind, the peer beside."""
    rows = []
    for name, size, count in KINDS:
        ours, peers = [], []
        for turn in range(ROUNDS):
            held = objects(size, count, turn * 1000 + size)
            folder = path / f"peer-{size}-{turn}"
            folder.mkdir()
            ours.append(through_hub(device, held))
            peers.append(through_socket(place, held, folder))
        total = size * count / 1e6
        for who, seconds in (("hub", ours), ("one TLS socket", peers)):
            rows.append(make_row(f"{name}, {who}: best", total / min(seconds), "MB/s"))
            rows.append(make_row(f"{name}, {who}: median", total / median(seconds), "MB/s"))
    return rows


def beat_rows(devices: list[HubClient]) -> list[Row]:
    """Heartbeats a second of many devices at once, each over a connection of its own."""
    facts = {"spool": {"study": 3, "bytes": 12345}, "gpu_c": 61.5, "memory": 0.4}

    def beat(device: HubClient) -> list[float]:
        times = []
        for _ in range(BEATS):
            began = time.perf_counter()
            device.beat("idle", facts)
            times.append(time.perf_counter() - began)
        return times

    with ThreadPoolExecutor(len(devices)) as pool:
        list(pool.map(lambda device: device.beat("idle", facts), devices))
        began = time.perf_counter()
        times = [each for one in pool.map(beat, devices) for each in one]
        took = time.perf_counter() - began
    times.sort()
    return [
        make_row(
            f"heartbeats of {len(devices)} devices at once", len(times) / took, "1/s", "> 2.5", len(times) / took > 2.5
        ),
        make_row("one of them: 99th of 100", times[int(len(times) * 0.99)] * 1e3, "ms"),
    ]


def measured() -> list[Row]:
    """All rows."""
    with tempfile.TemporaryDirectory(prefix="fedmed-hub-") as name:
        path = Path(name)
        with service(path) as place:
            folders = [place.joined(f"device-{number}", path / f"device-{number}") for number in range(DEVICES)]
            devices = [HubClient(each) for each in folders]
            try:
                return upload_rows(place, devices[0], path) + beat_rows(devices)
            finally:
                for each in devices:
                    each.close()


def main() -> None:
    """Print the report."""
    show("edge_hub", measured(), "--json" in sys.argv)


if __name__ == "__main__":
    main()
