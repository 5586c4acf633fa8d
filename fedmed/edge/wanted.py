"""What a device asks of its hub beside the way for studies: heartbeats, its part in rounds, the files of releases."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fedmed.edge.machine import Event, Heard, Task, Trained
from fedmed.hub.client import HubClient
from fedmed.hub.fellows import FELLOWS
from fedmed.hub.looks import OFF
from fedmed.hub.messages import Owed
from fedmed.hub.rounds import ROUND
from fedmed.releases.fetching import Fetcher

if TYPE_CHECKING:
    from fedmed.hub.training import Trainee

AUTHORITIES = ("federation", "clinic")


class HubLine:
    """Heartbeats, and the rounds that they tell of; each for one thread."""

    def __init__(self, client: HubClient, trainee: Trainee | None) -> None:
        self._client, self._trainee, self._owed = client, trainee, tuple[Owed, ...]()
        self.elsewhere = OFF
        """What the hub said last of images that are looked at elsewhere (`fedmed.hub.looks`)."""

    def beat(self, facts: dict[str, Any]) -> tuple[Heard, tuple[Event, ...]]:
        """Tell that this device lives; a task where the hub asks for a part of a round. Raises FedmedError."""
        trainee = self._trainee
        orders = self._client.beat("up", facts if trainee is None else {**facts, **trainee.facts})
        self.elsewhere = orders.elsewhere
        self._client.renew_if_due()
        self._owed = tuple(each for each in orders.owed if each.kind in (ROUND, FELLOWS))
        return Heard(orders.beat_s), () if trainee is None else (Task(ROUND if self._owed else None),)

    def train(self, halt: threading.Event) -> Trained:
        """Answer what was asked last. Raises FedmedError; asked again, it goes on."""
        assert self._trainee is not None  # without it nothing is ever asked
        answered = 0 if halt.is_set() else self._trainee.look(self._owed)
        return Trained(is_over=True, follows=answered > 0)


class HubFetcher:
    """Files of one authority's releases, by way of the hub; see `fedmed.releases.fetching.Fetcher`."""

    def __init__(self, client: HubClient, authority: str) -> None:
        self._client, self._authority = client, authority

    def pieces(self, name: str, offset: int) -> Iterator[bytes] | None:
        """The bytes of a file from `offset` on; None where there is none. Raises Unreachable, also while it is read."""
        first = self._client.release(self._authority, name, offset)
        return None if first is None else self._rest(name, offset, first)

    def _rest(self, name: str, offset: int, piece: bytes) -> Iterator[bytes]:
        while piece:
            yield piece
            offset += len(piece)
            piece = self._client.release(self._authority, name, offset) or b""


def fetchers(client: HubClient) -> dict[str, Fetcher]:
    """Of both authorities."""
    return {name: HubFetcher(client, name) for name in AUTHORITIES}
