"""Flower's SuperLink without a port: its state and the handlers of its Fleet API, called by nobody but our fence.

The application that Flower ships has its Control and Runtime APIs on the same port. Here they are not even there. What is
private to Flower and concerns the center is in this file; `tests/flower/test_contract.py` says what it relies on.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flwr.common.constant import (
    HEARTBEAT_DEFAULT_INTERVAL,
    NOOP_ACCOUNT_NAME,
    NOOP_FLWR_AID,
    SUPERLINK_NODE_ID,
    Status,
    SubStatus,
)
from flwr.server.superlink.linkstate import LinkState
from flwr.supercore.constant import FLWR_IN_MEMORY_DB_NAME, NOOP_FEDERATION_ID, TaskType
from flwr.supercore.corestate import in_memory_corestate, sql_corestate
from flwr.supercore.error import ApiErrorCode, FlowerError
from flwr.supercore.state.schema.corestate_models import Task
from flwr.supercore.state.schema.linkstate_models import MessageIns, MessageRes
from flwr.supercore.utils import uint64_to_int64
from flwr.superlink.config_loader import get_federation_manager, get_objectstore_linkstate_factories
from flwr.superlink.servicer.fleet import fleet_handlers
from google.protobuf.message import DecodeError
from sqlalchemy import update

from fedmed.errors import FederationError
from fedmed.flower.calls import REQUESTS, pem_of

UPLOAD_S = 7 * 86_400
"""How long a half-sent answer is kept; Flower gives it up after three minutes, and a cut of the line is longer."""
UNAUTHORISED, FORBIDDEN, BAD = 401, 403, 400
WITH_STORE = ("pull-messages", "confirm-message-received")

for _module in (in_memory_corestate, sql_corestate):
    vars(_module)["OBJECT_PUSH_SESSION_TTL_SECONDS"] = UPLOAD_S
logging.getLogger("flwr").setLevel(logging.CRITICAL)  # it tells of every request; the audit log is ours


class CallRefused(Exception):
    """A node's call that is not served; the text is the reason, for the node."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        """Of HTTP."""


@dataclass(frozen=True)
class Node:
    """A registered clinic."""

    number: int
    key: bytes
    """Its public key as Flower keeps it, PEM."""


