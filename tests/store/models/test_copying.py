from __future__ import annotations

import shutil
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.identity.modelkey import ModelKey
from fedmed.store.blobs import FolderStore
from fedmed.store.models.copying import STATE, Copier, planned, state_of
from fedmed.store.models.index import MODEL, Entry, File, Index
from fedmed.store.models.registry import Registry
from fedmed.store.models.retention import Retention
from fedmed.store.models.shelf import Shelf
from tests.store.models.shelves import KEY, SEALED, Hours, committed, filled, model, registry

s3 = pytest.importorskip("fedmed.store.s3")
bucket_module = pytest.importorskip("tests.store.bucket")


@pytest.fixture
def bucket():
    with bucket_module.serving() as served:
        yield served


def index_of(names: list[str]) -> Index:
    return Index(1, tuple(Entry("a", n, 0.0, None, "", True, {MODEL: File(name, name, 1)}) for n, name in enumerate(names)))


blobs = st.lists(st.sampled_from("abcdefgh"), unique=True)


@given(blobs, blobs, blobs, st.dictionaries(st.sampled_from("abcdefghxyz"), st.integers(0, 2)))
def test_a_plan_sends_what_is_missing_and_touches_nothing_of_others(names, old, extra, there):
    here = dict.fromkeys([*names, *extra], 1)
    plan = planned(index_of(names), here, there, index_of(old))
    assert set(plan.send) == {name for name in names if there.get(name) != 1}
    assert set(plan.remove) == (set(old) & there.keys()) - set(names)
    assert planned(index_of(names), here, there, None).remove == ()


def test_a_registry_is_copied_and_read_from_the_copy(tmp_path, bucket):
    made = filled(tmp_path / "models", 3)
    store = s3.S3Store(bucket.place(tmp_path))
    copier = Copier(made, store, Hours(7.0), pytest.fail)
    assert copier.turn().copied_unix == 7.0
    assert state_of(tmp_path / "models") == copier.backlog
    shelf = Shelf(store, SEALED, KEY.public)
    for entry in made.index().entries:
        shelf.verify(entry)
    shelf.export(shelf.find("study:2"), tmp_path / "out")
    sent = bucket.sent()
    assert not copier.turn().error
    assert bucket.sent() == sent  # what is there is not sent again
    made.prune(Retention(last=1, best=0))
    assert not copier.turn().error
    assert len(store.names()) == 4
    assert store.names().keys() == made.store.names().keys()


def test_a_cut_is_told_once_and_goes_on_with_what_is_missing(tmp_path, bucket):
    made, said = filled(tmp_path / "models", 3), []
    copier = Copier(made, s3.S3Store(bucket.place(tmp_path)), Hours(), said.append)
    bucket.fails_after = 4
    for _ in range(2):
        backlog = copier.turn()
        assert (backlog.blobs, backlog.copied_unix) == (5, None)
        assert backlog.bytes > 0
        assert "SlowDown" in backlog.error
    assert len(said) == 1
    bucket.fails_after = None
    bucket.asked.clear()
    assert not copier.turn().error
    assert sum(method == "PUT" for method, _, _ in bucket.asked) == 6  # five, and the index
    assert said[1:] == ["models are copied again"]


@pytest.mark.parametrize("look_s", [0.05, 3600])
def test_in_the_background(tmp_path, look_s):
    made, done = filled(tmp_path / "models", 1), threading.Event()

    class Watched(FolderStore):
        def put(self, name, source, size):
            super().put(name, source, size)
            if name == "index":
                done.set()

    copier = Copier(made, Watched(tmp_path / "copy"), Hours(), pytest.fail, look_s)
    copier.start()
    assert done.wait(60)
    done.clear()
    made.commit(committed(2), model(2))
    if look_s > 60:
        copier.poke()
    assert done.wait(60)
    copier.stop()
    assert (tmp_path / "copy" / "index").read_bytes() == (tmp_path / "models" / "index").read_bytes()
    copier.stop()


def test_nothing_is_written_over_another_registry_a_newer_copy_or_an_altered_list(tmp_path):
    made, store = filled(tmp_path / "models", 1), FolderStore(tmp_path / "copy")
    shutil.copytree(tmp_path / "models", tmp_path / "older")
    made.commit(committed(2), model(2))
    assert not Copier(made, store, Hours(), pytest.fail).turn().error
    before = {path.name: path.read_bytes() for path in (tmp_path / "copy").iterdir()}
    older = registry(tmp_path / "older")
    assert "the copy is newer" in Copier(older, store, Hours(), print).turn().error
    other = Registry(tmp_path / "other", SEALED, ModelKey.generate(), Hours(), "federation")
    assert "key for models signed" in Copier(other, store, Hours(), print).turn().error
    assert {path.name: path.read_bytes() for path in (tmp_path / "copy").iterdir()} == before
    (tmp_path / "copy" / "index").write_bytes(b"")
    assert "index" in Copier(made, store, Hours(), print).turn().error


def test_a_state_that_cannot_be_read_is_none(tmp_path):
    assert state_of(tmp_path) is None
    for content in ("", "[]", '{"x": 1}'):
        (tmp_path / STATE).write_text(content)
        assert state_of(tmp_path) is None
