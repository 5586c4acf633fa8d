"""Shards from somebody who means harm, or whose disk does: every usable sample is read, every other one is named."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.wire import npy, tar
from fedmed.wire.samples import Sample
from fedmed.wire.shards import Damage, read_shard, write_shards

ARRAY = np.arange(16, dtype=np.float32).reshape(4, 4)
GOOD = {"npy": npy.encode(ARRAY), "cls": b"1"}
MASK = npy.encode(np.ones((4, 4), np.uint8))
DIGEST = hashlib.sha256(GOOD["npy"]).hexdigest()


def told(**facts: object) -> bytes:
    return json.dumps({"label": "a", **facts}).encode()


def shard(folder: Path, *members: tuple[str, bytes] | tarfile.TarInfo) -> Path:
    path = folder / "bad.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as file:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                file.addfile(member)
            else:
                header = tarfile.TarInfo(member[0])
                header.size = len(member[1])
                file.addfile(header, io.BytesIO(member[1]))
    return path


def sample(key: str, **parts: bytes) -> list[tuple[str, bytes]]:
    return [(f"{key}.{ending.replace('_', '.')}", content) for ending, content in (GOOD | parts).items()]


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.type, header.linkname = kind, target
    return header


def outcome(path: Path) -> tuple[list[str], dict[str, str]]:
    """Keys that are read, and the reasons by key of those that are not."""
    found = list(read_shard(path))
    damaged = [each for each in found if isinstance(each, Damage)]
    assert all(each.shard == path.name and each.reason for each in damaged)
    return [each.key for each in found if isinstance(each, Sample)], {each.key: each.reason for each in damaged}


class Bomb:
    def __reduce__(self):
        return os._exit, (9,)


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"npy": b"no array"}, "not an array"),
        ({"npy": GOOD["npy"][:-3]}, "its npy header says"),
        ({"npy": pickle.dumps(Bomb())}, "not an array"),
        ({"npy": npy.encode(np.full((2, 2), np.nan, np.float32))}, "not finite"),
        ({"other_npy": GOOD["npy"]}, "it has 2 arrays"),
        ({"json": b"{"}, "no JSON"),
        ({"json": b"[" * 100_000}, "text has 100000 bytes"),
        ({"json": b"[" * 60_000}, "no JSON"),
        ({"json": b"[1]"}, "no object"),
        ({"json": b'{"label": 3}'}, "no label"),
        ({"json": json.dumps({"label": "a", "sha256": "0" * 64}).encode()}, "does not have the digest"),
        ({"cls": b""}, "no label"),
        ({"cls": b"\xff\xfe"}, "not UTF-8"),
        ({"mask_npy": b"no array"}, "not an array"),
        ({"mask_npy": pickle.dumps(Bomb())}, "not an array"),
        ({"mask_npy": npy.encode(np.zeros((4, 5), np.uint8))}, r"its mask is uint8 of shape (4, 5)"),
        ({"mask_npy": npy.encode(np.zeros((4, 4), np.int64))}, "its mask is int64"),
        ({"mask_npy": MASK, "json": told(sha256=DIGEST)}, "its mask does not have the digest"),
        ({"mask_npy": MASK, "json": told(mask_sha256="0" * 64)}, "its mask does not have the digest"),
        ({"json": told(mask_sha256="0" * 64)}, "its mask is missing"),
        ({"json": told(spacing_mm=[1, 2])}, "its spacing is none"),
        ({"json": told(spacing_mm=[1, 2, "3"])}, "its spacing is none"),
        ({"json": told(spacing_mm=[1, 2, True])}, "its spacing is none"),
        ({"json": told(spacing_mm=[1, 2, 10**400])}, "its spacing is none"),
        ({"json": told(spacing_mm=[1, 2, float("nan")])}, "its spacing is none"),
        ({"json": told(orientation=["H"])}, "no label"),
    ],
)
def test_a_sample_that_cannot_be_used_is_named_and_the_others_go_on(tmp_path, parts, reason):
    read, damaged = outcome(shard(tmp_path, *sample("a"), *sample("b", **parts), *sample("c")))
    assert read == ["a", "c"]
    assert list(damaged) == ["b"]
    assert reason in damaged["b"]


def test_a_pickle_is_never_opened(tmp_path):
    members = [*sample("a", pyd=pickle.dumps(Bomb()), pth=pickle.dumps(Bomb())), ("b.npy", pickle.dumps(Bomb()))]
    objects = io.BytesIO()
    np.save(objects, np.array([Bomb()], dtype=object), allow_pickle=True)
    read, damaged = outcome(shard(tmp_path, *members, *sample("c", npy=objects.getvalue())))
    assert read == ["a"]
    assert set(damaged) == {"b", "c"}


@pytest.mark.parametrize("name", ["../b.npy", "/etc/b.npy", "x/b.npy", "..", "b/../../x.npy", "b\\x.npy", "b\x1b[2J.npy"])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path, name):
    read, damaged = outcome(shard(tmp_path, *sample("a"), (name, GOOD["npy"]), *sample("c")))
    assert read == ["a", "c"]
    assert any("leads elsewhere" in reason for reason in damaged.values())


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_never_followed(tmp_path, kind):
    (tmp_path / "secret").write_bytes(GOOD["npy"])
    link = special("b.npy", kind, str(tmp_path / "secret"))
    read, damaged = outcome(shard(tmp_path, *sample("a"), link, ("b.cls", b"1"), *sample("c")))
    assert read == ["a", "c"]
    assert "never followed" in damaged["b"]


def test_a_member_given_twice_spoils_its_sample_only(tmp_path):
    read, damaged = outcome(shard(tmp_path, *sample("a"), *sample("b"), ("b.npy", GOOD["npy"]), *sample("c")))
    assert read == ["a", "c"]
    assert "two members .npy" in damaged["b"]


def test_sizes_are_checked_before_anything_is_made_of_them(tmp_path, monkeypatch):
    monkeypatch.setattr(tar, "MAX_MEMBER_BYTES", 500)
    read, damaged = outcome(shard(tmp_path, *sample("a"), *sample("b", npy=bytes(1000)), *sample("c")))
    assert read == ["a", "c"]
    assert "at most 500 are read" in damaged["b"]
    monkeypatch.setattr(tar, "MAX_MEMBERS", 3)
    read, damaged = outcome(shard(tmp_path, *sample("a"), *sample("b"), *sample("c")))
    assert read == ["a"]
    assert "more than 3 members" in damaged[""]


def test_pax_records_without_end_are_not_kept(tmp_path):
    header = tarfile.TarInfo("b.npy")
    header.pax_headers = {"comment": "x" * 200_000, "path": "y" * 100_000}
    header.size = 0
    read, damaged = outcome(shard(tmp_path, *sample("a"), header, *sample("c")))
    assert read == ["a", "c"]
    assert "leads elsewhere" in " ".join(damaged.values())


def test_a_header_that_is_damaged_costs_its_sample(tmp_path):
    write_shards(tmp_path, [Sample(f"{n}", ARRAY, "a") for n in range(5)])
    path = tmp_path / "shard-000000.tar"
    data = bytearray(path.read_bytes())
    at = data.index(b"2.npy")
    data[at + 124] = ord("9")  # in the size
    path.write_bytes(data)
    read, damaged = outcome(path)
    assert read == ["0", "1", "3", "4"]
    assert "is damaged" in damaged[""]
    assert "0 arrays" in damaged["2"]


@pytest.mark.parametrize("left", [0.1, 0.5, 0.8])
def test_a_shard_that_was_cut_off_gives_what_is_whole(tmp_path, left):
    write_shards(tmp_path, [Sample(f"{n}", ARRAY, "a") for n in range(5)])
    path = tmp_path / "shard-000000.tar"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * left) // 100 * 100])
    found = list(read_shard(path))
    assert all(np.array_equal(each.array, ARRAY) for each in found if isinstance(each, Sample))
    assert len([each for each in found if isinstance(each, Sample)]) <= 5 * left


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_changed_bytes_crash_it_or_train(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("shard")
    mask = np.eye(4, dtype=np.uint8)
    write_shards(folder, [Sample(f"{n}", ARRAY + n, "a", "p", mask=mask) for n in range(4)], ("a",))
    path = folder / "shard-000000.tar"
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    for found in read_shard(path):
        if isinstance(found, Sample) and found.patient:  # its json is whole enough to say whose it is, and so the digest
            assert found.array.tobytes() in [(ARRAY + n).tobytes() for n in range(4)]
            assert found.mask is None or np.array_equal(found.mask, mask)


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=1, max_size=3000))
def test_no_bytes_at_all_crash_it(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("shard") / "any.tar"
    path.write_bytes(content)
    list(read_shard(path))
