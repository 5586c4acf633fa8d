"""Many nodes that cost little: one process reads the code and forks each of them, on being told `start N` or `kill N`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import fedmed.clinic.engine
import fedmed.simulate.members  # noqa: F401  (what a node would read anew)
from tests.flower.real import serve


def main() -> None:
    """Until the input ends; then all are killed."""
    configs, running = [Path(each) for each in sys.argv[1:]], dict[int, int]()
    for line in sys.stdin:
        what, number = line.split()[0], int(line.split()[1])
        if what == "start":
            running[number] = _forked(configs[number])
        elif number in running:
            _kill(running.pop(number))
    for process in running.values():
        _kill(process)


def _forked(config: Path) -> int:
    process = os.fork()
    if process == 0:
        try:
            serve(config)
        finally:
            os._exit(1)
    return process


def _kill(process: int) -> None:
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)


if __name__ == "__main__":
    main()
