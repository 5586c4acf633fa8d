"""What all Grids of ours do alike of Flower's interface."""

from __future__ import annotations

from typing import Any

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid


class OneRun(Grid):
    """A grid of one run, which nobody sets; messages are made as Flower makes them."""

    def set_run(self, run: Any) -> None:
        """Nothing to set: one grid, one run."""

    @property
    def run(self) -> Any:
        """Nothing that an app may use."""
        return None

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """A message from the server (Flower's deprecated way to make one)."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)
