"""A node's calls to its center, Flower's and ours, as they go over the wire, outbound only."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

import httpx
from flwr.app import Message
from flwr.common.constant import HEARTBEAT_DEFAULT_INTERVAL
from flwr.common.serde import run_from_proto
from flwr.proto import fleet_pb2, heartbeat_pb2, run_pb2
from flwr.proto.message_pb2 import ObjectTree
from flwr.proto.node_pb2 import Node
from flwr.supercore.run import Run
from google.protobuf.message import DecodeError

from fedmed import __version__
from fedmed.errors import ConfigError, FederationError, ProtocolRefused
from fedmed.flower.bundles import bundle, unbundle
from fedmed.flower.calls import ANSWER, BUNDLE, FLEET, HEAD, KEY_HEADER, OWN, PROTOBUF, RUN, SIZE, pem_of
from fedmed.flower.parcels import Parcel, head_of
from fedmed.wire.skew import FIRST, HEADER, MOST_TEXT

CONNECT_S, SILENT_S = 10.0, 60.0
"""Seconds for a connection, and without a byte; the center holds a question for messages for less."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 5.0
"""Between two tries of a call: doubled from the first to the longest."""
LATER = (408, 425, 429, 500, 502, 503, 504, 507)
"""Answers of a center or a proxy that is not ready, or whose disk is full; anything else is final."""
T = TypeVar("T")
MAX_REASON = 500  # characters of a reason that somebody else gave


