"""Threads that do not end in silence, and trouble that is told once."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

from fedmed.errors import FedmedError


def watched(name: str, what: Callable[[], None], failed: Callable[[str, str], None]) -> threading.Thread:
    """A thread that does not end in silence: `failed` hears its name, and what ended it that nobody should raise."""

    def run() -> None:
        ended = False
        try:
            what()
            ended = True
        finally:
            if not ended:
                error = sys.exc_info()[1]
                failed(name, str(error) if isinstance(error, FedmedError) else type(error).__name__)

    return threading.Thread(target=run, name=name, daemon=True)


class Trouble:
    """What goes wrong again and again, told once; for one thread."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell, self.now = tell, ""

    def is_so(self, text: str) -> None:
        """Tell it, unless it was told last."""
        if text != self.now:
            self.now = text
            self._tell(text)

    def is_over(self) -> None:
        """The next is told again, be it the same."""
        self.now = ""
