"""An arm of `twin_peers.py` as its benchmark sees it: a tree of processes, told when to do a round, weighed and timed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import psutil

from benchmarks.twin_peers_task import Floats

ROOT = Path(__file__).resolve().parents[1]
START_S, ROUND_S, WEIGH_S, TAIL = 90.0, 120.0, 0.2, 2000


class Gone(Exception):
    """An arm that ended, with the last thing that it said."""


@dataclass(frozen=True)
class Kind:
    """An arm: what it is called, what it runs, in how many processes of torchrun."""

    name: str
    learner: str
    ranks: int = 1


@dataclass
class Arm:
    """A running arm."""

    kind: Kind
    process: subprocess.Popen[bytes]
    log: Path
    files: list[IO[str]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    pss: float = 0.0
    """Most that was seen, in 10**6 bytes."""
    weights: list[Floats] = field(default_factory=list)

    def tree(self) -> list[psutil.Process]:
        """The arm's processes."""
        with contextlib.suppress(psutil.NoSuchProcess):
            top = psutil.Process(self.process.pid)
            return [top, *top.children(recursive=True)]
        return []

    def spent(self) -> float:
        """CPU seconds of the tree, with those of its children that have ended."""
        total = 0.0
        for each in self.tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                total += sum(each.cpu_times()[:4])
        return total

    def weigh(self) -> None:
        """Proportional set sizes, summed over the tree."""
        total = 0
        for each in self.tree():
            with contextlib.suppress(psutil.Error):
                total += each.memory_full_info().pss
        self.pss = max(self.pss, total / 1e6)

    def asked(self, *lines: str) -> list[dict[str, Any]]:
        """Tell each rank its line; the answers. Raises Gone."""
        try:
            for file, line in zip(self.files, lines, strict=True):
                file.write(line + "\n")
                file.flush()
            return [json.loads(file.readline()) for file in self.files]
        except (OSError, ValueError) as error:
            raise Gone(last_words(self.log)) from error

    def round(self, is_timed: bool) -> None:
        """One; its memory is looked at while it is not timed, and after it. Raises Gone."""
        if is_timed:
            before = self.spent()
            told = self.asked(*["round"] * len(self.files))
            self.seconds.append(max(float(each["seconds"]) for each in told))
            self.cpu.append(self.spent() - before)
        else:
            with self.weighed():
                self.asked(*["round"] * len(self.files))
        self.weigh()

    @contextmanager
    def weighed(self) -> Iterator[None]:
        """Weighed now and then meanwhile."""
        over = threading.Event()

        def look() -> None:
            while not over.wait(WEIGH_S):
                self.weigh()

        watch = threading.Thread(target=look)
        watch.start()
        try:
            yield
        finally:
            over.set()
            watch.join()

    def keep(self, folder: Path) -> None:
        """Remember the weights as they are now."""
        paths = [folder / f"weights-{rank}.npy" for rank in range(len(self.files))]
        self.asked(*[f"weights {path}" for path in paths])
        self.weights.append(np.load(paths[0]))

    def end(self) -> None:
        """The arm with all its processes."""
        left = self.tree()
        for file in self.files:
            with contextlib.suppress(OSError):
                file.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(20.0)
        for each in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.send_signal(signal.SIGKILL)
        self.process.wait()


def last_words(log: Path) -> str:
    """The last line that says something."""
    lines = [line.strip() for line in log.read_text(errors="replace")[-TAIL:].splitlines() if "Error" in line]
    return lines[-1] if lines else f"ended; {log.name} says nothing of an error"


def started(kind: Kind, folder: Path, place: Path, rounds: int) -> Arm:
    """Start an arm on the task in `folder`; it has its cases and has loaded what it needs. Raises Gone."""
    path, log = place / f"{kind.name}.sock", place / f"{kind.name}.log"
    module = ["-m", "benchmarks.twin_peers_arm", kind.learner, str(folder), str(path), str(rounds)]
    several = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(kind.ranks)] if kind.ranks > 1 else []
    quiet = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = os.environ | quiet | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths, "FLWR_HOME": str(place / "flwr")}
    with socket.socket(socket.AF_UNIX) as listening, log.open("wb") as said:
        listening.bind(str(path))
        listening.listen()
        listening.settimeout(1.0)
        command = [sys.executable, *several, *module]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment, cwd=ROOT)
        arm = Arm(kind, process, log)
        waited = 0.0
        while len(arm.files) < kind.ranks:
            try:
                line, _ = listening.accept()
            except TimeoutError:
                waited += 1.0
                if process.poll() is None and waited < START_S:
                    continue
                arm.end()
                raise Gone(last_words(log)) from None
            line.settimeout(ROUND_S)
            arm.files.append(line.makefile("rw"))
            line.close()
    return arm
