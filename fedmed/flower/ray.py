"""Flower's own simulation runtime on Ray, the scale-out path: the same apps, over Flower's in-memory Grid."""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import Any

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from fedmed.errors import FederationError, MissingPart
from fedmed.flower import apps, identity
from fedmed.flower.apps import AppRef
from fedmed.flower.grids import OneRun
from fedmed.flower.guard import Call
from fedmed.flower.numbered import PARTITION, PLACE, NumberedGrid, place_of
from fedmed.flower.worker import guarded


class Stoppable(OneRun):
    """Passes everything on until it is stopped; then every call ends the ServerApp's thread."""

    def __init__(self, grid: Grid, stop: threading.Event, actors: int) -> None:
        self._grid, self._stop, self._actors = grid, stop, actors

    def queued(self, message_ids: Iterable[str]) -> frozenset[str]:
        """Those that may still wait for an actor: all where they are more than the actors, as Flower does not tell which.

        Those that hang end by their own deadline (`Punctual`), so each that waits behind them has its time.
        """
        ids = frozenset(message_ids)
        return ids if len(ids) > self._actors else frozenset()

    def _checked(self) -> Grid:
        if self._stop.is_set():
            raise FederationError("the run was stopped")
        return self._grid

    def get_node_ids(self) -> Iterable[int]:
        """All nodes."""
        return self._checked().get_node_ids()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages."""
        return self._checked().push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Answers that are there."""
        return self._checked().pull_messages(message_ids)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Send and wait."""
        return self._checked().send_and_receive(messages, timeout=timeout)

    def set_run(self, run: Any) -> None:
        """Set the run."""
        self._grid.set_run(run)

    @property
    def run(self) -> Any:
        """The run."""
        return self._grid.run


class Node(ClientApp):
    """What an actor calls for whichever node: it loads the app, behind its gate, once a process."""

    def __init__(self, ref: AppRef, seconds: float) -> None:
        super().__init__()
        self._ref, self._seconds = ref, seconds

    def __call__(self, message: Message, context: Context) -> Message:
        """The node's answer; what goes wrong is an error reply."""
        if message.metadata.message_type == PLACE:
            return place_of(message, int(str(context.node_config[PARTITION])))
        return _answering(self._ref, self._seconds)(message, context)


@lru_cache(maxsize=4)
def _answering(ref: AppRef, seconds: float) -> Call:
    return guarded(ref, partial(Punctual, seconds=seconds))


class Punctual:
    """An app whose calls end with TimeoutError after `seconds`: Flower's runtime waits for its actors for ever.

    It stands within the gate, which is never interrupted.
    """

    def __init__(self, app: ClientApp, seconds: float) -> None:
        self._app, self._seconds = app, seconds

    def __call__(self, message: Message, context: Context) -> Message:
        """The app's answer; an actor calls it in its main thread, which alone receives signals."""

        def ring(*_: object) -> None:
            raise TimeoutError(f"no answer by the deadline of {self._seconds:g} s")

        before = signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, self._seconds)
        try:
            return self._app(message=message, context=context)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


def run_on_ray(
    server: AppRef,
    client: AppRef,
    sites: int,
    run_config: dict[str, Any],
    workers: int,
    deadline_s: float,
    seen: Callable[[NumberedGrid], Grid] | None = None,
) -> None:
    """Run both apps with `sites` nodes on `workers` Ray actors, each call ended after `deadline_s` seconds.

    With `seen` the ServerApp is given what that makes of the grid, whose nodes are numbered by their partitions.
    Raises MissingPart where Ray is not installed.
    """
    if importlib.util.find_spec("ray") is None:
        raise MissingPart(
            "engine ray needs Ray, which is not installed; run: pip install 'fedmed[fl,ray]' "
            "(in a checkout: pip install -e '.[fl,ray]')"
        )
    from flwr.simulation.run_simulation import _run_simulation
    from flwr.supercore.telemetry import EventType

    server_app = apps.load(server)
    guarded(client)  # here, where a part that is missing ends the run
    stop, wrapped = threading.Event(), ServerApp()

    @wrapped.main()
    def main(grid: Grid, context: Context) -> None:
        stoppable = Stoppable(grid, stop, workers)
        server_app(stoppable if seen is None else seen(NumberedGrid(stoppable, sites)), context)

    identity.assume(identity.SERVER_NODE)
    _quieten()
    context = Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config=run_config)
    try:
        _run_simulation(
            num_supernodes=sites,
            exit_event=EventType.PYTHON_API_RUN_SIMULATION_LEAVE,
            client_app=Node(client, deadline_s),
            server_app=wrapped,
            server_app_context=context,
            backend_config={
                "init_args": {"num_cpus": workers, "log_to_driver": False, "logging_level": logging.ERROR},
                "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
            },
        )
    finally:
        stop.set()


def _quieten() -> None:
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    logging.getLogger("flwr").setLevel(logging.CRITICAL)  # our own journal tells what happens
