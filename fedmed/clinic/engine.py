"""The engine of the clinic's daemon: its node, and what answers for each run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Event
from typing import Any

from fedmed.flower.fleet import Door, Fleet
from fedmed.flower.guard import Call
from fedmed.flower.node import Node
from fedmed.flower.resting import AtRest
from fedmed.flower.spool import Shelf, Spool


def run_node(
    door: Door,
    transport_public: bytes,
    spool: Path,
    rest: AtRest,
    calls: Mapping[str, Call],
    config: Mapping[str, Any],
    stop: Event,
    tell: Callable[[str], None],
    met: Callable[[str], None] = lambda version: None,
) -> None:
    """Answer the center until `stop` is set; one node a process, since Flower keeps a node's identity process-wide.

    `spool`: the folder of what waits, which `rest` seals. `calls`: what answers, by the name that a center's run goes by.
    `met` hears the center's version.
    Raises ConfigError for the door's files.
    """
    fleet = Fleet(door, transport_public, stop, tell, met)
    try:
        Node(fleet, Spool(spool, rest), Shelf(spool / "model", rest), calls, dict(config), stop, tell).serve()
    finally:
        fleet.close()
