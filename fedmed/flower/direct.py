"""A Flower Grid straight on the SuperLink's state: no port, no second process, no copy more than needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from flwr.app import Error, Message
from flwr.app.message import make_message
from flwr.common.constant import HEARTBEAT_DEFAULT_INTERVAL, SUPERLINK_NODE_ID
from flwr.supercore.object_store import NoObjectInStoreError

from fedmed.clock import Clock, SystemClock
from fedmed.errors import ProtocolRefused
from fedmed.flower import identity
from fedmed.flower.grids import OneRun
from fedmed.flower.guard import REFUSED
from fedmed.flower.parcels import Parcel, ids_in, pack_all, unpack
from fedmed.flower.superlink import SuperLink
from fedmed.flower.waiting import send_and_receive

LONGEST_LOOK_S = 1.0
"""An answer that Flower does not show yet, its node being late with a sign of life, is asked for again after this."""


class RunStopped(Exception):
    """The run is to go no further now; what is committed stays."""


@dataclass
class _Coming:
    """An answer whose head is there."""

    head: Message
    objects: list[str]
    missing: set[str]
    seen: float
    """When the head was there, on the clock's scale."""

    @property
    def id(self) -> str:
        """The answer's own."""
        return str(self.head.metadata.message_id)


class DirectGrid(OneRun):
    """One run's messages. An answer is lent out whole, and the next one is not read before that one is given back."""

    def __init__(
        self,
        link: SuperLink,
        run: int,
        clock: Clock | None = None,
        keeps: bool = False,
        is_over: Callable[[], bool] = lambda: False,
    ) -> None:
        """`keeps`: answers stay until `acknowledge`, for a loop that may crash and ask again; else each goes once used.

        Once `is_over`, whoever sends or waits is told so by RunStopped.
        """
        self._link, self._state, self._number, self._keeps, self._is_over = link, link.state, run, keeps, is_over
        self.only: frozenset[int] | None = None
        """The nodes that take part; all where None."""
        self._clock = clock or SystemClock()
        self._asked: dict[str, int] = {}
        self._coming: dict[str, _Coming] = {}
        self._used: dict[str, _Coming] = {}
        identity.assume(identity.SERVER_NODE, run)

    @property
    def clock(self) -> Clock:
        """The time that it goes by."""
        return self._clock

    def get_node_ids(self) -> Iterable[int]:
        """Nodes that gave a sign of life within the last minute."""
        online = set(self._state.get_nodes(self._number))
        return sorted(online if self.only is None else online & self.only)

    def lane_of(self, node: int) -> int:
        """One lane for all: answers are summed as they come."""
        return 0

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Lay messages out for their nodes; returns their ids. Raises RunStopped, FederationError where none is taken."""
        return self.lay_out(self.packed(messages))

    def packed(self, messages: Iterable[Message]) -> list[Parcel]:
        """The messages as they would go: their ids are known before anybody can have them."""
        messages = list(messages)
        for message in messages:
            identity.set_run_id(message, self._number)
        return list(pack_all(messages))

    def lay_out(self, parcels: Iterable[Parcel]) -> list[str]:
        """Lay out what `packed` gave; returns the ids. Raises RunStopped, FederationError where the state takes none."""
        if self._is_over():
            raise RunStopped
        parcels = list(parcels)
        self._asked |= {parcel.id: parcel.head.metadata.dst_node_id for parcel in parcels}
        self._link.lay_out(self._number, parcels)
        return [parcel.id for parcel in parcels]

    def has(self, message_id: str) -> bool:
        """Whether a message was laid out whole, or dealt with by its node."""
        if message_id not in self._state.get_message_ids_from_run_id(self._number):
            return False
        try:
            tree = self._state.object_store.get_object_tree(message_id)
        except NoObjectInStoreError:
            return True  # a node's confirmation took its objects away
        return all(self._state.get_object(self._number, each) for each in ids_in(tree))

    def expect(self, asked: dict[str, int]) -> None:
        """Go on waiting for messages (id to node) of an earlier process; see `SuperLink.take_up`."""
        for node in set(asked.values()):  # else Flower hides what a node sent that is not there now
            self._state.acknowledge_node_heartbeat(node, HEARTBEAT_DEFAULT_INTERVAL)
        self._asked |= asked
        self._link.awaited |= asked.keys()
        self._link.replied |= asked.keys()

    def take_back(self, message_ids: Iterable[str]) -> None:
        """Delete messages that no node can have had whole, though it may have been offered them."""
        ids = set(message_ids)
        self._link.withdraw(ids)
        self._link.forget(ids)

    def clear(self, keep: set[str]) -> None:
        """Delete the run's messages and their answers, but for those that are named."""
        self.take_back(self._state.get_message_ids_from_run_id(self._number) - keep)

    def settle(self, asked: set[str]) -> None:
        """Done with these: what was received goes, and what nobody has begun is handed out no more."""
        self.cancel(asked - self._used.keys())
        self.acknowledge(list(self._used))

    def borrow_messages(self, message_ids: Iterable[str]) -> Iterator[Message]:
        """Answers that are complete, one by one; each goes when the next is asked for."""
        self._link.uploaded.clear()
        wanted = [each for each in message_ids if each in self._asked]
        self._find(wanted)
        done: list[str] = []
        try:
            for asked in wanted:
                coming = self._coming.get(asked)
                if coming is None or not self._is_complete(coming):
                    continue
                yield self._opened(coming)
                del self._coming[asked], self._asked[asked]
                self._used[asked] = coming
                if not self._keeps:
                    self._link.objects.delete(coming.id)
                    done.append(asked)
        finally:
            self.acknowledge(done)

    def _find(self, wanted: list[str]) -> None:
        ready = self._link.replied & set(wanted) - self._coming.keys()
        if not ready:
            return
        heads = [self._link.heads[asked] for asked in ready if asked in self._link.heads]
        if others := ready - {head.metadata.reply_to_message_id for head in heads}:
            with self._link.turn():
                heads += self._state.get_message_res(message_ids=set(others), run_id=self._number)
        for head in heads:
            asked = head.metadata.reply_to_message_id
            if head.metadata.src_node_id == SUPERLINK_NODE_ID:  # Flower's own error: the node is late, or gone
                self._link.objects.delete(head.metadata.message_id)
                ready.discard(asked)
                continue
            try:
                objects = ids_in(self._link.objects.get_object_tree(head.metadata.message_id))
            except NoObjectInStoreError:
                objects = []
            self._coming[asked] = _Coming(head, objects, set(objects), self._clock.now())
        self._link.replied -= ready

    def line_s(self, asked: str) -> float:
        """Seconds that the rest of an answer came after its head; only while the answer is lent out."""
        coming = self._coming.get(asked)
        return 0.0 if coming is None else self._clock.now() - coming.seen

    def _is_complete(self, coming: _Coming) -> bool:
        coming.missing = {each for each in coming.missing if not self._link.objects.is_there(each)}
        return not coming.missing

    def again(self, asked: str) -> Message | None:
        """An answer that was lent out, until it is acknowledged; an error where its objects are gone, else None."""
        coming = self._used.get(asked)
        return None if coming is None else self._opened(coming)

    def _opened(self, coming: _Coming) -> Message:
        """The answer, or an error in its place: what a clinic makes up ends its own turn and nobody else's."""
        head = coming.head
        if head.has_error():
            return head
        contents = {each: self._link.objects.get(each) or b"" for each in coming.objects}
        try:
            if not contents:
                raise ProtocolRefused("the answer has no objects")
            return unpack(head, contents)
        except ProtocolRefused as error:
            return make_message(head.metadata, error=Error(REFUSED, str(error)))

    def acknowledge(self, message_ids: Iterable[str]) -> None:
        """Done with these messages for good: they and their answers are deleted."""
        known = [each for each in message_ids if each in self._used]
        if not known:
            return
        self._link.forget(known)
        self._link.objects.delete_all([self._used.pop(each).id for each in known])

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Answers that are complete, with arrays of their own, as Flower code expects them."""
        return list(self.borrow_messages(message_ids))

    def wait(self, timeout_s: float) -> None:
        """Block until a node has sent something, at most `timeout_s` seconds. Raises RunStopped."""
        if self._is_over():
            raise RunStopped
        self._link.uploaded.wait(max(0.0, min(timeout_s, LONGEST_LOOK_S)))

    def queued(self, message_ids: Iterable[str]) -> frozenset[str]:
        """None: every node has its own machine, so nobody waits behind another."""
        return frozenset()

    def cancel(self, message_ids: Iterable[str]) -> None:
        """Give up on these: no node gets one any more, and who works on one may still answer late."""
        self._link.withdraw(message_ids)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Push, then wait for all answers, or for those that come within `timeout` seconds."""
        return send_and_receive(self, self._clock, messages, timeout, LONGEST_LOOK_S)

    @property
    def run(self) -> Any:
        """What Flower knows of the run."""
        return self._state.get_run_info(run_ids=[self._number])[0]
