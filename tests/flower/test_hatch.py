"""Our own calls, without a network: what a node gets, what it may send, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from flwr.app import Message, RecordDict

from fedmed.flower import allowance, arrays
from fedmed.flower.allowance import FREE_BYTES, FREE_OBJECTS, MOST_BYTES, MOST_OBJECTS, TIMES, Allowance
from fedmed.flower.bundles import bundle, unbundle
from fedmed.flower.calls import ANSWER, CHUNK, HEAD, MOST_OWN, RUN, SIZE
from fedmed.flower.direct import DirectGrid
from fedmed.flower.hatch import Hatch
from fedmed.flower.parcels import Parcel, head_of, ids_in, pack, unpack
from fedmed.flower.refusals import CallRefused, Node
from fedmed.flower.superlink import SuperLink
from fedmed.identity.member import MemberKeys
from tests.flower.resting import REST

LARGE = 3 * CHUNK // 8  # numbers of a tensor that is two chunks


class Center:
    """A state without a port, two nodes, and one message for the first."""

    def __init__(self, database: Path | None) -> None:
        self.link = SuperLink(database, REST)
        self.hatch = Hatch(self.link)
        self.north, self.south = self.node(), self.node()
        self.run = self.link.start_run("app")
        self.grid = DirectGrid(self.link, self.run)

    def node(self) -> Node:
        public = MemberKeys.generate().transport_public
        self.link.state.activate_node(self.link.register(public), 30)
        found = self.link.node_of(public)
        assert found is not None
        return found

    def asks(self, size: int = 3) -> str:
        content = RecordDict({"arrays": arrays.own({"w": np.ones(size, np.float32)})})
        (message_id,) = self.grid.push_messages([Message(content, self.north.number, "train")])
        return message_id

    def taken(self) -> tuple[Message, list[str], dict[str, bytes]]:
        (_, head), *objects = unbundle(self.hatch.answer("take", b"", self.north))
        said, tree = head_of(head)
        return said, ids_in(tree), dict(objects)

    def give(self, parcel: Parcel, names: list[str], node: Node | None = None, **other: bytes) -> list[str]:
        told = {SIZE: str(parcel.size).encode(), HEAD: parcel.head_bytes()} | other
        said = bundle([*told.items(), *((name, parcel.objects[name]) for name in names)])
        return [name for name, _ in unbundle(self.hatch.answer("give", said, node or self.north))]

    def more(self, parcel: Parcel, names: list[str], node: Node | None = None) -> bytes:
        said = bundle([(ANSWER, parcel.id.encode()), *((name, parcel.objects[name]) for name in names)])
        return self.hatch.answer("more", said, node or self.north)

    def fetch(self, run: int, names: list[str], node: Node | None = None) -> dict[str, bytes]:
        said = bundle([(RUN, str(run).encode()), *((name, b"") for name in names)])
        return dict(unbundle(self.hatch.answer("fetch", said, node or self.north)))


def reply(message: Message, size: int = 3) -> Parcel:
    values = np.arange(size, dtype=np.float32)
    return pack(Message(RecordDict({"arrays": arrays.own({"w": values})}), reply_to=message))


@pytest.fixture(params=[None, "state.db"])
def center(request: pytest.FixtureRequest, tmp_path: Path) -> Center:
    return Center(request.param and tmp_path / request.param)


def test_a_small_message_and_its_answer_take_one_call_each(center: Center):
    message_id = center.asks()
    head, names, objects = center.taken()
    message = unpack(head, objects)
    assert names
    parcel = reply(message)
    assert center.give(parcel, list(parcel.objects)) == []
    (got,) = center.grid.borrow_messages([message_id])
    assert np.array_equal(arrays.all_views(got.content)["w"], np.arange(3))
    assert center.hatch.answer("take", b"", center.north) == b""


def test_what_is_large_is_fetched_and_sent_by_name(center: Center):
    message_id = center.asks(LARGE)
    head, names, objects = center.taken()
    lacking = [name for name in names if name not in objects]
    assert len(lacking) == 2
    for name in lacking:
        objects |= center.fetch(center.run, [name])
    parcel = reply(unpack(head, objects), LARGE)
    small = [name for name, content in parcel.objects.items() if len(content) < 1_000]
    first, second = center.give(parcel, small)
    assert list(center.grid.borrow_messages([message_id])) == []
    center.more(parcel, [first])
    assert center.give(parcel, small) == [second]
    center.more(parcel, [second])
    assert [got.has_content() for got in center.grid.borrow_messages([message_id])] == [True]


def test_a_message_is_taken_again_until_an_answer_is_announced(center: Center):
    message_id = center.asks()
    assert [center.taken()[0].metadata.message_id for _ in range(2)] == [message_id] * 2
    parcel = reply(center.taken()[0])
    center.give(parcel, [])
    assert center.hatch.answer("take", b"", center.north) == b""


def test_nobody_fetches_what_was_sent_to_another(center: Center):
    center.asks(LARGE)
    _, names, _ = center.taken()
    with pytest.raises(CallRefused, match="not of the message") as caught:
        center.fetch(center.run, names, center.south)
    assert caught.value.status == 410


def test_nobody_answers_for_another(center: Center):
    center.asks()
    parcel = reply(center.taken()[0])
    with pytest.raises(CallRefused, match="another sender") as caught:
        center.give(parcel, [], center.south)
    assert caught.value.status == 401
    center.give(parcel, [])
    with pytest.raises(CallRefused, match="announced again") as caught:
        center.more(parcel, list(parcel.objects), center.south)
    assert caught.value.status == 409


def test_an_answer_that_nobody_asked_for_leaves_nothing_behind(center: Center):
    center.asks()
    message = center.taken()[0]
    parcel = reply(message)
    center.link.forget([message.metadata.message_id])
    assert center.give(parcel, list(parcel.objects)) == []
    assert len(center.link.objects) == 0


def test_an_answer_over_its_allowance_is_refused_with_the_figures(center: Center):
    center.asks()
    parcel = reply(center.taken()[0])
    before = len(center.link.objects)
    with pytest.raises(CallRefused, match=f"{MOST_BYTES + 1} bytes in {len(parcel.objects)} objects") as caught:
        center.give(parcel, [], size=str(MOST_BYTES + 1).encode())
    assert caught.value.status == 413
    assert (len(center.link.objects), center.link.state.num_message_res()) == (before, 0)


@pytest.mark.parametrize("said", [b"-1", b"10"])
def test_who_sends_more_than_was_announced_is_refused_and_leaves_nothing(center: Center, said: bytes):
    center.asks()
    parcel = reply(center.taken()[0])
    before = len(center.link.objects)
    with pytest.raises(CallRefused, match="more bytes") as caught:
        center.give(parcel, list(parcel.objects), size=said)
    assert caught.value.status == 413
    assert len(center.link.objects) == before


def test_an_answer_of_too_many_objects_is_refused_on_flowers_path_too(center: Center, monkeypatch: pytest.MonkeyPatch):
    from flwr.proto.fleet_pb2 import PullMessagesResponse, PushMessagesRequest
    from flwr.proto.node_pb2 import Node as Sender

    monkeypatch.setattr(allowance, "FREE_OBJECTS", -100)
    center.asks()
    parcel = reply(center.taken()[0])
    both = PullMessagesResponse.FromString(parcel.head_bytes())
    request = PushMessagesRequest(
        node=Sender(node_id=center.north.number),
        messages_list=both.messages_list,
        message_object_trees=both.message_object_trees,
    )
    with pytest.raises(CallRefused, match="allowed are") as caught:
        center.link.answer("push-messages", request.SerializeToString(), center.north)
    assert caught.value.status == 413


def test_the_allowance_follows_from_what_was_sent_up_to_a_limit():
    assert Allowance.after(100, 5) == Allowance(TIMES * 100 + FREE_BYTES, TIMES * 5 + FREE_OBJECTS)
    assert Allowance.after(MOST_BYTES, MOST_OBJECTS) == Allowance(MOST_BYTES, MOST_OBJECTS)
    assert Allowance(10, 2).reason_against(10, 2) is None
    assert Allowance(10, 2).reason_against(11, 2) is not None
    assert Allowance(10, 2).reason_against(10, 3) is not None


def test_an_object_that_the_tree_does_not_name_or_that_is_another_is_refused(center: Center):
    center.asks()
    message = center.taken()[0]
    parcel, other = reply(message), reply(message, 5)
    foreign = next(name for name in other.objects if name not in parcel.objects)
    with pytest.raises(CallRefused, match="does not name"):
        center.give(Parcel(parcel.head, parcel.tree, {**parcel.objects, foreign: other.objects[foreign]}), [foreign])
    first = next(iter(parcel.objects))
    with pytest.raises(CallRefused) as caught:
        center.give(Parcel(parcel.head, parcel.tree, {**parcel.objects, first: other.objects[foreign]}), [first])
    assert caught.value.status == 400


def test_a_run_that_is_over_takes_no_answer_and_gives_no_object(center: Center):
    center.asks(LARGE)
    head, names, _ = center.taken()
    center.link.end_run(center.run)
    for call in (lambda: center.give(reply(head), []), lambda: center.fetch(center.run, names)):
        with pytest.raises(CallRefused, match="the run is over") as caught:
            call()
        assert caught.value.status == 403


def test_an_answer_that_was_begun_before_the_center_was_killed_is_announced_again_and_continued(tmp_path: Path):
    center = Center(tmp_path / "state.db")
    message_id = center.asks(LARGE)
    parcel = reply(center.taken()[0], LARGE)
    lacking = center.give(parcel, [])
    large = [name for name in lacking if len(parcel.objects[name]) > 100_000]
    center.more(parcel, large[:1])
    center.link, numbers = SuperLink(tmp_path / "state.db", REST), center.north
    center.hatch, center.grid = Hatch(center.link), DirectGrid(center.link, center.run)
    center.link.take_up(center.run)
    center.grid.expect({message_id: numbers.number})
    with pytest.raises(CallRefused, match="announced again"):
        center.more(parcel, large[1:])
    left = center.give(parcel, [])
    assert set(left) == set(lacking) - set(large[:1])
    center.more(parcel, left)
    assert [got.has_content() for got in center.grid.borrow_messages([message_id])] == [True]


@pytest.mark.parametrize("call", [call for call in MOST_OWN if call != "take"])
@pytest.mark.parametrize("body", [b"", b"\xff" * 20, bundle([("run", b"x")]), bundle([(HEAD, b"\xff"), (SIZE, b"1")])])
def test_what_is_no_request_is_refused(center: Center, call: str, body: bytes):
    with pytest.raises(CallRefused):
        center.hatch.answer(call, body, center.north)
