"""The center's port against whoever reaches it: without a certificate, with somebody else's, with a member's and lies."""

from __future__ import annotations

import base64
import shutil
import socket
import ssl
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_from_proto
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PullMessagesResponse,
    PushMessagesRequest,
    PushMessagesResponse,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedRequest,
    PullObjectRequest,
    PushObjectRequest,
    PushObjectResponse,
)
from flwr.proto.node_pb2 import Node
from flwr.proto.run_pb2 import GetRunRequest
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree

from fedmed.center.listening import Listener
from fedmed.center.tls import Tls
from fedmed.clock import SystemClock
from fedmed.errors import FederationError
from fedmed.flower import arrays, identity
from fedmed.flower.calls import FLEET, KEY_HEADER, MOST_OWN, OWN, pem_of
from fedmed.flower.direct import DirectGrid
from fedmed.flower.fence import PATHS
from fedmed.flower.fleet import Door
from fedmed.flower.parcels import Parcel, pack
from fedmed.flower.transport import Transport
from fedmed.wire.asgi import Receive, Scope, Send, answer
from tests.center.pki import Authority, Client, ask, context
from tests.flower.real import Federation, federation

HIDDEN = [
    "/",
    "/docs",
    "/openapi.json",
    "/health",
    "/v1/control/start-run",
    "/v1/control/list-runs",
    "/v1/runtime/acquire-task",
    "/v1/responses",
    "/v1/fleet/register-node",
    "/v1/fleet/unregister-node",
    "//v1/fleet/pull-messages",
    "/v1//fleet/pull-messages",
    "/v1/fleet/../control/start-run",
    "/v1/fleet/./pull-messages",
    "/v1/fleet/pull-messages/",
    "/v1/fleet/Pull-Messages",
    "/V1/fleet/pull-messages",
    "/v1%2ffleet/pull-messages",
    "/v1/fleet/pull%2dmessages",
    "/v1/fleet/pull-messages%00",
    "/v1/fleet/pull-messages?x=1",
    "/v1/fleet/",
    "/own%2fpath",
    "/own/path/",
    *("/v1/fleet/take", "/v1/fedmed/", "/v1/fedmed/take/", "/v1/fedmed/Take", "/v1/fedmed/take?x=1"),
]


async def own(scope, receive, send) -> None:
    await answer(send, 200, b"ours")


