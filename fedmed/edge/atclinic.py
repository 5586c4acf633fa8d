"""The clinic's own machine as a place where devices' images are looked at, where hub.yaml says `places: clinic`.

It opens the release that devices run, by the devices' own way: both signatures, slots, the golden inputs in a process of
their own. There is no trial here, for a trial is of a device's own images; what a trial finds ends the release for this
machine too, once federation or clinic roll it back.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from fedmed.config.edge import Inference
from fedmed.edge.helping import Helping
from fedmed.edge.ladder.rungs import Reference
from fedmed.edge.released import Released
from fedmed.errors import FedmedError, Unreachable
from fedmed.hub.borrowing import Order
from fedmed.hub.calls import RELEASES
from fedmed.hub.lending import Lending
from fedmed.hub.looks import NOW
from fedmed.hub.serving import Hub
from fedmed.hub.told import Told
from fedmed.operation.watching import watched
from fedmed.placement.events import Claim
from fedmed.placement.tasks import Precision
from fedmed.releases.fetching import Fetcher, FolderFetcher
from fedmed.releases.slots import Limits, Tell

OWN = "own"
"""Folder below the hub's: slots, and what is trusted."""
RELEASES_S = 10.0
AT_ONCE = Limits(window_s=0.0, least_results=0)


class OwnLine:
    """`fedmed.edge.helping.Works` without a line: the hub is here."""

    def __init__(self, lending: Lending, node: str) -> None:
        self._lending, self._node = lending, node

    def work(self, runs: Sequence[Order], waits: int) -> tuple[bool, list[Order]]:
        """As `Works`."""
        claims = [Claim(each.task, each.attempt) for each in runs]
        orders = [Order(**row) for row in self._lending.orders(self._node, waits, claims)]
        return self._lending.word == NOW, orders

    def input(self, order: Order) -> bytes:
        """As `Works`."""
        return self._lending.content(self._node, order.task, order.attempt)

    def done(self, order: Order, logits: bytes, precision: str) -> bool:
        """As `Works`."""
        return self._lending.done(self._node, order.task, order.attempt, logits, precision)

    def not_done(self, order: Order, outcome: str, why: str) -> None:
        """As `Works`."""
        self._lending.not_done(self._node, order.task, order.attempt, why, outcome == "failed")


class AtClinic:
    """Made beside a hub; `keep` is for a thread of its own, `helping.keep` for another."""

    def __init__(self, hub: Hub) -> None:
        """Raises StoreError where the slots are damaged."""
        self._hub, folder = hub, hub.folder
        places: dict[str, Fetcher] = {name: FolderFetcher(folder.path.parent / place) for name, place in RELEASES.items()}
        wanted = Inference(precision="fp32")
        self.released = Released(
            folder.path / OWN, places, wanted, folder.clock, self._release_told, AT_ONCE, Reference(wanted)
        )
        line = OwnLine(hub.lending, hub.whereabouts.placed.here)
        self.helping = Helping(
            line, self.released.lent, lambda: hub.lending.word == NOW, lambda _: None, lambda: 0, hub.whereabouts.tell
        )
        hub.whereabouts.own_model = self.told

    def told(self) -> Told:
        """What it looks with, as a device would tell it."""
        model = self.released.model
        if model is None:
            return Told()
        card = model.card
        return Told(
            model=f"{card.name} {card.version}", package=card.digest, precision=Precision(model.precision), helps=True
        )

    def keep(self, stop: threading.Event) -> None:
        """Ask what is agreed, until `stop` is set; the same trouble is told once."""
        said = ""
        while not stop.is_set():
            try:
                for _ in range(2):  # the second commits what the first has put in: there is nothing to wait for
                    self.released.beat()
                said = ""
            except FedmedError as error:
                if str(error) != said and not isinstance(error, Unreachable):
                    self._hub.whereabouts.tell(f"this machine looks at no images of devices: {error}")
                said = str(error)
            stop.wait(RELEASES_S)

    def ended(self, thread: str, why: str) -> None:
        """A fault ended one of the two threads; devices help each other all the same."""
        self._hub.whereabouts.tell(
            f"the thread {thread!r} ended by a fault ({why}); start the hub again, so that this machine looks at images"
        )

    def _release_told(self, told: Tell) -> None:
        self._hub.record("release.clinic", f"release {told.counter}", told.outcome, told.text)
        self._hub.whereabouts.tell(f"release {told.counter}, on this machine: {told.text}")


@contextmanager
def helping(hub: Hub) -> Iterator[None]:
    """The clinic's machine looks at devices' images within the block. Raises StoreError where its slots are damaged."""
    made, stop = AtClinic(hub), threading.Event()
    made.released.begin()
    threads = [
        watched("releases", partial(made.keep, stop), made.ended),
        watched("helping", partial(made.helping.keep, stop), made.ended),
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(RELEASES_S)
        made.released.end()
