"""What a site keeps between rounds in Flower's own state of an app, which a clinic's daemon seals and brings back."""

from __future__ import annotations

from flwr.app import ArrayRecord, Context

from fedmed.flower import arrays
from fedmed.wire.tensors import Tensors

RECORD = "fedmed.kept"


class ContextShelf:
    """A record of the app's state."""

    def __init__(self, context: Context) -> None:
        self._state = context.state

    def held(self) -> Tensors:
        """All that is kept; empty where nothing is."""
        record = self._state.get(RECORD)
        return arrays.views(record) if isinstance(record, ArrayRecord) else {}

    def keep(self, tensors: Tensors) -> None:
        """Keep this instead."""
        self._state[RECORD] = arrays.own(tensors)
