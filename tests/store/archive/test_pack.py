from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import ArchiveAltered, StoreError
from fedmed.store.archive.pack import FORM, Manifest, contents, manifest_of, opened

OBJECTS = st.dictionaries(st.text(min_size=1, max_size=9), st.binary(max_size=200), min_size=1, max_size=5)


def made(objects: dict[str, bytes]) -> tuple[Manifest, bytes]:
    def read(name: str):
        return objects[name], {"device": "mri"}

    manifest = manifest_of("north", "1.2", 5.5, list(objects), read)
    return manifest, b"".join(contents(manifest, read))


def all_of(pack: bytes, step: int = 7) -> tuple[Manifest, dict[str, bytes]]:
    pieces = (pack[at : at + step] for at in range(0, len(pack), step))
    manifest, objects = opened("here", pieces)
    return manifest, {item.name: content for item, content in objects}


@given(OBJECTS, st.integers(1, 300))
def test_what_is_packed_is_unpacked_however_it_comes(objects, step):
    manifest, pack = made(objects)
    assert all_of(pack, step) == (manifest, objects)


@given(OBJECTS, st.data())
def test_a_pack_that_is_cut_or_goes_on_is_refused(objects, data):
    _, pack = made(objects)
    with pytest.raises(ArchiveAltered):
        all_of(pack + b"x")
    cut = data.draw(st.integers(0, len(pack) - 1))
    if any(objects.values()) or cut < len(pack) - 1:
        with pytest.raises(ArchiveAltered):
            all_of(pack[:cut])


@pytest.mark.parametrize(
    "manifest",
    [b"", b"[]", b"{}", b'{"clinic":"a","study":"b","came":1,"objects":[["a",-1,"c",{}]]}', b"[" * 5000,
     b'{"clinic":"a","study":"b","came":1,"objects":[["a",99999999999,"c",{}]]}'],
)  # fmt: skip
def test_a_manifest_that_is_none(manifest):
    with pytest.raises(ArchiveAltered):
        all_of(FORM + manifest + b"\n")


def test_the_same_objects_have_the_same_identity_whatever_their_dates():
    one, _ = made({"a": b"1", "b": b"2"})
    assert Manifest("south", one.study, 9.0, one.items).identity() == one.identity()
    assert Manifest("north", "1.3", 5.5, one.items).identity() != one.identity()
    assert made({"a": b"1", "b": b"3"})[0].identity() != one.identity()


def test_an_object_that_changes_while_it_is_packed():
    objects = {"a": b"1"}
    manifest, _ = made(objects)
    with pytest.raises(StoreError, match="changed while it was packed"):
        b"".join(contents(manifest, lambda name: (b"2", {"device": "mri"})))
