"""A recorder between a SuperNode and the SuperLink: every byte that the SuperNode says, and Flower's requests in them.

Flower 1.41 talks protobuf over HTTP/1.1. A stream is cut into requests without losing a byte; what holds an object of a
message is called by that message's kind.
"""

from __future__ import annotations

import socket
import socketserver
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread

from flwr.proto.fleet_pb2 import PushMessagesRequest
from flwr.proto.message_pb2 import PushObjectRequest
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree

from tests.attacks.secagg.tap import Said

PUSH_MESSAGES, PUSH_OBJECT, CUT = "push-messages", "push-object", "cut"


class Recorder(socketserver.ThreadingTCPServer):
    """Listens on a port of its own, passes everything on to `center` and keeps what came from this side."""

    daemon_threads = False  # closing waits for them

    def __init__(self, center: int) -> None:
        super().__init__(("127.0.0.1", 0), Passing)
        self.center = center
        self.streams: list[bytearray] = []
        self._thread = Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def close(self) -> None:
        """Once the other two sides have ended."""
        self.shutdown()
        self._thread.join()
        self.server_close()


class Passing(socketserver.BaseRequestHandler):
    """One connection."""

    server: Recorder

    def handle(self) -> None:
        said = bytearray()
        self.server.streams.append(said)
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.server.center)) as center:
            back = Thread(target=_pass_on, args=(center, self.request))
            back.start()
            try:
                while data := self.request.recv(1 << 16):
                    said += data
                    center.sendall(data)
            finally:
                with suppress(OSError):
                    center.shutdown(socket.SHUT_WR)
                back.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@dataclass(frozen=True)
class Request:
    """Of HTTP; head and body are the recorded bytes."""

    path: str
    """Its last part, or `CUT`."""
    headers: dict[str, str]
    head: bytes
    body: bytes


def requests(stream: bytes) -> Iterator[Request]:
    """All of a stream; what a SuperNode was ended in the middle of is called `CUT`.

    Raises AssertionError for a body that is not sent as it is.
    """
    while stream:
        head, end, rest = stream.partition(b"\r\n\r\n")
        line, *fields = head.decode("ascii").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in fields)}
        assert not {"transfer-encoding", "content-encoding"} & set(headers), headers
        length = int(headers.get("content-length", "0"))
        if not end or len(rest) < length:
            yield Request(CUT, {}, stream, b"")
            return
        yield Request(line.split(" ")[1].rpartition("/")[2], headers, head + end, rest[:length])
        stream = rest[length:]


def said_by(node: int, streams: list[bytes]) -> list[Said]:
    """Every request of a SuperNode, head and body, and of which kind of message it is."""
    found = [each for stream in streams for each in requests(stream)]
    kinds = {}
    for pushed in (PushMessagesRequest.FromString(each.body) for each in found if each.path == PUSH_MESSAGES):
        for message, tree in zip(pushed.messages_list, pushed.message_object_trees, strict=True):
            kinds |= {each.object_id: message.metadata.message_type for each in iterate_object_tree(tree)}
    said = []
    for each in found:
        kind = kinds[PushObjectRequest.FromString(each.body).object_id] if each.path == PUSH_OBJECT else each.path
        said.append(Said(node, kind, each.head, each.body))
    return said
