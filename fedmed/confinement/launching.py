"""Starting a process that goes into a cell, and what its owner holds of it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import fedmed
from fedmed.confinement.cell import Cell

END_S = 5.0
"""Seconds that a process has which says nothing any more, to end by itself."""
PASSED = (
    *("LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "FEDMED_BACKEND"),
    *("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "CUBLAS_WORKSPACE_CONFIG"),
)
"""What of the owner's environment the app's process has."""


@dataclass
class Confined:
    """A process in a cell, or on its way there."""

    process: subprocess.Popen[bytes]
    control: socket.socket
    """Packets to and from it; at its end once the process is."""

    def kill(self) -> None:
        """End it now, with all that is in the cell."""
        self.process.kill()

    def ended(self) -> str:
        """End it if it lives; returns how it ended."""
        self.control.close()
        if self.process.poll() is None:
            try:
                self.process.wait(END_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
        code = self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()
        signal = -code if code < 0 else code - 128
        return f"by signal {signal}" if signal > 0 else f"with exit code {code}"


def launch(cell: Cell, target: str, told: str) -> Confined:
    """A fresh Python that goes into the cell and calls `target` there: `module:function`, of this library.

    The function gets the process's socket, how it went (`Entered`), and `told`. The process's stdin is its owner's hold on
    it: when the owner is gone, it is. Raises ConfigError as `Cell.check`, OSError.
    """
    cell.check()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-s", "-B", "-m", "fedmed.confinement", str(theirs.fileno()), cell.said(), target, told]
    with theirs:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=_environment(),
            cwd="/",
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
    return Confined(process, ours)


def _environment() -> dict[str, str]:
    library = str(Path(fedmed.__file__).parents[1])
    kept = {name: os.environ[name] for name in PASSED if name in os.environ}
    own = {"PYTHONPATH": library, "PYTHONSAFEPATH": "1", "PATH": "/usr/bin", "HOME": "/tmp", "TMPDIR": "/tmp", "USER": "app"}
    return {**kept, **own}
