"""Flower's SuperLink without a port: its state and the handlers of its Fleet API, called by nobody but our fence.

The application that Flower ships has its Control and Runtime APIs on the same port. Here they are not even there. What is
private to Flower and concerns the center is in this file; `tests/flower/test_contract.py` says what it relies on.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flwr.app import Message
from flwr.common.constant import (
    HEARTBEAT_DEFAULT_INTERVAL,
    NOOP_ACCOUNT_NAME,
    NOOP_FLWR_AID,
    Status,
    SubStatus,
)
from flwr.common.serde import message_to_proto
from flwr.proto.fleet_pb2 import PullMessagesResponse
from flwr.server.superlink.linkstate import SqlLinkState
from flwr.supercore.constant import NOOP_FEDERATION_ID, NodeStatus, TaskType
from flwr.supercore.corestate import in_memory_corestate, sql_corestate
from flwr.supercore.error import ApiErrorCode, FlowerError
from flwr.supercore.object_store import NoObjectInStoreError
from flwr.supercore.state.schema.corestate_models import Task
from flwr.supercore.state.schema.linkstate_models import MessageIns, MessageRes
from flwr.supercore.utils import uint64_to_int64
from flwr.superlink.servicer.fleet import fleet_handlers
from sqlalchemy import update

from fedmed.errors import FederationError
from fedmed.flower.allowance import MOST_BYTES, Allowance
from fedmed.flower.calls import pem_of
from fedmed.flower.opening import opened
from fedmed.flower.parcels import Parcel, ids_in
from fedmed.flower.refusals import BAD, FORBIDDEN, TOO_LARGE, CallRefused, Node, parsed, refuse_other_nodes
from fedmed.flower.resting import IN_CLEAR, AtRest

UPLOAD_S = 7 * 86_400
"""How long a half-sent answer is kept; Flower gives it up after three minutes, and a cut of the line is longer."""
WITH_STORE = ("confirm-message-received",)
QUEUED = "queued"

for _module in (in_memory_corestate, sql_corestate):
    vars(_module)["OBJECT_PUSH_SESSION_TTL_SECONDS"] = UPLOAD_S
logging.getLogger("flwr").setLevel(logging.CRITICAL)  # it tells of every request; the audit log is ours


@dataclass
class Traffic:
    """What nodes have sent and were given, without what carries it."""

    calls: int = 0
    bytes_in: int = 0
    bytes_out: int = 0

    def note(self, received: int, sent: int) -> None:
        """One call more."""
        self.calls += 1
        self.bytes_in += received
        self.bytes_out += sent


class SuperLink:
    """State of nodes, runs and messages, in memory or in an SQLite file, and what nodes may ask of it."""

    def __init__(self, database: Path | None = None, rest: AtRest = IN_CLEAR) -> None:
        """`database`: the file, beside which a folder of the same name has the objects; None keeps everything in memory.

        `rest` seals the objects.
        """
        self.state, self.objects = opened(database, rest)
        self._turn = threading.RLock()
        self.uploaded = threading.Event()
        """Set whenever something came from a node."""
        self.awaited: set[str] = set()
        """Messages that somebody waits for an answer to."""
        self.replied: set[str] = set()
        """Messages whose answer has begun to come and was not fetched yet."""
        self.traffic = Traffic()
        self._allowances: dict[str, Allowance] = {}
        self._sessions: dict[int, tuple[str, int]] = {}
        self.heads: dict[str, Message] = {}
        """Answers of `replied`, without content, by what they answer; those that are not in here are in the state alone."""
        self._handed_out: dict[int, PullMessagesResponse] = {}
        self._has_been_out: set[str] = set()
        self._mail: dict[int, deque[Message]] = defaultdict(deque)
        self._without_mail: set[int] = set()
        self._running: set[int] = set()
        self._nodes: dict[bytes, Node] = {}
        self._post: Callable[[Iterable[int]], None] = lambda nodes: None
        self._lock = threading.Lock()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """What is done with the state within is one transaction, and nobody else's turn."""
        with self._turn, self.state.session() if isinstance(self.state, SqlLinkState) else nullcontext():
            yield

    def on_post(self, tell: Callable[[Iterable[int]], None]) -> None:
        """Have `tell` called with the nodes that there are new messages for."""
        self._post = tell

    def register(self, transport_public: bytes) -> int:
        """The node of a P-384 public key (SubjectPublicKeyInfo, DER), new or as it was.

        Raises FederationError for a key that was taken out: its owner needs new keys.
        """
        key = pem_of(transport_public)
        if (known := self.state.get_node_id_by_public_key(key)) is not None:
            return known
        try:
            node = self.state.create_node(NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, key, HEARTBEAT_DEFAULT_INTERVAL)
        except ValueError as error:
            raise FederationError("this key was revoked; the clinic needs new keys to be admitted again") from error
        # Flower keeps no message for a node that has never been there; who is started first should not matter
        self.state.activate_node(node, HEARTBEAT_DEFAULT_INTERVAL)
        self.state.deactivate_node(node)
        return node

    def node_of(self, transport_public: bytes) -> Node | None:
        """The node of a public key (DER); None for one that is not registered, or not any more."""
        if (known := self._nodes.get(transport_public)) is not None:
            return known
        key = pem_of(transport_public)
        number = self.state.get_node_id_by_public_key(key)
        if number is None:
            return None
        self._nodes[transport_public] = Node(number, key)
        return self._nodes[transport_public]

    def online(self) -> set[int]:
        """Nodes that gave a sign of life within the last minute."""
        return {int(info.node_id) for info in self.state.get_node_info(statuses=[NodeStatus.ONLINE])}

    def revoke(self, node: int) -> None:
        """Take a node out, for good. Raises FederationError for one that is not there."""
        self._nodes = {public: each for public, each in self._nodes.items() if each.number != node}
        try:
            self.state.delete_node(NOOP_FLWR_AID, node)
        except ValueError as error:
            raise FederationError(f"there is no node {node} that could be revoked") from error
        self._post([node])  # its question that is held is answered, with a refusal

    def start_run(self, app: str) -> int:
        """A new run of an app that clinics have installed, by its name; returns its number."""
        run = self.state.create_run(app, "", None, {}, NOOP_FEDERATION_ID, None, NOOP_FLWR_AID, TaskType.SERVER_APP)
        task = self._task_of(run)
        if not (self.state.claim_task(task) and self.state.activate_task(task)):
            raise FederationError(f"run {run} cannot be started; its state is that of another Flower")
        self._never_expires(task)
        return run

    def take_up(self, run: int) -> None:
        """Go on with a run of an earlier process: what was fetched, but not done with, can be fetched again.

        Raises FederationError for a run that is not there or has ended.
        """
        if not self.is_under_way(run):
            raise FederationError(f"run {run} is not under way; start a new one")
        self._never_expires(self._task_of(run))
        with self.turn():
            unconfirmed = [each for each in self.state.get_message_ids_from_run_id(run) if each in self.objects]
            self._undelivered(run, unconfirmed)
            self._mail.clear()
            self._without_mail.clear()
        self._post([int(info.node_id) for info in self.state.get_node_info()])

    def _undelivered(self, run: int, message_ids: list[str]) -> None:
        """To Flower, these messages of a run, and all its answers, were fetched by nobody."""
        if (replies := getattr(self.state, "message_res_store", None)) is not None:
            messages = self.state.message_ins_store  # type: ignore[attr-defined]
            for each in [*replies.values(), *(messages[message_id] for message_id in message_ids)]:
                each.metadata.delivered_at = ""
            return
        with self.state.session() as session:  # type: ignore[attr-defined]
            session.execute(update(MessageRes).where(MessageRes.run_id == uint64_to_int64(run)).values(delivered_at=""))
            session.execute(update(MessageIns).where(MessageIns.message_id.in_(message_ids)).values(delivered_at=""))

    def is_under_way(self, run: int) -> bool:
        """Whether a run was started and has not ended."""
        found = self.state.get_run_info(run_ids=[run])
        return bool(found) and bool(found[0].status.status == Status.RUNNING)

    def end_run(self, run: int) -> None:
        """The run is over; nodes that still work for it are told so."""
        self.withdraw(self.state.get_message_ids_from_run_id(run))
        self._running.discard(run)
        self.state.finish_task(self._task_of(run), SubStatus.COMPLETED, "")
        self.state.cleanup_run(run)

    def _task_of(self, run: int) -> int:
        return int(self.state.get_run_info(run_ids=[run])[0].primary_task_id or 0)

    def _never_expires(self, task: int) -> None:
        # Flower ends a run whose program has not said within a minute that it lives; ours is this process
        if (tokens := getattr(self.state, "task_token_store", None)) is not None:
            tokens.pop(task, None)
            return
        with self.state.session() as session:  # type: ignore[attr-defined]
            forever = {"token": None, "active_until": None}
            session.execute(update(Task).where(Task.task_id == uint64_to_int64(task)).values(**forever))

    def withdraw(self, message_ids: Iterable[str]) -> None:
        """Hand these messages out no more; who has one already may still answer it."""
        ids = set(message_ids)
        with self._lock:
            for node, found in list(self._handed_out.items()):
                if _id_in(found) in ids:
                    del self._handed_out[node]
            waiting = ids - self._has_been_out
        self.forget(waiting)

    def forget(self, message_ids: Iterable[str]) -> None:
        """Delete these messages and their answers."""
        ids = set(message_ids)
        with self.turn():
            self.state.delete_messages(message_ins_ids=ids)
        with self._lock:
            self._has_been_out -= ids
            self.awaited -= ids
            self.replied -= ids
            for message_id in ids:
                self._allowances.pop(message_id, None)
                self.heads.pop(message_id, None)
        self.objects.delete_all(ids)

    def lay_out(self, run: int, parcels: Sequence[Parcel]) -> None:
        """Keep messages for their nodes. Raises FederationError for a node that is not there, and for a run that is over."""
        objects = {name: content for parcel in parcels for name, content in parcel.objects.items()}
        lacking = set(self.objects.preregister_all(run, [parcel.tree for parcel in parcels]))
        self.objects.put_all({name: content for name, content in objects.items() if name in lacking}, is_own=True)
        with self._lock:
            self.awaited |= {parcel.id for parcel in parcels}
            self._allowances |= {each.id: Allowance.after(each.size, len(each.objects)) for each in parcels}
        with self.turn():
            for parcel in parcels:
                if self.state.store_message_ins(parcel.head) is None:
                    self.objects.delete_all(each.id for each in parcels)
                    node = parcel.head.metadata.dst_node_id
                    raise FederationError(
                        f"no message can be left for node {node}: it is not registered, or the run is over"
                    )
            self._mark_delivered([parcel.id for parcel in parcels])
        for parcel in parcels:
            self._mail[parcel.head.metadata.dst_node_id].append(parcel.head)
        self._post([parcel.head.metadata.dst_node_id for parcel in parcels])

    def allowance_of(self, message_id: str) -> Allowance:
        """How large an answer may be; for messages of an earlier process as large as any."""
        with self._lock:
            return self._allowances.get(message_id, Allowance())

    def next_for(self, node: int) -> PullMessagesResponse | None:
        """Head and tree of a node's next message; the same again until it is dealt with, since an answer may be lost."""
        with self.turn():
            if (again := self._handed_out.get(node)) is not None:
                return again
            while (message := self._next_of(node)) is not None:
                with suppress(NoObjectInStoreError):  # it was taken back
                    tree = self.objects.get_object_tree(message.metadata.message_id)
                    found = PullMessagesResponse(messages_list=[message_to_proto(message)], message_object_trees=[tree])
                    self._hands_out(node, found)
                    return found
        return None

    def _next_of(self, node: int) -> Message | None:
        if self._mail[node]:
            return self._mail[node].popleft()
        if node in self._without_mail:
            return None
        for message in self.state.get_message_ins(node_id=node, limit=1):  # of an earlier process
            return message
        self._without_mail.add(node)
        return None

    def _mark_delivered(self, message_ids: list[str]) -> None:
        """To Flower, messages are delivered once they are in our own queues; `take_up` takes that back."""
        if (messages := getattr(self.state, "message_ins_store", None)) is not None:
            for message_id in message_ids:
                messages[message_id].metadata.delivered_at = QUEUED
            return
        with self.state.session() as session:  # type: ignore[attr-defined]
            session.execute(update(MessageIns).where(MessageIns.message_id.in_(message_ids)).values(delivered_at=QUEUED))

    def names_out_to(self, node: int) -> set[str]:
        """Objects of the message that a node was given last."""
        found = self._handed_out.get(node)
        return set() if found is None else set(ids_in(found.message_object_trees[0]))

    def refuse_unless_running(self, run: int) -> None:
        """Raises CallRefused for a run that is over, or was never there."""
        if run in self._running:
            return
        with self.turn():
            status = self.state.get_run_status({run}).get(run)
        if status is None or status.status != Status.RUNNING:
            raise CallRefused(FORBIDDEN, "the run is over")
        self._running.add(run)

    def answered(self, node: int, message_id: str, head: Message | None = None) -> None:
        """A node has announced its answer to a message."""
        with self._lock:
            self._confirmed(node, message_id)
            if head is not None and message_id in self.awaited:
                self.heads[message_id] = head
            self.replied |= {message_id} & self.awaited
        self.uploaded.set()

    def answer(self, call: str, body: bytes, node: Node) -> bytes:
        """Serve a call that a node's certificate came with. Raises CallRefused."""
        request = parsed(call, body)
        refuse_other_nodes(call, request, node)
        if call == "activate-node":  # after a kill it is still online to Flower, which would not let it in again
            self.state.deactivate_node(node.number)
        if call == "pull-messages":
            found = self.next_for(node.number)
            return b"" if found is None else bytes(found.SerializeToString())
        self._refuse_large(call, request)
        with self.turn():
            if call == "push-messages":  # who sends is alive: Flower hides the answer of a node whose heartbeat is late
                self.state.acknowledge_node_heartbeat(node.number, HEARTBEAT_DEFAULT_INTERVAL)
            said = self._handled(call, request)
        self._note(call, request, said, node.number)
        return bytes(said.SerializeToString())

    def _refuse_large(self, call: str, request: Any) -> None:
        if call == "push-messages":
            allowance = self.allowance_of(request.messages_list[0].metadata.reply_to_message_id)
            reason = allowance.reason_against(0, len(ids_in(request.message_object_trees[0])))
        elif call == "push-object":
            session, left = self._sessions.get(request.node.node_id, ("", 0))
            left = (left if session == request.session_id else MOST_BYTES) - len(
                request.object_content
            )  # else: before a restart
            self._sessions[request.node.node_id] = (request.session_id, left)
            reason = None if left >= 0 else "the answer has more bytes than are allowed by what was asked with; send less"
        else:
            return
        if reason is not None:
            raise CallRefused(TOO_LARGE, reason)

    def _handled(self, call: str, request: Any) -> Any:
        further = {"store": self.objects} if call in WITH_STORE else {}
        try:
            return getattr(fleet_handlers, call.replace("-", "_"))(request=request, state=self.state, **further)
        except FlowerError as error:
            if error.code == ApiErrorCode.FLEET_RUN_STATUS_NOT_ALLOWED:
                raise CallRefused(FORBIDDEN, "the run is over") from error
            raise CallRefused(BAD, f"{call}: Flower's error {int(error.code)}") from error
        except (ValueError, LookupError, TypeError) as error:
            raise CallRefused(BAD, f"{call}: {type(error).__name__}") from error

    def _note(self, call: str, request: Any, said: Any, node: int) -> None:
        if call == "confirm-message-received":
            with self._lock:
                self._confirmed(node, request.message_object_id)
        elif call == "push-messages":
            answered = request.messages_list[0].metadata.reply_to_message_id
            self._sessions[node] = (said.session_id, self.allowance_of(answered).size)
            self.answered(node, answered)
        elif call == "push-object":
            self.uploaded.set()

    def _hands_out(self, node: int, found: PullMessagesResponse) -> None:
        with self._lock:
            self._handed_out[node] = found
            self._has_been_out.add(_id_in(found))

    def _confirmed(self, node: int, message_id: str) -> None:
        if (found := self._handed_out.get(node)) is not None and _id_in(found) == message_id:
            del self._handed_out[node]


def _id_in(found: PullMessagesResponse) -> str:
    return str(found.messages_list[0].metadata.message_id)
