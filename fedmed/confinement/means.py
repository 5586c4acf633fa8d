"""What this machine can hold an app to: tried, not guessed."""

from __future__ import annotations

import json
import socket
from dataclasses import asdict
from typing import Any

from fedmed.confinement.cell import Cell, Lacks
from fedmed.confinement.entering import Entered
from fedmed.confinement.launching import launch
from fedmed.errors import MissingPart

TRY_S, MOST = 30.0, 65536


def lacking(cell: Cell) -> Lacks:
    """Goes into such a cell with a process that does nothing else; the means that it lacked, and why.

    Raises ConfigError as `Cell.check`, MissingPart where no such process can work here at all.
    """
    try:
        tried = launch(cell, f"{__name__}:tell", "")
    except OSError as error:
        raise MissingPart(f"no process can be started for an app ({error.strerror}); mend that first") from error
    tried.control.settimeout(TRY_S)
    try:
        said = tried.control.recv(MOST)
    except OSError:
        said = b""
    how = tried.ended()
    if not said:
        raise MissingPart(f"a process that goes into a cell ended {how} here; report it to fedmed's makers")
    entered: dict[str, Any] = json.loads(said)
    if entered["fault"]:
        raise MissingPart(f"an app cannot work here: {entered['fault']}")
    return dict(entered["lacks"])


def tell(control: socket.socket, entered: Entered, told: str) -> None:
    """In the cell: what came of it."""
    control.send(json.dumps(asdict(entered)).encode())
