"""What a device asks of its hub beside the way for its studies: heartbeats, and the files of releases."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from fedmed.edge.machine import Event, Trained
from fedmed.hub.client import HubClient
from fedmed.releases.fetching import Fetcher

AUTHORITIES = ("federation", "clinic")


class HubLine:
    """Heartbeats; for one thread."""

    def __init__(self, client: HubClient) -> None:
        self._client = client

    def beat(self, facts: dict[str, Any]) -> tuple[Event, ...]:
        """Tell that this device lives. Raises FedmedError."""
        self._client.beat("up", facts)
        self._client.renew_if_due()
        return ()

    def train(self, task: str, halt: threading.Event) -> Trained:
        """No hub orders any training yet."""
        return Trained(is_over=True)


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
