"""What we rely on in Flower's private parts: when Flower moves, this file says which part moved.

Each of these is used in `fedmed.flower` alone: superlink, opening, objects, hatch, calls, parcels, direct, node, identity.
"""

from __future__ import annotations

import inspect
from pathlib import Path

import flwr
import numpy as np
import pytest
from cryptography.hazmat.primitives.serialization import load_der_public_key
from flwr.app import Error, Message, RecordDict
from flwr.common.serde import run_to_proto
from flwr.supercore.corestate import in_memory_corestate, sql_corestate
from flwr.supercore.inflatable.inflatable_object import get_object_id
from flwr.supercore.object_store import ObjectStore
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supercore.protobuf.translation import PROTOBUF_REQUEST_TYPES
from flwr.superlink.servicer.fleet import fleet_handlers
from sqlalchemy import text

from fedmed.flower import arrays, identity
from fedmed.flower.calls import CHUNK, FLEET, REQUESTS, pem_of
from fedmed.flower.direct import DirectGrid
from fedmed.flower.parcels import head_of, ids_in, pack, unpack
from fedmed.flower.superlink import UPLOAD_S, WITH_STORE, SuperLink
from fedmed.identity.member import MemberKeys
from tests.flower.resting import REST

CORE = """
acknowledge_node_heartbeat activate_node activate_task claim_task cleanup_run create_node create_run deactivate_node
delete_messages delete_node finish_task get_message_ids_from_run_id get_message_ins get_message_res
get_node_id_by_public_key get_nodes get_run_info get_run_status object_store start_session store_message_and_object_tree
store_message_ins store_message_res store_object
"""
STORE = "preregister get_object_tree put get delete delete_objects_in_run clear __contains__ __len__"


@pytest.fixture(params=[None, "state.db"])
def link(request: pytest.FixtureRequest, tmp_path: Path):
    return SuperLink(request.param and tmp_path / request.param, REST)


def test_this_is_the_flower_that_was_read():
    assert flwr.__version__.startswith("1.41.")


def test_the_state_has_the_methods_that_are_called(link: SuperLink):
    assert [name for name in CORE.split() if not hasattr(link.state, name)] == []


def test_the_state_takes_a_store_of_ours_and_a_store_has_no_other_methods_than_ours_has(link: SuperLink):
    assert link.state.object_store is link.objects
    assert ObjectStore.__abstractmethods__ == set(STORE.split())


def test_a_state_on_the_disk_is_synced_with_every_transaction_and_is_one_with_the_session(tmp_path: Path):
    link = SuperLink(tmp_path / "state.db", REST)
    with link.turn(), link.state.session() as inner:  # type: ignore[attr-defined]
        assert inner.execute(text("PRAGMA synchronous")).scalar() == 2
        assert inner.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        with link.state.session() as again:  # type: ignore[attr-defined]
            assert again is inner


def test_messages_in_our_queues_are_delivered_to_flower_and_taken_up_again(link: SuperLink):
    node = link.register(MemberKeys.generate().transport_public)
    run = link.start_run("app")
    (asked,) = DirectGrid(link, run).push_messages([message(node=node)])
    assert link.state.get_message_ins(node_id=node, limit=1) == []
    link.take_up(run)
    assert [each.metadata.message_id for each in link.state.get_message_ins(node_id=node, limit=1)] == [asked]


def test_every_call_of_a_node_is_one_of_flowers_and_has_a_handler():
    for call, kind in REQUESTS.items():
        assert PROTOBUF_REQUEST_TYPES["POST", FLEET + call] is kind
        if call == "pull-messages":  # answered from our own queues
            continue
        wanted = {"request", "state", "store"} if call in WITH_STORE else {"request", "state"}
        assert set(inspect.signature(getattr(fleet_handlers, call.replace("-", "_"))).parameters) == wanted


def test_the_other_calls_of_the_fleet_are_those_that_register_and_remove():
    of_flower = {path.removeprefix(FLEET) for _, path in PROTOBUF_REQUEST_TYPES if path.startswith(FLEET)}
    assert of_flower - REQUESTS.keys() == {"register-node", "unregister-node"}


def test_half_sent_answers_are_kept_longer_than_flower_keeps_them():
    for module in (in_memory_corestate, sql_corestate):
        assert module.OBJECT_PUSH_SESSION_TTL_SECONDS == UPLOAD_S
        assert "OBJECT_PUSH_SESSION_TTL_SECONDS" in inspect.getsource(module.__dict__[_state_of(module)].start_session)


def _state_of(module: object) -> str:
    return "InMemoryCoreState" if module is in_memory_corestate else "SqlCoreState"


def test_a_key_is_written_as_flower_writes_it():
    public = MemberKeys.generate().transport_public
    assert pem_of(public) == public_key_to_bytes(load_der_public_key(public))  # type: ignore[arg-type]


def test_a_run_is_under_way_at_once_and_does_not_end_by_itself(link: SuperLink):
    run = link.start_run("clinic app")
    found = link.state.get_run_info(run_ids=[run])[0]
    assert (found.status.status, found.fab_id, run_to_proto(found).fab_hash) == ("running", "clinic app", "")
    if hasattr(link.state, "task_token_store"):
        assert not link.state.task_token_store
    link.end_run(run)
    assert link.state.get_run_info(run_ids=[run])[0].status.status == "finished"


def message(*sizes: int, node: int = 7) -> Message:
    values = {f"w{number}": np.arange(size, dtype=np.float32) for number, size in enumerate(sizes)}
    identity.assume(identity.SERVER_NODE, 3)
    return Message(RecordDict({"arrays": arrays.borrow(values)}), node, "train")


@pytest.mark.parametrize("sizes", [(), (0,), (10, 10), (CHUNK // 4 + 3, 5)])
def test_a_message_is_the_same_after_its_way_through_objects(sizes: tuple[int, ...]):
    sent = message(*sizes)
    parcel = pack(sent)
    assert {name: get_object_id(content) for name, content in parcel.objects.items()} == {n: n for n in parcel.objects}
    head, tree = head_of(parcel.head_bytes())
    assert set(ids_in(tree)) == set(parcel.objects)
    assert max(map(len, parcel.objects.values())) <= CHUNK + 200
    got = unpack(head, dict(parcel.objects))
    assert got.metadata.message_id == parcel.id
    assert (got.metadata.run_id, got.metadata.dst_node_id) == (3, 7)
    there, here = arrays.all_views(got.content), arrays.all_views(sent.content)
    assert there.keys() == here.keys()
    assert all(np.array_equal(there[name], here[name]) for name in here)


def test_an_error_travels_in_the_head_alone():
    asked = message()
    identity.set_message_id(asked, "a" * 64)
    parcel = pack(Message(Error(2, "no"), reply_to=asked))
    head, tree = head_of(parcel.head_bytes())
    assert (head.error.reason, ids_in(tree)) == ("no", [parcel.id])
