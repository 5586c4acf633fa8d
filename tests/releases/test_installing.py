from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from fedmed.errors import ReleaseRefused, StoreError, Unreachable
from fedmed.releases import installing
from fedmed.releases.agreeing import Anchor
from fedmed.releases.fetching import BLOBS
from fedmed.releases.installing import fill
from fedmed.releases.slots import Content, Phase, Slots
from fedmed.releases.slotstore import SlotStore
from fedmed.wire.tensors import sha256
from tests.releases.simulator import Authority, Standing

MODEL = bytes(range(256)) * 1000


@pytest.fixture
def center() -> Authority:
    return Authority(Standing())


@pytest.fixture
def store(tmp_path) -> SlotStore:
    return SlotStore(tmp_path / "slots", tmp_path / "anchor" / "anchor.json")


def content(center: Authority, **files: bytes) -> Content:
    release = center.propose(**files)
    return Content(release.counter, release.manifest, release.length, release.package)


def test_filled_and_whole(center, store):
    wanted = content(center, model=MODEL, card=b"{}", twin=b"{}", empty=b"")
    fill(store, 1, wanted, center, center.clock)
    assert store.is_whole(1, wanted)
    assert sorted(path.name for path in store.package(1).iterdir()) == ["card", "empty", "model", "twin"]
    assert not store.is_whole(0, wanted)
    (store.package(1) / "more").touch()
    assert not store.is_whole(1, wanted)


def test_gone_on_with_where_it_was_cut_off(center, store):
    wanted, offsets, real = content(center, model=MODEL), [], center.pieces

    def cut(name, offset):
        if not name.startswith(BLOBS):
            return real(name, offset)
        offsets.append(offset)
        return iter([MODEL[offset : offset + 100_000]])

    center.pieces = cut  # type: ignore[method-assign]
    for came in (100_000, 200_000):
        with pytest.raises(Unreachable, match=f"came to {came} of 256000 bytes"):
            fill(store, 0, wanted, center, center.clock)
    fill(store, 0, wanted, center, center.clock)
    assert offsets == [0, 100_000, 200_000]
    assert store.is_whole(0, wanted)


def test_what_another_release_left_goes(center, store):
    first, second = content(center, model=b"first", only=b"x"), content(center, model=b"second")
    fill(store, 0, first, center, center.clock)
    (store.package(0) / f"{'a' * 64}.part").write_bytes(b"begun")
    fill(store, 0, second, center, center.clock)
    assert [path.name for path in store.package(0).iterdir()] == ["model"]
    assert store.is_whole(0, second)


def test_a_rotten_half_is_thrown_away(center, store):
    wanted = content(center, model=MODEL)
    part = store.package(0) / f"{sha256(MODEL)}.part"
    part.write_bytes(b"rotten")
    with pytest.raises(ReleaseRefused, match="not what was signed"):
        fill(store, 0, wanted, center, center.clock)
    assert not part.exists()
    fill(store, 0, wanted, center, center.clock)
    assert store.is_whole(0, wanted)


def test_a_manifest_of_another_release(center, store):
    wanted = content(center, model=MODEL)
    with pytest.raises(ReleaseRefused, match="another's"):
        fill(store, 0, replace(wanted, package="0" * 64), center, center.clock)
    center.files.clear()
    with pytest.raises(Unreachable, match="manifest of release 1 is not there"):
        fill(store, 0, wanted, center, center.clock)


def test_a_file_that_comes_too_slowly_is_kept_for_the_next_time(center, store):
    wanted, real = content(center, model=MODEL), center.pieces

    def slow(name, offset):
        if not name.startswith(BLOBS):
            yield from real(name, offset)
            return
        for at in range(offset, len(MODEL), 100):
            center.clock.sleep(1)
            yield MODEL[at : at + 100]

    center.pieces = slow  # type: ignore[method-assign]
    with pytest.raises(Unreachable, match="came to 6100 of"):
        fill(store, 0, wanted, center, center.clock)


def test_no_room_is_said_before_anything_is_fetched(center, store, monkeypatch):
    wanted = content(center, model=MODEL)
    monkeypatch.setattr(installing, "SPARE", 1 << 60)
    with pytest.raises(StoreError, match="make room"):
        fill(store, 0, wanted, center, center.clock)
    assert not any(name.startswith(BLOBS) for name in center.asked)


def test_state_and_anchor_are_kept(store):
    assert (store.load(), store.anchor()) == (Slots(), Anchor())
    slots = Slots(
        (None, Content(3, "m" * 64, 9, "p" * 64, Phase.PROVEN)), 1, crashes=((3, 1),), banned=((2, "why"),), clean=False
    )
    store.save(slots)
    assert store.load() == slots
    assert store.lift(Anchor(3, (1, 4), (1, 2))) == Anchor(3, (1, 4), (1, 2))
    assert store.lift(Anchor(2, (2, 1), (1, 1))) == Anchor(3, (2, 1), (1, 2))
    shutil.rmtree(store.folder)
    assert SlotStore(store.folder, store.anchor_file).anchor() == Anchor(3, (2, 1), (1, 2))


@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff", b"[" * 9000, b'{"body":{},"sha256":"0"}'])
def test_damaged_state_and_anchor_are_never_begun_anew(store, damage):
    (store.state / "slots.json").write_bytes(damage)
    store.anchor_file.write_bytes(damage)
    with pytest.raises(StoreError, match=r"slots\.json.* is damaged"):
        store.load()
    with pytest.raises(StoreError, match=r"anchor\.json.* is damaged"):
        store.anchor()
