"""A command on a terminal of its own, and somebody who reads and types there."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PATIENCE_S = 60
CTRL_C = "\x03"
_OWN_TERMINAL = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"


class Terminal:
    """What a person has before them."""

    def __init__(self, process: subprocess.Popen[bytes], line: int) -> None:
        self.process, self._line, self.seen = process, line, ""

    def types(self, text: object, end: str = "\n") -> None:
        """To be called once the question is on the screen: what is typed before a passphrase is asked for is thrown away."""
        os.write(self._line, f"{text}{end}".encode())

    def reads(self, text: str) -> str:
        """Waits until a text is on the screen; what stood there up to its end, which is not read again."""
        while text not in self.seen:
            if not self._more():
                raise AssertionError(f"the command ended without {text!r}; on the screen is:\n{self.seen}")
        before, _, self.seen = self.seen.partition(text)
        return before + text

    def ends(self) -> tuple[int, str]:
        """The exit code, and what was not read yet."""
        while self._more():
            pass
        return self.process.wait(PATIENCE_S), self.seen

    def _more(self) -> bool:
        ready, _, _ = select.select([self._line], [], [], PATIENCE_S)
        if not ready:
            raise AssertionError(f"the command waits; on the screen is:\n{self.seen}")
        try:
            got = os.read(self._line, 65536)
        except OSError:  # Linux: nobody holds the other end any more
            return False
        self.seen += got.decode().replace("\r\n", "\n")
        return bool(got)


@contextmanager
def terminal(command: Sequence[object], home: Path) -> Iterator[Terminal]:
    """Runs a command as the one in front of a terminal of 120 columns."""
    own, theirs = pty.openpty()
    environment = os.environ | {"HOME": str(home), "COLUMNS": "120", "TERM": "xterm"}
    process = subprocess.Popen(
        [sys.executable, "-c", _OWN_TERMINAL, *map(str, command)],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, env=environment,
    )  # fmt: skip
    os.close(theirs)
    try:
        yield Terminal(process, own)
    finally:
        process.kill()
        process.wait()
        os.close(own)
