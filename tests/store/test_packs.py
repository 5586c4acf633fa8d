from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedmed.errors import ConfigError, DataError, StoreError
from fedmed.store.packs import Pack, write_pack
from fedmed.wire import tensors as wire
from fedmed.wire.samples import Layout, Sample

kinds = st.sampled_from([np.dtype(name) for name in wire.CODES])


def samples(count: int = 7, shape=(3, 4), dtype=np.float32) -> list[Sample]:
    rng = np.random.default_rng(5)
    arrays = [rng.integers(0, 2, shape).astype(dtype) + dtype(number % 100) for number in range(count)]
    return [Sample(f"{n:04d}", a, "ab"[n % 2], f"p{n // 2}", "train") for n, a in enumerate(arrays)]


def same(one: Sample, other: Sample) -> bool:
    texts = ("key", "label", "patient", "split")
    return np.array_equal(one.array, other.array) and all(getattr(one, name) == getattr(other, name) for name in texts)


def test_what_was_packed_is_read_without_a_copy(tmp_path):
    made = samples()
    assert write_pack(tmp_path / "x.pack", made, {"steps": []}) == 7
    pack = Pack(tmp_path / "x.pack")
    assert len(pack) == 7
    assert pack.about.pipeline == {"steps": []}
    assert all(same(one, other) for one, other in zip(pack.samples(), made, strict=True))
    assert not pack[3].flags.owndata
    assert not pack[3].flags.writeable
    rows = np.array([5, 0, 5])
    batch = pack.batch(rows)
    assert np.array_equal(batch, np.stack([made[row].array for row in rows]))
    assert batch.flags.writeable


@settings(max_examples=30, deadline=None)
@given(arrays=kinds.flatmap(lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4))))
def test_every_kind_comes_back_bit_by_bit(tmp_path_factory, arrays):
    path = tmp_path_factory.mktemp("pack") / "x.pack"
    write_pack(path, [Sample(f"{n:03d}", array, "a") for n, array in enumerate(arrays)])
    found = [sample.array for sample in Pack(path).samples()]
    assert [each.tobytes() for each in found] == [each.tobytes() for each in arrays]
    assert {(each.shape, each.dtype) for each in found} == {(arrays[0].shape, arrays.dtype)}


def test_any_safetensors_reader_can_read_a_pack(tmp_path):
    write_pack(tmp_path / "x.pack", samples())
    found = safetensors.numpy.load_file(tmp_path / "x.pack")
    assert np.array_equal(found["x"], np.stack([sample.array for sample in samples()]))


@pytest.mark.parametrize(
    "reading", [lambda pack: pack[2], lambda pack: pack.batch(np.array([1, 2])), lambda pack: list(pack.samples())]
)
def test_a_wrong_bit_never_trains_and_costs_its_sample_alone(tmp_path, reading):
    path = tmp_path / "x.pack"
    write_pack(path, samples())
    data = bytearray(path.read_bytes())
    data[8 + 4096 + 2 * 48 + 5] ^= 1  # in the third sample
    path.write_bytes(data)
    pack = Pack(path)
    assert np.array_equal(pack.batch(np.array([0, 1, 3])), np.stack([samples()[n].array for n in (0, 1, 3)]))
    with pytest.raises(StoreError, match="sample '0002' does not have the digest"):
        reading(pack)


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda made: [], "there are no samples"),
        (lambda made: [made[1], made[0]], "ascending order"),
        (lambda made: [made[0], made[0]], "ascending order"),
        (lambda made: [made[0], Sample("0001", np.zeros((2, 2), np.float32), "a")], "a pack holds one kind"),
        (lambda made: [made[0], Sample("0001", made[1].array.astype(np.float64), "a")], "a pack holds one kind"),
        (lambda made: [Sample("a.b", made[0].array, "a")], "cannot be used"),
        (lambda made: [Sample("../a", made[0].array, "a")], "cannot be used"),
        (lambda made: [Sample("a", made[0].array.astype(np.complex64), "a")], "complex64"),
    ],
)
def test_what_is_no_set_is_refused_and_leaves_no_file(tmp_path, spoil, match):
    with pytest.raises(DataError, match=match):
        write_pack(tmp_path / "x.pack", spoil(samples()))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("length", [0, 5, 100, 4104, -40])
def test_a_file_that_is_cut_short_is_no_pack(tmp_path, length):
    path = tmp_path / "x.pack"
    write_pack(path, samples())
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DataError, match=r"x\.pack"):
        Pack(path)


def test_another_safetensors_file_is_no_pack(tmp_path):
    wire.save({"x": np.zeros((2, 2), np.float32)}, tmp_path / "x.pack")
    with pytest.raises(DataError, match="is not a pack"):
        Pack(tmp_path / "x.pack")
    with pytest.raises(DataError, match="cannot be opened as a pack"):
        Pack(tmp_path / "none.pack")


def test_a_full_disk_leaves_nothing_behind(small_disk):
    with pytest.raises(StoreError, match="make room"):
        write_pack(small_disk / "x.pack", samples(40, (100, 100)))
    assert list(small_disk.iterdir()) == []


def test_classes_layout_and_what_the_scanner_had_come_back(tmp_path):
    made = [replace(each, spacing_mm=(None, 0.1, 2.0), orientation="HPL") for each in samples()]
    write_pack(tmp_path / "x.pack", made, {}, ("b", "a"), Layout(3, ("age",), 2))
    pack = Pack(tmp_path / "x.pack")
    assert (pack.about.classes, pack.layout) == (["b", "a"], Layout(3, ("age",), 2))
    assert [(each.spacing_mm, each.orientation) for each in pack.samples()] == [((None, 0.1, 2.0), "HPL")] * 7


def rewritten(path: Path, change: Callable[[dict], object]) -> Path:
    """The pack with other texts."""
    found = {name: np.array(value) for name, value in wire.load(path).items()}
    about = json.loads(found["about"].tobytes())
    change(about)
    found["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    wire.save(found, path)
    return path


def test_a_pack_of_before_says_less(tmp_path):
    write_pack(tmp_path / "x.pack", samples())
    new = ("spacings_mm", "orientations", "classes", "layout")
    pack = Pack(rewritten(tmp_path / "x.pack", lambda about: [about.pop(name) for name in new]))
    assert all(same(one, other) for one, other in zip(pack.samples(), samples(), strict=True))
    assert pack.layout == Layout()


@pytest.mark.parametrize("spoilt", [{"layout": {"spatial": 5}}, {"layout": 3}, {"orientations": ["H"]}, {"labels": []}])
def test_texts_that_cannot_be_are_refused(tmp_path, spoilt):
    write_pack(tmp_path / "x.pack", samples())
    with pytest.raises(DataError, match=r"is not a pack|is damaged"):
        Pack(rewritten(tmp_path / "x.pack", lambda about: about.update(spoilt)))


def test_masks_are_refused_with_the_way_out(tmp_path):
    drawn = [replace(each, mask=np.zeros((3, 4), np.uint8)) for each in samples()]
    with pytest.raises(ConfigError, match="name a folder, for shards, instead"):
        write_pack(tmp_path / "x.pack", drawn)
    assert list(tmp_path.iterdir()) == []
