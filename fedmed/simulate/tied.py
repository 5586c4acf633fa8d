"""Becomes a command that ends when whoever started it ends, however: `python -m fedmed.simulate.tied PID COMMAND...`.

Linux alone keeps the promise (prctl(2), PR_SET_PDEATHSIG, which execve(2) leaves as it is); elsewhere the command goes on.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress

from fedmed.confinement import syscalls


def main(owner: int, command: list[str]) -> None:
    """Does not come back."""
    with suppress(OSError, AttributeError):  # a system without it
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != owner:  # it ended before it could be promised
        sys.exit(1)
    os.execv(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
