"""A Flower Grid straight on the SuperLink's state: no port, no second process, no copy more than needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from flwr.app import Error, Message, RecordDict
from flwr.app.message import make_message
from flwr.common.constant import HEARTBEAT_DEFAULT_INTERVAL, SUPERLINK_NODE_ID
from flwr.serverapp import Grid
from flwr.supercore.object_store import NoObjectInStoreError

from fedmed.clock import Clock, SystemClock
from fedmed.errors import FederationError, ProtocolRefused
from fedmed.flower import identity
from fedmed.flower.guard import REFUSED
from fedmed.flower.parcels import Parcel, ids_in, pack_all, unpack
from fedmed.flower.superlink import SuperLink
from fedmed.flower.waiting import send_and_receive

LONGEST_LOOK_S = 1.0
"""An answer that Flower does not show yet, its node being late with a sign of life, is asked for again after this."""


@dataclass
class _Coming:
    """An answer whose head is there."""

    head: Message
    objects: list[str]
    missing: set[str]


class DirectGrid(Grid):
    """One run's messages. An answer is lent out whole, and the next one is not read before that one is given back."""

    def __init__(self, link: SuperLink, run: int, clock: Clock | None = None, keeps: bool = False) -> None:
        """`keeps`: answers stay until `acknowledge`, for a loop that may crash and ask again; else each goes once used."""
        self._link, self._state, self._number, self._keeps = link, link.state, run, keeps
        self._clock = clock or SystemClock()
        self._asked: dict[str, int] = {}
        self._coming: dict[str, _Coming] = {}
        self._used: dict[str, str] = {}
        identity.assume(identity.SERVER_NODE, run)

    def get_node_ids(self) -> Iterable[int]:
        """Nodes that gave a sign of life within the last minute."""
        return sorted(self._state.get_nodes(self._number))

    def lane_of(self, node: int) -> int:
        """One lane for all: answers are summed as they come."""
        return 0

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Lay messages out for their nodes; returns their ids. Raises FederationError where the state takes none."""
        return self.lay_out(self.packed(messages))

    def packed(self, messages: Iterable[Message]) -> list[Parcel]:
        """The messages as they would go: their ids are known before anybody can have them."""
        messages = list(messages)
        for message in messages:
            identity.set_run_id(message, self._number)
        return list(pack_all(messages))

    def lay_out(self, parcels: Iterable[Parcel]) -> list[str]:
        """Lay out what `packed` gave; returns the ids. Raises FederationError where the state takes none."""
        session, ids, todo = self._state.start_session(self._number), list[str](), dict[str, bytes]()
        for parcel in parcels:
            stored, missing = self._state.store_message_and_object_tree(parcel.head, parcel.tree, session)
            node = parcel.head.metadata.dst_node_id
            if not stored:
                raise FederationError(f"no message can be left for node {node}: it is not registered, or the run is over")
            todo.update({name: parcel.objects[name] for name in missing})
            ids.append(parcel.id)
            self._asked[parcel.id] = node
            self._link.awaited.add(parcel.id)
        # a session ends with its last object, so no object goes in before every tree is known
        for name, content in todo.items():
            self._state.store_object(self._number, session, name, content)
        self._link.post(self._asked[each] for each in ids)
        return ids

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
        for asked in wanted:
            coming = self._coming.get(asked)
            if coming is None or not self._is_complete(coming):
                continue
            yield self._opened(asked, coming)
            del self._coming[asked], self._asked[asked]
            self._used[asked] = coming.head.metadata.message_id
            if not self._keeps:
                self.acknowledge([asked])

    def _find(self, wanted: list[str]) -> None:
        ready = self._link.replied & set(wanted) - self._coming.keys()
        if not ready:
            return
        for head in self._state.get_message_res(message_ids=set(ready), run_id=self._number):
            asked = head.metadata.reply_to_message_id
            if head.metadata.src_node_id == SUPERLINK_NODE_ID:  # Flower's own error: the node is late, or gone
                self._state.object_store.delete(head.metadata.message_id)
                ready.discard(asked)
                continue
            try:
                objects = ids_in(self._state.object_store.get_object_tree(head.metadata.message_id))
            except NoObjectInStoreError:
                objects = []
            self._coming[asked] = _Coming(head, objects, set(objects))
        self._link.replied -= ready

    def _is_complete(self, coming: _Coming) -> bool:
        coming.missing = {each for each in coming.missing if not self._state.get_object(self._number, each)}
        return not coming.missing

    def _opened(self, asked: str, coming: _Coming) -> Message:
        """The answer, or an error in its place: what a clinic makes up ends its own turn and nobody else's."""
        head = coming.head
        if head.has_error():
            return head
        contents = {each: self._state.get_object(self._number, each) or b"" for each in coming.objects}
        try:
            if not contents:
                raise ProtocolRefused("the answer has no objects")
            return unpack(head, contents)
        except ProtocolRefused as error:
            return make_message(head.metadata, error=Error(REFUSED, str(error)))

    def acknowledge(self, message_ids: Iterable[str]) -> None:
        """Done with these messages for good: they and their answers are deleted."""
        known = [each for each in message_ids if each in self._used]
        self._link.forget(known)
        for each in known:
            self._state.object_store.delete(self._used.pop(each))

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Answers that are complete, with arrays of their own, as Flower code expects them."""
        return list(self.borrow_messages(message_ids))

    def wait(self, timeout_s: float) -> None:
        """Block until a node has sent something, at most `timeout_s` seconds."""
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

    def set_run(self, run: Any) -> None:
        """Nothing to set: one grid, one run."""

    @property
    def run(self) -> Any:
        """What Flower knows of the run."""
        return self._state.get_run_info(run_ids=[self._number])[0]

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """A message from the server (Flower's deprecated way to make one)."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)
