from __future__ import annotations

import os
import threading
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import DataError
from fedmed.store.entries import HEAD, Plain, Sealed
from fedmed.store.locks import alone
from fedmed.store.tensors import WRITING, Key, TensorStore

LARGE = 10**9
FORM, SEALED = Plain(), Sealed(bytes(range(32)))


def key(number: int, pipeline: str = "p") -> Key:
    return Key(pipeline, f"pixels-{number}")


def tensors(number: int, size: int = 100):
    return {"x": np.full(size, number, np.float32), "mask": np.array([number % 2 == 0])}


def is_right(found, number: int, size: int = 100) -> bool:
    wanted = tensors(number, size)
    return found.keys() == wanted.keys() and all(np.array_equal(found[name], wanted[name]) for name in wanted)


def entry(store: TensorStore, number: int) -> Path:
    name = store.form.name(key(number).name)
    return store.folder / name[:2] / name


@pytest.fixture
def said():
    return []


@pytest.fixture(params=[FORM, SEALED], ids=["plain", "sealed"])
def store(request, tmp_path, said):
    return TensorStore(tmp_path / "cache", LARGE, said.append, request.param)


def test_what_was_put_is_got_without_a_copy_and_read_only(store, said):
    assert store.get(key(1)) is None
    assert store.put(key(1), tensors(1))
    found = store.get(key(1))
    assert is_right(found, 1)
    assert not found["x"].flags.writeable
    assert not found["x"].flags.owndata
    assert said == []


def test_another_pipeline_is_another_entry(store):
    store.put(key(1, "a"), tensors(1))
    store.put(key(1, "b"), tensors(2))
    assert is_right(store.get(key(1, "a")), 1)
    assert is_right(store.get(key(1, "b")), 2)
    assert store.get(key(1, "c")) is None


steps = st.lists(
    st.tuples(st.sampled_from(["put", "get", "make", "reopen"]), st.integers(0, 7), st.integers(1, 400)), max_size=40
)


@settings(max_examples=60, deadline=None)
@given(steps=steps, bound=st.integers(500, 6000))
def test_whatever_is_done_the_bound_holds_and_entries_are_right(tmp_path_factory, steps, bound):
    said: list[str] = []
    store = TensorStore(tmp_path_factory.mktemp("cache"), bound, said.append, FORM)
    sizes: dict[int, int] = {}
    for what, number, size in steps:
        match what:
            case "put":
                if store.put(key(number), tensors(number, size)):
                    sizes[number] = size
            case "get":
                found = store.get(key(number))
                assert found is None or is_right(found, number, sizes[number])
            case "make":
                held = store.get(key(number)) is not None
                found = store.get_or_make(key(number), lambda number=number, size=size: tensors(number, size))
                if not held:
                    sizes[number] = size
                assert is_right(found, number, sizes[number])
            case "reopen":
                store = TensorStore(store.folder, bound, said.append, FORM)
        assert store.size() <= bound
    assert said == []


def test_the_least_recently_used_goes_first(tmp_path, said):
    size = HEAD + 600
    store = TensorStore(tmp_path, 4 * size, said.append, FORM)
    for number in range(3):
        store.put(key(number), tensors(number))
        os.utime(entry(store, number), ns=(number, number))
    store.get(key(0))
    store.put(key(3), tensors(3))
    store.put(key(4), tensors(4))
    assert store.get(key(1)) is None
    assert is_right(store.get(key(0)), 0)
    assert is_right(store.get(key(4)), 4)


def test_what_is_larger_than_the_bound_is_not_kept_and_costs_no_other(tmp_path, said):
    store = TensorStore(tmp_path, 2000, said.append, FORM)
    store.put(key(1), tensors(1))
    assert not store.put(key(2), tensors(2, 1000))
    assert is_right(store.get(key(1)), 1)
    assert is_right(store.get_or_make(key(2), lambda: tensors(2, 1000)), 2, 1000)


def test_what_is_being_read_stays_good_when_it_is_evicted(tmp_path, said):
    store = TensorStore(tmp_path, 1500, said.append, FORM)
    store.put(key(0), tensors(0))
    held = store.get(key(0))
    for number in range(1, 9):
        store.put(key(number), tensors(number))
    assert store.get(key(0)) is None
    assert is_right(held, 0)


@pytest.mark.parametrize("place", [0, 10, 45, 75, HEAD, HEAD + 30, -1])
def test_one_wrong_bit_is_seen_told_and_made_anew(store, said, place):
    store.put(key(1), tensors(1))
    path = entry(store, 1)
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    assert store.get(key(1)) is None
    assert not path.exists()
    assert len(said) == 1
    assert "damaged" in said[0]
    assert is_right(store.get_or_make(key(1), lambda: tensors(1)), 1)
    assert is_right(store.get(key(1)), 1)


