"""What Flower calls sending and receiving, for the Grids of ours: push, then pull until all have answered."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from flwr.app import Message

from fedmed.clock import Clock


class Pulled(Protocol):
    """The part of a Grid that this needs."""

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send; returns the messages' ids."""

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Answers that are there, with arrays of their own."""

    def wait(self, timeout_s: float) -> None:
        """Block until there may be an answer."""

    def cancel(self, message_ids: Iterable[str]) -> None:
        """Give up on these."""


def send_and_receive(
    grid: Pulled, clock: Clock, messages: Iterable[Message], timeout_s: float | None, look_s: float
) -> list[Message]:
    """All answers, or those that come within `timeout_s` seconds; looks at least every `look_s` where there is no end."""
    pending = set(grid.push_messages(messages))
    replies: list[Message] = []
    end = None if timeout_s is None else clock.now() + timeout_s
    while pending and (end is None or clock.now() < end):
        found = list(grid.pull_messages(pending))
        replies.extend(found)
        pending -= {reply.metadata.reply_to_message_id for reply in found}
        if pending and not found:
            grid.wait(look_s if end is None else max(0.0, end - clock.now()))
    grid.cancel(pending)
    return replies