class CallFailed(FederationError):
    """The center serves this call to this node not at all; the text is its reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        """Of HTTP: 401 not admitted, 403 the run is over, 426 the two versions lie too far apart."""


@dataclass(frozen=True)
class Taken:
    """A message without its large objects."""

    head: Message
    tree: ObjectTree
    objects: dict[str, bytes]


class Stopped(Exception):
    """The node is to stop, and a call was given up for that."""


@dataclass(frozen=True)
class Door:
    """Where a clinic's center is, and what it is known by."""

    address: str
    """`host:port`."""
    authority_pem: Path
    chain_pem: Path
    """The clinic's own certificate."""
    key_pem: Path
    proxy: str | None = None
    """`http://host:port` of an HTTP proxy that knows CONNECT; the environment's variables are not looked at."""

    def context(self) -> ssl.SSLContext:
        """TLS 1.3 with the clinic's certificate, and with no authority but ours. Raises ConfigError for the files."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.hostname_checks_common_name = False  # a member named like the host is not the center
        try:
            context.load_verify_locations(self.authority_pem)
            context.load_cert_chain(self.chain_pem, self.key_pem)
        except OSError as error:  # ssl.SSLError is one
            raise ConfigError(
                f"{self.chain_pem}, {self.key_pem} and {self.authority_pem} are no certificate, its key and an authority "
                f"({error.strerror or error}); join the federation again"
            ) from error
        return context


class Fleet:
    """One node's calls. Each is tried until it is answered, or the node is to stop."""

    def __init__(
        self,
        door: Door,
        transport_public: bytes,
        stop: Event,
        tell: Callable[[str], None] = lambda text: None,
        met: Callable[[str], None] = lambda version: None,
        version: str = __version__,
    ) -> None:
        """`transport_public`: the node's P-384 key, DER. `tell` is given what keeps a call from its answer, once each;
        `met` the center's version with each answer. `version`: this side's.
        """
        self._key, self._stop, self._tell, self._met = pem_of(transport_public), stop, tell, met
        self._address, self._node, self._told = f"https://{door.address}", Node(), ""
        self._client = httpx.Client(
            verify=door.context(),
            proxy=door.proxy,
            trust_env=False,
            timeout=httpx.Timeout(SILENT_S, connect=CONNECT_S),
            headers={"content-type": PROTOBUF, KEY_HEADER: base64.b64encode(self._key).decode(), HEADER: version},
        )

    def activate(self) -> int:
        """Say that the node is there; returns its number. Raises CallFailed for a node that is not admitted."""
        request = fleet_pb2.ActivateNodeRequest(public_key=self._key, heartbeat_interval=HEARTBEAT_DEFAULT_INTERVAL)
        said = self._flowers("activate-node", request, fleet_pb2.ActivateNodeResponse)
        self._node = Node(node_id=said.node_id)
        return int(said.node_id)

    def leave(self) -> None:
        """Say that the node goes; one try."""
        self._try("deactivate-node", fleet_pb2.DeactivateNodeRequest(node_id=self._node.node_id))

    def beat(self) -> None:
        """Say that the node lives."""
        request = heartbeat_pb2.SendNodeHeartbeatRequest(node=self._node, heartbeat_interval=HEARTBEAT_DEFAULT_INTERVAL)
        self._flowers("send-node-heartbeat", request, heartbeat_pb2.SendNodeHeartbeatResponse)

    def take(self) -> Taken | None:
        """The next message, with its small objects; the center may hold the question for a while. None: nothing yet."""
        said = self._call(OWN + "take", b"")
        if not said:
            return None
        (_, head), *objects = said
        return Taken(*head_of(head), dict(objects))

    def run(self, run: int) -> Run:
        """What the center says of a run."""
        request = run_pb2.GetRunRequest(node=self._node, run_id=run)
        return run_from_proto(self._flowers("get-run", request, run_pb2.GetRunResponse).run)

    def fetch(self, run: int, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Objects of the message that was taken, several at once.

        Raises CallFailed where the center does not have them (any more).
        """
        left = list(names)
        while left:
            found = self._call(OWN + "fetch", bundle([(RUN, str(run).encode()), *((name, b"") for name in left)]))
            yield from found
            left = left[max(1, len(found)) :]

    def give(self, parcel: Parcel, names: Sequence[str]) -> list[str]:
        """Announce an answer and send some of its objects; its message is dealt with then. Returns what the center lacks."""
        items = [(SIZE, str(parcel.size).encode()), (HEAD, parcel.head_bytes())]
        said = self._call(OWN + "give", bundle([*items, *((name, parcel.objects[name]) for name in names)]))
        return [name for name, _ in said]

    def more(self, parcel: Parcel, names: Sequence[str]) -> None:
        """Send others of its objects. Raises CallFailed, among others 409 where it has to be announced again."""
        said = [(ANSWER, parcel.id.encode()), *((name, parcel.objects[name]) for name in names)]
        self._call(OWN + "more", bundle(said))

    def _flowers(self, call: str, request: Any, kind: Any) -> Any:
        """A call of Flower's."""
        return self._until_answered(FLEET + call, request.SerializeToString(), PROTOBUF, kind.FromString)

    def _call(self, path: str, body: bytes) -> list[tuple[str, bytes]]:
        """A call of ours."""
        return self._until_answered(path, body, BUNDLE, unbundle)

    def _until_answered(self, path: str, body: bytes, kind: str, read: Callable[[bytes], T]) -> T:
        wait = FIRST_WAIT_S
        while True:
            try:
                found = self._client.post(f"{self._address}{path}", content=body, headers={"content-type": kind})
                if found.status_code == httpx.codes.OK:
                    self._met(found.headers.get(HEADER, FIRST)[:MOST_TEXT])
                    said, self._told = read(found.content), ""
                    return said
                fault = f"the center answers {found.status_code}: {_reason(found)}"
                if found.status_code not in LATER:
                    raise CallFailed(found.status_code, fault)
            except (httpx.TransportError, DecodeError, ProtocolRefused) as error:
                fault = f"the center cannot be reached ({type(error).__name__}: {error})"
            if fault != self._told:
                self._tell(fault)
            self._told = fault
            if self._stop.wait(wait):
                raise Stopped
            wait = min(2 * wait, LONGEST_WAIT_S)

    def _try(self, call: str, request: Any) -> None:
        try:
            self._client.post(f"{self._address}{FLEET}{call}", content=request.SerializeToString(), timeout=CONNECT_S)
        except httpx.TransportError as error:
            self._tell(f"the center was not told that this node goes ({type(error).__name__})")

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _reason(found: httpx.Response) -> str:
    try:
        said = found.json()["refused"]
    except (ValueError, LookupError, TypeError):
        said = "no reason given; a proxy may have answered in the center's place"
    return str(said)[:MAX_REASON]
