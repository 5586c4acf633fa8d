"""Stock Flower as the peer of a benchmark: flower-superlink and flower-supernode processes as they come, without TLS."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

APP = Path(__file__).parent / "apps" / "stock"
START_S, ROUND_S, LOOK_S = 120.0, 180.0, 0.02


@dataclass
class Stock:
    """A federation that is up; its rounds begin when they are asked for."""

    folder: Path
    number: int = 0

    def round(self) -> float:
        """Seconds of one more round, as its ServerApp measures them."""
        self.number += 1
        (self.folder / f"go-{self.number}").touch()
        return float(_awaited(self.folder / f"done-{self.number}", ROUND_S).split()[0])

    def model(self) -> NDArray[np.float32]:
        """The model after the last round."""
        return np.load(self.folder / "model.npy")  # type: ignore[no-any-return]


@contextmanager
def stock(folder: Path, parameters: int, nodes: int) -> Iterator[Stock]:
    """Start them, and a run of the no-op app by `flwr run`."""
    folder.mkdir(parents=True)
    scripts = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = os.environ | {"FLWR_HOME": str(folder / "home"), "PATH": scripts, "FLWR_TELEMETRY_ENABLED": "0"}
    env |= {"FLWR_DISABLE_UPDATE_CHECK": "1"}
    port, *others = free_ports(1 + nodes)
    (folder / "home").mkdir()
    connection = f'[superlink]\ndefault = "bench"\n[superlink.bench]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
    (folder / "home" / "config.toml").write_text(connection)
    shutil.copytree(APP, folder / "app")
    with ExitStack() as stack:
        link = ["flower-superlink", "--insecure", "--host", "127.0.0.1", "--port", str(port)]
        stack.enter_context(_process([*link, "--disable-runtime-dependency-installation"], folder / "link.log", env))
        _until_listening(port)
        for number, own in enumerate(others):
            node = ["flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{port}", "--port", str(own)]
            command = [*node, "--node-config", f"partition-id={number}"]
            stack.enter_context(_process(command, folder / f"node-{number}.log", env))
        told = f'parameters={parameters} nodes={nodes} folder="{folder}"'
        run = ["flwr", "run", str(folder / "app"), "bench", "--run-config", told]
        subprocess.run(run, env=env, check=True, capture_output=True, timeout=START_S)
        _awaited(folder / "ready", START_S)
        yield Stock(folder)
        (folder / "end").touch()


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago."""
    with ExitStack() as stack:
        return [stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(count)]


@contextmanager
def _process(command: list[str], log: Path, env: dict[str, str]) -> Iterator[None]:
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
        )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _until_listening(port: int) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(LOOK_S)
    raise TimeoutError("flower-superlink does not listen")


def _awaited(file: Path, seconds: float) -> str:
    end = time.monotonic() + seconds
    while not file.exists():
        if time.monotonic() > end:
            raise TimeoutError(f"{file.name} did not come within {seconds:g} s; the logs are in {file.parent}")
        time.sleep(LOOK_S)
    return file.read_text()
