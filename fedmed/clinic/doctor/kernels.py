"""Probes that run real kernels, each in a process of its own: a bad driver may hang or crash whoever asks it.

Run as a program, it says on its last line, in JSON, why a kernel cannot run: null once one ran and was found right.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

WHERE = {
    "gpu": "fedmed.preprocess.fused.cuda",
    "gpu masks": "fedmed.privacy.secagg.cuda",
    "vector AES": "fedmed.privacy.secagg.vaes",
}
"""Modules with a `why_not`."""
RUN_S = 60.0
CARDS = ("/dev/nvidia0", "/dev/nvhost-gpu", "/dev/nvgpu", "/dev/dxg")
"""Where a card shows itself: a PC's, two kinds of Jetson's, Windows' Linux."""


@dataclass(frozen=True)
class Ran:
    """What became of a kernel."""

    why_not: str | None
    crash: str = ""


def has_card() -> bool:
    """Whether the system shows an NVIDIA GPU, whatever its driver can."""
    return any(Path(each).exists() for each in CARDS)


def run(kernel: str, limit_s: float = RUN_S) -> Ran:
    """Run one of `WHERE`. Raises nothing."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "fedmed.clinic.doctor.kernels", kernel],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit_s,
        )
    except subprocess.TimeoutExpired:
        return Ran(None, f"no end after {limit_s:.0f} s")
    except OSError as error:
        return Ran(None, f"no process can be started ({error.strerror})")
    lines = done.stdout.strip().splitlines()
    try:
        why = json.loads(lines[-1]) if lines and done.returncode == 0 else False
    except ValueError:
        why = False
    if why is None or isinstance(why, str):
        return Ran(why)
    last = (done.stderr.strip().splitlines() or ["nothing said"])[-1][:200]
    how = f"signal {-done.returncode}" if done.returncode < 0 else f"code {done.returncode}"
    return Ran(None, f"the process that ran it ended with {how}: {last}")


def why_not(kernel: str) -> str | None:
    """Why it cannot run in this process."""
    try:
        found: str | None = importlib.import_module(WHERE[kernel]).why_not()
    except ImportError as error:
        return f"{error.name or error} is not installed"
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(why_not(sys.argv[1])) + "\n")
