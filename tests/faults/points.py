"""Named moments at which a process of the federation ends itself with SIGKILL, from outside of what it runs."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from typing import Any

MOMENT = "FEDMED_TEST_KILL"
"""`NAME` or `NAME:COUNT`; the process ends when it comes there for the COUNT-th time."""
_seen = Counter[str]()


def reach(name: str) -> None:
    """End here, if this is the moment."""
    wanted, _, count = os.environ.get(MOMENT, "").partition(":")
    _seen[name] += 1
    if name == wanted and _seen[name] == int(count or 1):
        os.kill(os.getpid(), signal.SIGKILL)


def around(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """The call, with a moment before it and one after it."""

    def reached(*given: Any, **named: Any) -> Any:
        reach(f"{name} before")
        found = call(*given, **named)
        reach(f"{name} after")
        return found

    return reached