@pytest.mark.parametrize("length", [0, 7, HEAD - 1, HEAD, -1])
def test_an_entry_that_was_cut_short_is_made_anew(store, said, length):
    store.put(key(1), tensors(1))
    path = entry(store, 1)
    path.write_bytes(path.read_bytes()[:length])
    assert store.get(key(1)) is None
    assert len(said) == 1


def test_an_entry_under_another_name_is_not_taken_for_it(store, said):
    store.put(key(1), tensors(1))
    entry(store, 2).parent.mkdir(exist_ok=True)
    entry(store, 1).rename(entry(store, 2))
    assert store.get(key(2)) is None
    assert "is not the entry that its name says" in said[0] or "under this name" in said[0]


def content(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_who_has_a_sealed_cache_sees_neither_what_is_in_it_nor_whether_a_known_image_is(tmp_path, said):
    values = np.arange(5000, dtype=np.float32)
    for form, seen in ((FORM, True), (SEALED, False)):
        folder = tmp_path / str(seen)
        TensorStore(folder, LARGE, said.append, form).put(key(1), {"x": values})
        found = content(folder)
        assert (values[100:200].tobytes() in found) is seen
        assert (b"safetensors" in found or b"data_offsets" in found) is seen
        assert (bytes.fromhex(key(1).name) in found) is seen
        assert bool(list(folder.rglob(key(1).name))) is seen


def test_another_form_or_key_begins_anew_and_leaves_nothing_in_clear(tmp_path, said):
    for form in (FORM, SEALED, Sealed(bytes(32)), FORM):
        store = TensorStore(tmp_path, LARGE, said.append, form)
        assert store.size() == 0
        assert store.get(key(1)) is None
        assert store.put(key(1), tensors(1))
        again = TensorStore(tmp_path, LARGE, said.append, form)
        assert is_right(again.get(key(1)), 1)
    assert said == []


def test_a_wrong_total_is_counted_anew(tmp_path, said):
    store = TensorStore(tmp_path, 3000, said.append, FORM)
    for number, text in enumerate(("", "many", "99999999", "-5")):
        (tmp_path / ".total").write_text(text)
        assert store.put(key(number), tensors(number))
    assert store.size() <= 3000
    assert is_right(store.get(key(3)), 3)


def test_an_unknown_type_is_refused_and_nothing_stays(store):
    with pytest.raises(DataError, match="complex"):
        store.put(key(1), {"x": np.zeros(3, np.complex64)})
    assert not list(store.folder.glob(f"{WRITING}*"))


def test_leftovers_of_the_dead_are_swept_and_those_of_the_living_stay(tmp_path, said):
    store = TensorStore(tmp_path, LARGE, said.append, FORM)
    dead, living = tmp_path / f"{WRITING}1-0", tmp_path / f"{WRITING}2-0"
    dead.write_bytes(b"half")
    with alone(living):
        TensorStore(tmp_path, LARGE, said.append, FORM)
        assert not dead.exists()
        assert living.exists()
    assert store.put(key(1), tensors(1))


def test_threads_that_want_the_same_make_it_once(store):
    made = []

    def make():
        made.append(1)
        return tensors(1, 50_000)

    threads = [threading.Thread(target=lambda: store.get_or_make(key(1), make)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [1]


def churn(folder: Path, seed: int, makings: Path) -> None:
    """What each of two processes does: make, put and get in one small store, and find nothing wrong."""
    said: list[str] = []
    store, rng = TensorStore(folder, 20_000, said.append, FORM), np.random.default_rng(seed)
    for number in rng.integers(0, 40, 150).tolist():
        found = store.get_or_make(key(number), lambda number=number: tensors(number, 200 + number))
        assert is_right(found, number, 200 + number)
    shared = store.get_or_make(key(1000), lambda: once_made(makings))
    assert is_right(shared, 7)
    assert said == []


def once_made(makings: Path):
    with makings.open("a") as file:
        file.write("made\n")
    return tensors(7)


def test_two_processes_share_one_store(tmp_path):
    context = get_context("fork")
    crew = [context.Process(target=churn, args=(tmp_path / "cache", seed, tmp_path / "makings")) for seed in (1, 2)]
    for process in crew:
        process.start()
    for process in crew:
        process.join()
    assert [process.exitcode for process in crew] == [0, 0]
    assert TensorStore(tmp_path / "cache", 20_000, print, FORM).size() <= 20_000


def test_a_folder_that_cannot_be_made_costs_the_cache_and_not_the_work(tmp_path, said):
    (tmp_path / "file").write_text("")
    store = TensorStore(tmp_path / "file" / "cache", LARGE, said.append, FORM)
    assert is_right(store.get_or_make(key(1), lambda: tensors(1)), 1)
    assert is_right(store.get_or_make(key(2), lambda: tensors(2)), 2)
    assert len(said) == 1
    assert "going on without it" in said[0]
