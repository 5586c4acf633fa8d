"""Calling a ServerApp on a Grid of ours, as Flower's own runtimes do."""

from __future__ import annotations

import logging
from typing import Any

from flwr.app import Context, RecordDict
from flwr.serverapp import Grid, ServerApp

from fedmed.clock import Clock, SystemClock
from fedmed.flower.ours import OwnGrid


def clock_of(grid: Grid) -> Clock:
    """The time that a grid goes by: its own where it is one of ours, else the machine's."""
    return grid.clock if isinstance(grid, OwnGrid) else SystemClock()


def call(app: ServerApp, grid: Grid, run_config: dict[str, Any]) -> None:
    """Run a ServerApp to its end in this thread."""
    logging.getLogger("flwr").setLevel(logging.ERROR)  # our own journal tells what happens
    app(grid, Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config=run_config))