@dataclass
class Caller:
    """A member who says to the port what it likes."""

    fed: Federation
    client: Client
    number: int = 0

    def __post_init__(self) -> None:
        self.shaking = context(self.fed.authority, self.client)
        self.shown = base64.b64encode(pem_of(self.client.keys.transport_public)).decode()

    def say(self, call: str, request, **headers: str) -> tuple[int, bytes]:
        return self.raw("POST", FLEET + call, request.SerializeToString(), **({KEY_HEADER: self.shown} | headers))

    def raw(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        return ask(self.fed.engine.listener.port, self.shaking, method, path, body, **headers)

    @property
    def node(self) -> Node:
        return Node(node_id=self.number)


@pytest.fixture
def fed(tmp_path: Path):
    with federation(tmp_path, own={"/own/path": own}) as started:
        yield started


@pytest.fixture
def north(fed: Federation):
    return admitted(fed, "north")


@pytest.fixture
def south(fed: Federation):
    return admitted(fed, "south")


def admitted(fed: Federation, name: str) -> Caller:
    client = fed.admit(name)
    caller = Caller(fed, client, fed.engine.link.register(client.keys.transport_public))
    status, _ = caller.say("activate-node", activation(caller))
    assert status == 200
    return caller


def activation(caller: Caller) -> ActivateNodeRequest:
    return ActivateNodeRequest(public_key=pem_of(caller.client.keys.transport_public), heartbeat_interval=30)


def openssl(fed: Federation, *options: str) -> str:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    command = ["openssl", "s_client", "-connect", fed.address, "-CAfile", str(fed.authority.pem), *options]
    done = subprocess.run(command, input=b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", capture_output=True, timeout=20)
    return (done.stdout + done.stderr).decode("utf-8", "replace")


def test_tls_1_2_is_not_spoken(fed: Federation):
    said = openssl(fed, "-tls1_2")
    assert "Cipher is (NONE)" in said
    assert "HTTP/1.1" not in said


def test_tls_1_3_is_spoken_and_nothing_is_said_without_a_certificate(fed: Federation):
    said = openssl(fed, "-tls1_3")
    assert "TLSv1.3" in said
    assert "HTTP/1.1" not in said


def test_curl_gets_in_with_a_members_certificate_and_not_without(fed: Federation, north: Caller):
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    base = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", str(fed.authority.pem)]
    url = f"https://{fed.address}/own/path"
    mine = ["--cert", str(north.client.chain_pem), "--key", str(north.client.key_pem)]
    assert subprocess.run([*base, *mine, url], capture_output=True, timeout=20).stdout == b"200"
    assert subprocess.run([*base, url], capture_output=True, timeout=20).stdout == b"000"


def test_a_certificate_of_another_authority_is_not_let_in(fed: Federation, tmp_path: Path):
    foreign = Authority(tmp_path / "foreign").client("north")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        ask(fed.engine.listener.port, context(fed.authority, foreign), "GET", "/own/path")


class Earlier(SystemClock):
    def unix(self) -> float:
        return super().unix() - 2 * 86_400


def test_an_expired_certificate_is_not_let_in(fed: Federation):
    fed.authority.own._clock = Earlier()
    late = fed.authority.client("late", days=1)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        ask(fed.engine.listener.port, context(fed.authority, late), "GET", "/own/path")


@pytest.mark.parametrize("path", HIDDEN)
def test_nothing_else_is_there_for_a_member(north: Caller, path: str):
    for method in ("GET", "POST", "PUT", "OPTIONS"):
        assert north.raw(method, path, **{KEY_HEADER: north.shown})[0] in (404, 400)


def test_no_other_method_reaches_a_call_of_a_node(north: Caller):
    for method in ("GET", "PUT", "HEAD", "post"):
        assert north.raw(method, FLEET + "pull-messages", **{KEY_HEADER: north.shown})[0] in (404, 400)


def test_a_member_without_the_header_with_anothers_or_with_two_is_refused(north: Caller, south: Caller):
    beat = SendNodeHeartbeatRequest(node=north.node, heartbeat_interval=30)
    for shown in ("", south.shown, "%%%", north.shown[:-4]):
        status, why = north.say("send-node-heartbeat", beat, **{KEY_HEADER: shown})
        assert (status, b"header" in why) == (401, True)
    assert north.say("send-node-heartbeat", beat)[0] == 200


def speaking_for(node: Node, caller: Caller) -> dict[str, object]:
    return {
        "activate-node": ActivateNodeRequest(public_key=pem_of(caller.client.keys.transport_public), heartbeat_interval=30),
        "deactivate-node": DeactivateNodeRequest(node_id=node.node_id),
        "send-node-heartbeat": SendNodeHeartbeatRequest(node=node, heartbeat_interval=30),
        "pull-messages": PullMessagesRequest(node=node),
        "push-messages": PushMessagesRequest(node=node),
        "get-run": GetRunRequest(node=node, run_id=1),
        "push-object": PushObjectRequest(node=node, run_id=1),
        "pull-object": PullObjectRequest(node=node, run_id=1),
        "confirm-message-received": ConfirmMessageReceivedRequest(node=node, run_id=1),
    }


def test_nobody_speaks_for_another_node(north: Caller, south: Caller):
    for call, request in speaking_for(south.node, south).items():
        status, why = north.say(call, request)
        assert (status, b"another node" in why) == (401, True), call


def asked(fed: Federation, caller: Caller) -> tuple[DirectGrid, str, Message]:
    """A message of a run that waits for the caller, as the caller gets it."""
    grid = DirectGrid(fed.engine.link, fed.engine.link.start_run("noop"))
    content = RecordDict({"arrays": arrays.own({"w": np.ones(3, np.float32)})})
    (message_id,) = grid.push_messages([Message(content, caller.number, "train")])
    said = PullMessagesResponse.FromString(caller.say("pull-messages", PullMessagesRequest(node=caller.node))[1])
    return grid, message_id, message_from_proto(said.messages_list[0])


def offer(caller: Caller, parcel, node: int | None = None) -> tuple[int, bytes]:
    said = PullMessagesResponse.FromString(parcel.head_bytes())
    if node is not None:
        said.messages_list[0].metadata.src_node_id = node
    request = PushMessagesRequest(
        node=caller.node, messages_list=said.messages_list, message_object_trees=said.message_object_trees
    )
    return caller.say("push-messages", request)


def reply(message: Message) -> Message:
    return Message(RecordDict({"arrays": arrays.own({"w": np.zeros(3, np.float32)})}), reply_to=message)


def test_an_answer_in_anothers_name_is_refused(fed: Federation, north: Caller, south: Caller):
    _, _, message = asked(fed, south)
    parcel = pack(reply(message))
    status, why = offer(north, parcel)
    assert (status, b"another sender" in why) == (401, True)
    assert offer(north, parcel, north.number)[0] == 200  # under its own name Flower takes it for no answer to this message
    assert not fed.engine.link.state.num_message_res()


def upload(caller: Caller, parcel: Parcel, objects: dict[str, bytes]) -> list[bool]:
    """Offer an answer and send its objects; which of them were taken."""
    status, said = offer(caller, parcel)
    assert status == 200
    told = PushMessagesResponse.FromString(said)
    taken = []
    for name in told.objects_to_push:
        request = PushObjectRequest(
            node=caller.node,
            run_id=parcel.head.metadata.run_id,
            session_id=told.session_id,
            object_id=name,
            object_content=objects[name],
        )
        status, said = caller.say("push-object", request)
        assert status == 200
        taken.append(PushObjectResponse.FromString(said).stored)
    return taken


def test_an_object_that_is_not_what_its_name_says_is_not_taken(fed: Federation, north: Caller):
    grid, message_id, message = asked(fed, north)
    parcel = pack(reply(message))
    changed = {name: content.replace(b"float32", b"float64") for name, content in parcel.objects.items()}
    assert upload(north, parcel, changed).count(False) == sum(changed[each] != parcel.objects[each] for each in changed) > 0
    assert list(grid.borrow_messages([message_id])) == []
    assert all(upload(north, parcel, dict(parcel.objects)))
    assert [got.has_content() for got in grid.borrow_messages([message_id])] == [True]


@pytest.mark.parametrize("path", list(PATHS))
def test_a_body_over_its_calls_limit_is_refused_unread(north: Caller, path: str):
    status, why = north.raw("POST", path, **{KEY_HEADER: north.shown, "content-length": str(PATHS[path] + 1)})
    assert (status, b"allowed" in why) == (413, True)


@pytest.mark.parametrize("path", [path for path in PATHS if path not in (FLEET + "get-fab", OWN + "take")])
def test_what_is_no_request_is_refused(north: Caller, path: str):
    assert north.raw("POST", path, b"\xff\xff\xff", **{KEY_HEADER: north.shown})[0] in (400, 401)


@pytest.mark.parametrize("call", list(MOST_OWN))
def test_our_own_calls_ask_for_the_same_proofs(fed: Federation, north: Caller, south: Caller, call: str):
    assert north.raw("POST", OWN + call, **{KEY_HEADER: south.shown})[0] == 401
    assert north.raw("POST", OWN + call)[0] == 401
    stranger = Caller(fed, fed.authority.client("stranger"), 5)
    status, why = stranger.raw("POST", OWN + call, **{KEY_HEADER: stranger.shown})
    assert (status, b"stranger is not admitted" in why) == (401, True)


def test_calls_about_runs_that_are_not_there_are_refused(north: Caller):
    node = north.node
    assert north.say("get-run", GetRunRequest(node=node, run_id=5))[0] == 400
    assert north.say("pull-object", PullObjectRequest(node=node, run_id=5, object_id="a" * 64))[0] == 400
    assert north.say("confirm-message-received", ConfirmMessageReceivedRequest(node=node, run_id=5))[0] == 400


def test_a_member_that_is_not_admitted_is_refused_with_the_reason(fed: Federation):
    stranger = Caller(fed, fed.authority.client("stranger"), 5)
    status, why = stranger.say("activate-node", activation(stranger))
    assert (status, b"stranger is not admitted" in why) == (401, True)


def test_a_revoked_member_is_cut_off_at_once_even_while_it_waits(fed: Federation, north: Caller):
    with waiting(north, OWN + "take") as told:
        fed.engine.link.revoke(north.number)
    assert told[0][0] == 401
    assert north.say("activate-node", activation(north))[0] == 401
    with pytest.raises(FederationError, match="needs new keys"):
        fed.engine.link.register(north.client.keys.transport_public)


@pytest.mark.parametrize("path", [OWN + "take", FLEET + "pull-messages"])
def test_a_member_that_the_roll_admits_no_more_is_cut_off_while_it_waits(fed: Federation, north: Caller, path: str):
    body = PullMessagesRequest(node=north.node).SerializeToString() if path.startswith(FLEET) else b""
    with waiting(north, path, body) as told:
        fed.roll.admitted.discard(north.client.keys.fingerprint)
    assert (told[0][0], b"not admitted" in told[0][1]) == (401, True)


@contextmanager
def waiting(caller: Caller, path: str, body: bytes = b""):
    """A question that is held while the block is entered, and answered when it is left; the answer is in the list."""
    told = []
    asking = threading.Thread(target=lambda: told.append(caller.raw("POST", path, body, **{KEY_HEADER: caller.shown})))
    asking.start()
    threading.Event().wait(0.3)
    yield told
    asking.join()


def test_a_killed_node_is_let_in_again_at_once(north: Caller):
    assert north.say("activate-node", activation(north))[0] == 200


def test_a_message_is_handed_out_again_until_it_is_confirmed(fed: Federation, north: Caller):
    _, message_id, message = asked(fed, north)
    pull = PullMessagesRequest(node=north.node)
    again = PullMessagesResponse.FromString(north.say("pull-messages", pull)[1])
    assert again.messages_list[0].metadata.message_id == message_id
    run = message.metadata.run_id
    confirm = ConfirmMessageReceivedRequest(node=north.node, run_id=run, message_object_id=message_id)
    assert north.say("confirm-message-received", confirm)[0] == 200
    fed.engine.fence.close()  # holds no question any more
    assert north.say("pull-messages", pull) == (200, b"")


def test_a_clinics_made_up_answer_is_an_error_of_that_clinic(fed: Federation, north: Caller):
    grid, message_id, message = asked(fed, north)
    made_up = reply(message)
    made_up.content["arrays"]["w"].data = b"no array at all"
    parcel = as_it_is(made_up)
    assert all(upload(north, parcel, dict(parcel.objects)))
    (got,) = Transport(grid, SystemClock()).receive([message_id], 1)
    assert got.error is not None
    assert "cannot be read" in got.error


def as_it_is(message: Message) -> Parcel:
    objects = {name: each.deflate() for name, each in get_all_nested_objects(message).items()}
    tree = get_object_tree(message)
    identity.set_message_id(message, tree.object_id)
    return Parcel(remove_content_from_message(message), tree, objects)


def test_a_member_named_like_the_host_is_not_the_center(tmp_path: Path):
    """One authority signs for all; what a member is called must not make it a server."""
    authority = Authority(tmp_path / "ca")
    liar, victim = authority.client("localhost"), authority.client("north")
    tls = Tls(liar.chain_pem, liar.key_pem, authority.pem)
    door = Door("localhost:1", authority.pem, victim.chain_pem, victim.key_pem)
    careless = door.context()
    careless.hostname_checks_common_name = True
    with Listener(_nothing, tls, "127.0.0.1", 0) as listener:
        for shaking, is_fooled in ((careless, True), (door.context(), False)):
            with socket.create_connection(("127.0.0.1", listener.port)) as plain:
                if is_fooled:
                    shaking.wrap_socket(plain, server_hostname="localhost").close()
                    continue
                with pytest.raises(ssl.SSLCertVerificationError, match=r"(?i)hostname mismatch"):
                    shaking.wrap_socket(plain, server_hostname="localhost")


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, 200, b"")
