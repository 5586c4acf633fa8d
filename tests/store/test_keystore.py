from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import StoreError
from fedmed.store import keystore
from fedmed.store.keystore import FileKeystore, Keystore, MemoryKeystore
from fedmed.store.unsealed import UnsealedKeystore
from tests.identity.parties import Standing

KEY = b"k" * 32


@pytest.fixture(params=["memory", "file", "unsealed"])
def store(request, tmp_path) -> Iterator[Keystore]:
    if request.param == "memory":
        yield MemoryKeystore()
        return
    if request.param == "unsealed":
        yield UnsealedKeystore(tmp_path / "clinic.state")
        return
    with FileKeystore(tmp_path / "deep" / "keystore", KEY, Standing()) as opened:
        yield opened


def test_a_new_keystore_is_empty(store):
    assert store.load() is None
    assert store.sent(1) is None


def test_a_round_from_its_masks_to_their_end(store):
    store.save(b"epoch 1")
    store.commit(1, b"after 1", b"masked 1")
    assert (store.load(), store.sent(1)) == (b"after 1", b"masked 1")
    store.save(b"confirmed 1")
    assert (store.load(), store.sent(1)) == (b"confirmed 1", b"masked 1")
    store.erase(b"epoch 1 without 1", 1)
    assert (store.load(), store.sent(1)) == (b"epoch 1 without 1", None)
    store.commit(2, b"after 2", b"masked 2")
    assert (store.sent(1), store.sent(2)) == (None, b"masked 2")


def test_a_round_has_one_message(store):
    store.commit(3, b"s", b"masked")
    for number in (0, 1, 3):
        with pytest.raises(StoreError, match="round 3 was committed or erased already"):
            store.commit(number, b"other", b"other")
    assert (store.load(), store.sent(3)) == (b"s", b"masked")
    store.commit(4, b"t", b"next")
    assert (store.sent(3), store.sent(4)) == (None, b"next")


def test_an_erased_round_takes_no_message_even_if_it_never_had_one(store):
    store.save(b"s")
    store.erase(b"t", 5)
    with pytest.raises(StoreError, match="round 5 was"):
        store.commit(5, b"u", b"m")
    store.commit(6, b"u", b"m")
    store.erase(b"v", 5)
    assert (store.load(), store.sent(6)) == (b"v", b"m")


def test_a_new_epoch_numbers_its_rounds_anew(store):
    store.commit(7, b"s", b"m")
    store.save(b"epoch 2", begins=True)
    assert (store.load(), store.sent(7)) == (b"epoch 2", None)
    store.commit(1, b"t", b"n")
    assert store.sent(1) == b"n"


def test_messages_may_be_any_memory(store):
    lanes = np.arange(100_000, dtype="<u4")
    store.commit(1, b"s", memoryview(lanes))
    lanes[:] = 0
    assert store.sent(1) == np.arange(100_000, dtype="<u4").tobytes()
    store.commit(2, b"", b"")
    assert (store.load(), store.sent(2)) == (b"", b"")


def test_caps(store, monkeypatch):
    monkeypatch.setattr(keystore, "MAX_STATE", 10)
    monkeypatch.setattr(keystore, "MAX_MESSAGE", 20)
    for write in (store.save, lambda s: store.commit(1, s, b""), lambda s: store.erase(s, 1)):
        with pytest.raises(StoreError, match="a state of 11 bytes; allowed are 10"):
            write(bytes(11))
    with pytest.raises(StoreError, match="a message of 24 bytes; allowed are 20"):
        store.commit(1, b"", memoryview(np.zeros(3)))
    for number in (-1, 2**63):
        for ask in (store.sent, lambda n: store.commit(n, b"", b""), lambda n: store.erase(b"", n)):
            with pytest.raises(StoreError, match=r"allowed are 0 to"):
                ask(number)
    assert store.load() is None


STEPS = st.one_of(
    st.tuples(st.just("save"), st.booleans(), st.binary(max_size=9)),
    st.tuples(st.just("commit"), st.integers(0, 5), st.binary(max_size=9)),
    st.tuples(st.just("erase"), st.integers(0, 5), st.binary(max_size=9)),
    st.tuples(st.just("reopen"), st.none(), st.just(b"")),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(STEPS, max_size=12))
def test_a_folder_does_what_memory_does(steps):
    with TemporaryDirectory() as folder:
        memory, file = MemoryKeystore(), FileKeystore(Path(folder), KEY, Standing())
        for kind, value, content in steps:
            refusals = []
            for one in (memory, file):
                try:
                    if kind == "save":
                        one.save(content, begins=value)
                    elif kind == "commit":
                        one.commit(value, content, content * 2)
                    elif kind == "erase":
                        one.erase(content, value)
                except StoreError as error:
                    refusals.append(str(error))
            if kind == "reopen":
                file.close()
            assert len(refusals) in (0, 2)
            assert memory.load() == file.load()
            assert [memory.sent(number) for number in range(6)] == [file.sent(number) for number in range(6)]
        file.close()


def test_what_was_written_is_there_when_it_is_opened_again(tmp_path):
    with FileKeystore(tmp_path, KEY, Standing()) as one:
        one.commit(1, b"state", b"message")
    with FileKeystore(tmp_path, KEY, Standing()) as two:
        assert (two.load(), two.sent(1)) == (b"state", b"message")


def test_begin_again_needs_nothing_of_what_was_there(tmp_path):
    with FileKeystore(tmp_path, KEY, Standing()) as one:
        one.commit(1, b"state", b"message")
        one.begin_again()
        assert (one.load(), one.sent(1)) == (None, None)
        one.commit(1, b"new", b"new")
    (tmp_path / "keys").write_bytes(b"rubbish")
    with FileKeystore(tmp_path, KEY, Standing()) as two:
        with pytest.raises(StoreError, match="begin again"):
            two.load()
        two.begin_again()
        assert two.load() is None
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "keys"]
