"""A tap on the wire itself: a run on Flower's SuperLink and SuperNodes, and every byte that a site's SuperNode says.

The searches are those of `test_wire_tap`. A control sends through the same recorder what a site must not tell; another is
the same run without masks. It takes half a minute of two cores; `test_wire_tap` listens to whole runs in the suite.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import numpy as np
import pytest
from flwr.app import Message, MetricRecord, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_to_proto
from flwr.proto.fleet_pb2 import PushMessagesRequest
from flwr.proto.message_pb2 import PushObjectRequest
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supernode.fleet_http_client import FleetHttpClient

from fedmed.config.loading import parse
from fedmed.flower import identity, keys, transport
from fedmed.flower.arrays import own
from fedmed.simulate import engines
from fedmed.simulate.run import Request, simulate
from tests.attacks.secagg import tap as search
from tests.attacks.secagg import watched
from tests.attacks.secagg.live import LOOK_S, Live
from tests.attacks.secagg.recorder import CUT, Recorder, requests, said_by
from tests.attacks.secagg.tap import Said
from tests.attacks.secagg.tapped import SCENARIO, SIZES, cases, counts, measures, of_kind, vectors
from tests.attacks.secagg.watched import Secret

pytestmark = pytest.mark.nightly
SITES = list(SIZES)[:3]
OFF = "privacy.secure_aggregation=off"
PATHS = {"register-node", "activate-node", "deactivate-node", "unregister-node", "send-node-heartbeat", "get-run", "get-fab"}
PATHS |= {"pull-messages", "pull-object", "confirm-message-received", "push-messages"}
KINDS = {keys.DESCRIBE: 1, keys.MEMBER: 1, keys.CENSUS: 1, "train": 2, "evaluate": 2, keys.PROTOCOL: 3 + 2 * 5}
ITS_OWN = {"host", "content-length", "flwr-public-key", "flwr-timestamp", "flwr-signature"}  # headers that differ


@dataclass(frozen=True)
class Heard:
    streams: list[list[bytes]]
    """By site and connection."""
    said: list[list[Said]]
    secrets: list[list[Secret]]

    def sites(self) -> Iterator[tuple[list[Secret], list[Said]]]:
        """What each site knew, and all that it said in one piece, so that nothing is missed where it was cut."""
        return ((secrets, [joined(said)]) for secrets, said in zip(self.secrets, self.said, strict=True))

    def in_bodies(self, *kinds: str) -> list[Said]:
        """Without the heads, and of these kinds alone where any is named."""
        return [replace(each, head=b"") for said in self.said for each in said if not kinds or each.kind in kinds]


@pytest.fixture(scope="module")
def runs(simulated, tmp_path_factory) -> Callable[..., Heard]:
    """Tapped runs, each once."""

    def hear(*overrides: str) -> Heard:
        folder = tmp_path_factory.mktemp("live")
        live = Live(folder)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engines, "run", live.run)
            patch.setattr(transport, "POLL_S", LOOK_S)
            scenario = parse(SCENARIO, "live.yaml", ("rounds=2", *overrides))
            assert simulate(Request(scenario, cases(folder, SITES), folder / "run"))["status"] == "complete"
        said = [said_by(site, streams) for site, streams in enumerate(live.streams)]
        return Heard(live.streams, said, [watched.secrets_of(folder / "run", site) for site in range(len(SITES))])

    return lru_cache(hear)


@pytest.fixture
def masked(runs) -> Heard:
    return runs()


def test_every_byte_is_a_request_and_every_request_is_known(masked):
    for streams, said in zip(masked.streams, masked.said, strict=True):
        assert sum(len(each.head) + len(each.memory) for each in said) == sum(map(len, streams))
        assert {each.kind for each in said} - {CUT} == PATHS | set(KINDS)


def test_every_message_is_heard(masked):
    for said in masked.said:
        pushed = [PushMessagesRequest.FromString(each.memory) for each in said if each.kind == "push-messages"]
        assert Counter(message.metadata.message_type for each in pushed for message in each.messages_list) == KINDS


def test_heads_are_the_same_whatever_is_said(masked):
    heads = set()
    for request in (each for streams in masked.streams for stream in streams for each in requests(stream)):
        if request.path != CUT:
            heads.add(frozenset((name, value) for name, value in request.headers.items() if name not in ITS_OWN))
    assert len(heads) == 1


def test_the_secrets_are_telling(masked):
    for secrets in masked.secrets:
        assert len(secrets) == 5
        assert len(vectors(secrets)) > 10_000
        assert min(counts(secrets)) > 1000
        assert len(measures(secrets)) == 8


def test_no_update_leaves(masked):
    for secrets, said in masked.sites():
        assert search.hits(vectors(secrets), said) == 0


def test_no_count_leaves(masked):
    for secrets, said in zip(masked.secrets, masked.said, strict=True):
        assert search.hits(search.counts_as_bytes(counts(secrets)), said) == 0
        assert search.texts_in(map(str, counts(secrets)), as_text(said)) == []


def test_no_measure_leaves(masked):
    for secrets, said in masked.sites():
        assert search.beginnings_in(map(repr, measures(secrets)), said) == []
        assert search.hits(search.long_needles(np.array(measures(secrets))), said) == 0


def test_no_number_leaves_in_four_bytes(masked):
    needles = search.short_needles([n for each in masked.secrets for n in (*counts(each), *measures(each))])
    said = masked.in_bodies(*PATHS, *(set(KINDS) - {keys.MEMBER}))  # certificates hold dates, in digits
    assert search.hits(needles, said) < search.more_than_chance(needles, said)


def test_no_record_of_metrics_leaves(masked):
    """In protobuf a count has two or three bytes, which any key may hold: there is no record that could hold it."""
    assert not any(b"MetricRecord" in each.memory for each in masked.in_bodies())


def test_what_is_told_through_the_same_recorder_is_found(masked, sink):
    secrets = masked.secrets[0]
    trained, losses = of_kind(secrets, "train")[0], measures(secrets)
    heard = Recorder(sink)
    try:
        push(heard.port, RecordDict({"arrays": own(trained.tensors), "metrics": MetricRecord({"loss": losses[0]})}))
    finally:
        heard.close()
    said = said_by(0, [bytes(stream) for stream in heard.streams])
    assert {each.kind for each in said} == {"push-messages", "train"}
    assert search.hits(vectors([trained]), said) > 1000
    assert search.hits(search.long_needles(np.array(losses[:1])), said) == 1
    assert any(b"MetricRecord" in each.memory for each in said)


def test_a_run_that_is_not_masked_is_seen_through(masked, runs):
    plain = runs(OFF)
    for secrets, told, said in zip(masked.secrets, plain.secrets, plain.said, strict=True):
        assert search.hits(vectors(told), said) > 1000
        train = of_kind(secrets, "query.census")[0].tensors["classes"].tolist()
        assert len(search.texts_in(map(str, [sum(train), *train]), as_text(said))) == 3
        losses = [each.values["loss"] for each in of_kind(told, "train")]
        assert search.hits(search.long_needles(np.array(losses)), said) == len(losses)
        assert sum(b"MetricRecord" in each.memory for each in said) == 4


def joined(said: list[Said]) -> Said:
    return Said(said[0].node, "all", b"".join(each.head for each in said), b"".join(each.memory for each in said))


def as_text(said: list[Said]) -> list[Said]:
    """What a site says of itself, which is text; a number that stands in noise by chance is for the search of bytes."""
    return [replace(each, head=each.memory) for each in said if each.kind == keys.DESCRIBE]


class Sink(BaseHTTPRequestHandler):
    """Takes everything and says nothing."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def sink() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Sink) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def push(port: int, content: RecordDict) -> None:
    """As a SuperNode pushes an answer."""
    identity.assume(identity.SERVER_NODE)
    message = Message(content, dst_node_id=2, message_type="train")
    pushed = PushMessagesRequest(
        messages_list=[message_to_proto(remove_content_from_message(message))],
        message_object_trees=[get_object_tree(message)],
    )
    with FleetHttpClient.from_server_address(f"127.0.0.1:{port}", True, None, []) as client:
        client.PushMessages(pushed)
        for name, each in get_all_nested_objects(message).items():
            client.PushObject(PushObjectRequest(object_id=name, object_content=each.deflate()))
