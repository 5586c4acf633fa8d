from __future__ import annotations

import pytest

from fedmed.errors import ProtocolRefused, QuotaRefused
from fedmed.hub import client
from fedmed.hub.client import HubClient
from fedmed.hub.messages import MOST_BODY, MOST_HEAD, Message, encoded
from fedmed.hub.tls import grpc
from fedmed.identity.issuing import certificate_pem
from tests.hub.clinic import piece_of, serving


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("hub")) as found, found.client("echo") as device:
        yield found, device


@pytest.fixture
def place(hub):
    """With nothing written down yet."""
    hub[0].events.clear()
    hub[0].hub.calls._noted.clear()
    return hub[0]


@pytest.fixture
def device(hub):
    return hub[1]


def raw(device: HubClient, method: str, content: bytes):
    with pytest.raises(grpc.RpcError) as found:
        device._channel.unary_unary(f"/{client.SERVICE}/{method}")(content, timeout=60)
    return client._error_of(found.value)


GOOD = {"device": "echo", "version": "0.1"}
PIECE = piece_of(b"abc").record()
BAD = [
    ("beat", b""),
    ("beat", b"fmh1"),
    ("beat", b"fmh1\xff\xff\xff\xff{}"),
    ("beat", b"fmh1\x00\x00\x00\x09{}"),
    ("beat", b"fmh1\x00\x00\x00\x02[]"),
    ("beat", b'fmh1\x00\x00\x00\x09{"a": 1 }'),
    ("beat", b"fmh1" + (40_000).to_bytes(4, "big") + b"[" * 40_000),
    ("beat", encoded(Message({}))),
    ("beat", encoded(Message({**GOOD, "facts": {}, "state": "x" * 200, "unix": 1}))),
    ("beat", encoded(Message({**GOOD, "facts": {}, "state": "idle", "unix": -1}))),
    ("beat", encoded(Message({**GOOD, "facts": {}, "state": "idle", "unix": True}))),
    ("beat", encoded(Message({**GOOD, "facts": {"x": "y" * 20_000}, "state": "idle", "unix": 1}))),
    ("offer", encoded(Message({**GOOD, "objects": 7}))),
    ("offer", encoded(Message({**GOOD, "objects": [{**PIECE, "digest": "../../etc/passwd"}]}))),
    ("offer", encoded(Message({**GOOD, "objects": [{**PIECE, "size": 1 << 60}]}))),
    ("offer", encoded(Message({**GOOD, "objects": [PIECE] * 513}))),
    ("send", encoded(Message({**GOOD, "parts": [{**PIECE, "offset": 0, "length": 4}]}, b"abc"))),
    ("send", encoded(Message({**GOOD, "parts": [{**PIECE, "offset": 1.0, "length": 3}]}, b"abc"))),
    ("fetch", encoded(Message({**GOOD, "digest": "x", "offset": 0}))),
    ("renew", encoded(Message(GOOD, b"no request"))),
]


@pytest.mark.parametrize(("method", "content"), BAD, ids=map(str, range(len(BAD))))
def test_a_malformed_message_is_refused_by_name(place, device, method, content):
    assert isinstance(raw(device, method, content), ProtocolRefused)
    assert place.refusals() == [("device echo", "message")]
    device.beat("idle", {})
    assert not place.kept


def test_a_message_too_large_or_an_unknown_call_goes_no_further_than_grpc(device):
    assert isinstance(raw(device, "gossip", encoded(Message(GOOD))), ProtocolRefused)
    options = [("grpc.ssl_target_name_override", "hub.fedmed.invalid"), ("grpc.max_send_message_length", -1)]
    with HubClient(device.folder) as large:
        folder = large.folder
        secrets = certificate_pem(folder.authority()), folder.keys().transport_pem(), certificate_pem(folder.certificate())
        large._channel.close()
        large._channel = grpc.secure_channel(f"127.0.0.1:{folder.hub.port}", grpc.ssl_channel_credentials(*secrets), options)
        assert isinstance(raw(large, "send", bytes(MOST_HEAD + MOST_BODY + 9)), QuotaRefused)
