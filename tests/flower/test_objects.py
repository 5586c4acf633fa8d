"""Objects as files, against Flower's own store in memory: the same answers, also after a restart; and what a kill leaves."""

from __future__ import annotations

import random
import sqlite3
import tempfile
from pathlib import Path

import pytest
from flwr.app import ConfigRecord, RecordDict
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.object_store import NoObjectInStoreError
from flwr.supercore.object_store.in_memory_object_store import InMemoryObjectStore
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.flower.objects import SMALL, FileStore
from fedmed.flower.parcels import ids_in
from tests.flower.resting import REST


def record(*sizes: int) -> tuple[ObjectTree, dict[str, bytes]]:
    """A tree of small and large objects; those of one size are the same in every tree."""
    content = RecordDict({f"part {size}": ConfigRecord({"bytes": bytes(size)}) for size in sizes})
    content["own"] = ConfigRecord({"sizes": list(sizes)})
    return get_object_tree(content), {name: each.deflate() for name, each in get_all_nested_objects(content).items()}


SIZES = (0, 10, SMALL + 1, 2 * SMALL)
RECORDS = [record(*sizes) for sizes in [(0,), (10,), (0, SMALL + 1), (SMALL + 1, 2 * SMALL), (10, 2 * SMALL)]]
STEPS = st.lists(
    st.tuples(st.sampled_from(["register", "put", "delete", "reopen"]), st.integers(0, 4), st.integers(0, 3)),
    max_size=25,
)


def put(store: FileStore | InMemoryObjectStore, name: str, content: bytes) -> str:
    try:
        store.put(name, content)
    except NoObjectInStoreError:
        return "not registered"
    return "kept"


@given(STEPS)
@settings(max_examples=60, deadline=None)
def test_it_answers_as_flowers_own_store_does_and_forgets_nothing_when_it_is_opened_again(steps):
    with tempfile.TemporaryDirectory() as folder:
        store, expected = FileStore(Path(folder), REST), InMemoryObjectStore()
        for what, which, part in steps:
            tree, objects = RECORDS[which]
            if what == "register":
                assert sorted(store.preregister(part, tree)) == sorted(set(expected.preregister(part, tree)))
            elif what == "put":
                name = list(objects)[part % len(objects)]
                assert put(store, name, objects[name]) == put(expected, name, objects[name])
            elif what == "delete":
                store.delete(tree.object_id)
                expected.delete(tree.object_id)
            elif what == "reopen":
                store = FileStore(Path(folder), REST)
            for _, objects in RECORDS:
                assert {name: store.get(name) for name in objects} == {name: expected.get(name) for name in objects}
                assert [name in store for name in objects] == [name in expected for name in objects]
            assert len(store) == len(expected)
        for tree, _ in RECORDS:
            store.delete(tree.object_id)
        assert {file.name.split("-")[0] for file in Path(folder).iterdir()} == {"trees.db"}


def test_a_run_that_is_over_takes_its_objects_with_it_and_no_others(tmp_path: Path):
    store = FileStore(tmp_path, REST)
    for run, (tree, objects) in enumerate(RECORDS[2:4]):
        store.preregister(run, tree)
        store.put_all(objects)
    store.delete_objects_in_run(0)
    assert [store.is_there(name) for name in RECORDS[3][1]] == [True] * len(RECORDS[3][1])
    assert store.roots() == {RECORDS[3][0].object_id}


def test_what_a_killed_process_left_is_removed_at_the_next_start(tmp_path: Path):
    tree, objects = RECORDS[3]
    store = FileStore(tmp_path, REST)
    store.preregister(1, tree)
    store.put_all(objects)
    (tmp_path / f".{'a' * 64}.17.new").write_bytes(b"half")
    (tmp_path / ("b" * 64)).write_bytes(b"of a tree that was never kept")
    again = FileStore(tmp_path, REST)
    files = {file.name for file in tmp_path.iterdir() if file.name[:8] != "trees.db"}
    assert files == {name for name, content in objects.items() if len(content) > SMALL}
    assert [again.get(name) for name in objects] == list(objects.values())


def test_a_content_that_is_not_what_its_name_says_is_not_kept(tmp_path: Path):
    tree, objects = RECORDS[0]
    store = FileStore(tmp_path, REST)
    store.preregister(1, tree)
    one, other = list(objects)[:2]
    with pytest.raises(ValueError, match="another digest"):
        store.put(one, objects[other])
    assert store.get(one) == b""


def test_names_that_are_no_digests_never_become_files(tmp_path: Path):
    with pytest.raises(ValueError, match="Invalid object ID"):
        FileStore(tmp_path, REST).preregister(1, ObjectTree(object_id="../" + "a" * 61))


def test_what_two_messages_need_stays_until_both_are_gone(tmp_path: Path):
    store = FileStore(tmp_path, REST)
    shared = set(RECORDS[2][1]) & set(RECORDS[3][1])
    for tree, objects in RECORDS[2:4]:
        store.preregister(1, tree)
        store.put_all(objects)
    store.delete(RECORDS[2][0].object_id)
    assert shared
    assert all(store.is_there(name) for name in shared)
    store.delete(RECORDS[3][0].object_id)
    assert not any(store.is_there(name) for name in ids_in(RECORDS[3][0]))


def test_contents_lie_sealed_on_the_disk(tmp_path: Path):
    said = [ConfigRecord({"bytes": random.Random(size).randbytes(size)}) for size in (100, 2 * SMALL)]
    store = FileStore(tmp_path, REST)
    for each in said:
        store.preregister(1, get_object_tree(each))
        store.put(each.object_id, each.deflate())
        assert store.get(each.object_id) == each.deflate()
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert not any(each["bytes"][-64:] in kept for each in said)


def test_an_object_that_the_disk_damaged_is_awaited_again(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    tree, objects = RECORDS[3]
    store = FileStore(tmp_path, REST)
    store.preregister(1, tree)
    store.put_all(objects)
    large, small = (next(n for n, c in objects.items() if (len(c) > SMALL) is is_large) for is_large in (True, False))
    (tmp_path / large).write_bytes((tmp_path / large).read_bytes()[:-1])
    with sqlite3.connect(tmp_path / "trees.db") as rows:
        rows.execute("UPDATE object SET content = X'00' WHERE name = ?", (small,))
    rows.close()
    assert [store.get(name) for name in (large, small)] == [b"", b""]
    assert caplog.text.count("is sent anew") == 2
    assert sorted(store.preregister(1, tree)) == sorted([large, small])
    store.put_all({name: objects[name] for name in (large, small)})
    assert [FileStore(tmp_path, REST).get(name) for name in objects] == list(objects.values())


def test_what_the_center_sends_itself_stays_open_within_bounds_until_no_tree_names_it(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("fedmed.flower.objects.HELD", 5 * SMALL)
    store, trees = FileStore(tmp_path, REST), [RECORDS[3], record(SMALL + 2, 2 * SMALL), record(SMALL + 3, 2 * SMALL + 1)]
    for tree, objects in trees:
        store.preregister(1, tree)
        store.put_all(objects, is_own=True)
        assert sum(map(len, store._held.values())) <= 5 * SMALL
        assert [store.get(name) for name in objects] == list(objects.values())
    assert store._held
    for _, objects in trees:
        assert [FileStore(tmp_path, REST).get(name) for name in objects] == list(objects.values())
    store.delete_all([tree.object_id for tree, _ in trees])
    assert store._held == {}
