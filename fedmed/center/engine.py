"""The engine of the center's service: Flower's state, the fence around it, and the one port."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from fedmed.center.listening import Listener
from fedmed.center.tls import Tls
from fedmed.flower.fence import Admit, Fence
from fedmed.flower.resting import AtRest
from fedmed.flower.superlink import SuperLink
from fedmed.operation.accepting import Failed
from fedmed.wire.asgi import App


class Engine:
    """Runs from `with` to its end."""

    def __init__(
        self,
        database: Path | None,
        rest: AtRest,
        tls: Tls,
        host: str,
        port: int,
        admit: Admit,
        own: Mapping[str, App] | None = None,
        around: Callable[[App], App] = lambda app: app,
        failed: Failed = lambda address, error: None,
    ) -> None:
        """`database`: an SQLite file, or None for memory; `rest` seals the objects beside it. `admit`, `own` as `Fence`
        takes them; `around` goes round it; `failed` as `Listener` takes it.
        """
        self.link = SuperLink(database, rest)
        self.fence = Fence(self.link, admit, own)
        self.listener = Listener(around(self.fence), tls, host, port, failed=failed)

    def __enter__(self) -> Engine:
        self.listener.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.fence.close()
        self.listener.stop()