class SuperLink:
    """State of nodes, runs and messages, in memory or in an SQLite file, and what nodes may ask of it."""

    def __init__(self, database: Path | None = None) -> None:
        """`database`: the file; None keeps everything in memory."""
        name = FLWR_IN_MEMORY_DB_NAME if database is None else str(database)
        _, factory = get_objectstore_linkstate_factories(name, get_federation_manager())
        self.state: LinkState = factory.state()
        self.uploaded = threading.Event()
        """Set whenever something came from a node."""
        self.awaited: set[str] = set()
        """Messages that somebody waits for an answer to."""
        self.replied: set[str] = set()
        """Messages whose answer has begun to come and was not fetched yet."""
        self._handed_out: dict[int, tuple[str, bytes]] = {}
        self._has_been_out: set[str] = set()
        self._post: Callable[[Iterable[int]], None] = lambda nodes: None
        self._lock = threading.Lock()

    def on_post(self, tell: Callable[[Iterable[int]], None]) -> None:
        """Have `tell` called with the nodes that there are new messages for."""
        self._post = tell

    def post(self, nodes: Iterable[int]) -> None:
        """Say that there are new messages for these nodes."""
        self._post(nodes)

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
        key = pem_of(transport_public)
        number = self.state.get_node_id_by_public_key(key)
        return None if number is None else Node(number, key)

    def revoke(self, node: int) -> None:
        """Take a node out, for good. Raises FederationError for one that is not there."""
        try:
            self.state.delete_node(NOOP_FLWR_AID, node)
        except ValueError as error:
            raise FederationError(f"there is no node {node} that could be revoked") from error

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
        unconfirmed = [each for each in self.state.get_message_ids_from_run_id(run) if each in self.state.object_store]
        if (replies := getattr(self.state, "message_res_store", None)) is not None:
            for reply in replies.values():
                reply.metadata.delivered_at = ""
            return
        with self.state.session() as session:  # type: ignore[attr-defined]
            session.execute(update(MessageRes).where(MessageRes.run_id == uint64_to_int64(run)).values(delivered_at=""))
            session.execute(update(MessageIns).where(MessageIns.message_id.in_(unconfirmed)).values(delivered_at=""))

    def is_under_way(self, run: int) -> bool:
        """Whether a run was started and has not ended."""
        found = self.state.get_run_info(run_ids=[run])
        return bool(found) and bool(found[0].status.status == Status.RUNNING)

    def end_run(self, run: int) -> None:
        """The run is over; nodes that still work for it are told so."""
        self.withdraw(self.state.get_message_ids_from_run_id(run))
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
            for node, (message_id, _) in list(self._handed_out.items()):
                if message_id in ids:
                    del self._handed_out[node]
            waiting = ids - self._has_been_out
        self.forget(waiting)

    def forget(self, message_ids: Iterable[str]) -> None:
        """Delete these messages and their answers."""
        ids = set(message_ids)
        self.state.delete_messages(message_ins_ids=ids)
        with self._lock:
            self._has_been_out -= ids
            self.awaited -= ids
            self.replied -= ids
        for message_id in ids:
            self.state.object_store.delete(message_id)

    def answer(self, call: str, body: bytes, node: Node) -> bytes:
        """Serve a call that a node's certificate came with. Raises CallRefused."""
        request = _parsed(call, body)
        _refuse_other_nodes(call, request, node)
        if call == "activate-node":  # after a kill it is still online to Flower, which would not let it in again
            self.state.deactivate_node(node.number)
        if call == "pull-messages" and (again := self._handed_out.get(node.number)) is not None:
            return again[1]  # an answer that was lost on the way is given again until the node confirms
        if call == "push-messages":  # who sends is alive: Flower hides the answer of a node whose heartbeat is late
            self.state.acknowledge_node_heartbeat(node.number, HEARTBEAT_DEFAULT_INTERVAL)
        said = self._handled(call, request)
        self._note(call, request, said, node.number)
        return bytes(said.SerializeToString())

    def _handled(self, call: str, request: Any) -> Any:
        further = {"store": self.state.object_store} if call in WITH_STORE else {}
        try:
            return getattr(fleet_handlers, call.replace("-", "_"))(request=request, state=self.state, **further)
        except FlowerError as error:
            if error.code == ApiErrorCode.FLEET_RUN_STATUS_NOT_ALLOWED:
                raise CallRefused(FORBIDDEN, "the run is over") from error
            raise CallRefused(BAD, f"{call}: Flower's error {int(error.code)}") from error
        except (ValueError, LookupError, TypeError) as error:
            raise CallRefused(BAD, f"{call}: {type(error).__name__}") from error

    def _note(self, call: str, request: Any, said: Any, node: int) -> None:
        with self._lock:
            if call == "pull-messages" and said.messages_list:
                message_id = said.messages_list[0].metadata.message_id
                self._handed_out[node] = (message_id, said.SerializeToString())
                self._has_been_out.add(message_id)
            elif call == "confirm-message-received":
                self._confirmed(node, request.message_object_id)
            elif call == "push-messages":
                answered = request.messages_list[0].metadata.reply_to_message_id
                self._confirmed(node, answered)
                self.replied |= {answered} & self.awaited
        if call in ("push-messages", "push-object"):
            self.uploaded.set()

    def _confirmed(self, node: int, message_id: str) -> None:
        if self._handed_out.get(node, ("",))[0] == message_id:
            del self._handed_out[node]


def _parsed(call: str, body: bytes) -> Any:
    try:
        return REQUESTS[call].FromString(body)
    except DecodeError as error:
        raise CallRefused(BAD, f"{call}: the body is no such request") from error


def _refuse_other_nodes(call: str, request: Any, node: Node) -> None:
    """What a request says of its sender has to be what the certificate says."""
    if call == "activate-node":
        its_own = request.public_key == node.key
    elif call == "deactivate-node":
        its_own = request.node_id == node.number
    else:
        its_own = request.node.node_id == node.number
    if not its_own:
        raise CallRefused(UNAUTHORISED, f"{call}: the request speaks for another node than its certificate")
    if call != "push-messages":
        return
    if len(request.messages_list) != 1 or len(request.message_object_trees) != 1:
        raise CallRefused(BAD, f"{call}: one message and its tree are needed")
    told, tree = request.messages_list[0].metadata, request.message_object_trees[0]
    if told.src_node_id != node.number or told.dst_node_id != SUPERLINK_NODE_ID:
        raise CallRefused(UNAUTHORISED, f"{call}: the message names another sender than its certificate")
    if not told.reply_to_message_id or told.message_id != tree.object_id:
        raise CallRefused(BAD, f"{call}: the message is no answer, or its id is not that of its tree")
