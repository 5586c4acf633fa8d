"""Real storage servers: a program that is started, is waited for and ends with its test; DCMTK's storescp."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.dicom.senders import program


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes], seconds: float = 60.0) -> None:
    """Until `port` takes connections."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert process.poll() is None, "the server ended"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"nothing listens at port {port}")


@contextmanager
def running(command: list[Any], port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as stream:
        process = subprocess.Popen([str(part) for part in command], stdout=stream, stderr=stream)
        try:
            wait_for(port, process)
            yield process
        finally:
            process.kill()
            process.wait()


@contextmanager
def storescp(folder: Path, *options: str, title: str = "STORE") -> Iterator[int]:
    """The port of a storescp that writes into `folder`."""
    folder.mkdir(exist_ok=True)
    port = free_port()
    command = [program("storescp"), "-aet", title, "-od", folder, *options, port]
    with running(command, port, folder.parent / f"{folder.name}.log"):
        yield port
