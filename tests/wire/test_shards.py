from __future__ import annotations

import gc
import hashlib
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import DataError, StoreError
from fedmed.wire.samples import Layout, Sample
from fedmed.wire.shard_index import INDEX
from fedmed.wire.shards import Damage, read_shard, write_shards

CLASSES = ("well", "ill")


def samples(count: int = 10, side: int = 8) -> list[Sample]:
    rng = np.random.default_rng(3)
    return [
        Sample(f"{n:06d}", rng.normal(size=(side, side)).astype(np.float32), CLASSES[n % 2], f"p{n // 2}", "train")
        for n in range(count)
    ]


def drawn(count: int = 6, masks: tuple[int, ...] = (3, 5, 4)) -> list[Sample]:
    """Volumes of one channel with their masks, as a scanner had them."""
    rng = np.random.default_rng(4)
    return [
        Sample(
            f"{n:03d}",
            rng.normal(size=(1, 3, 5, 4)).astype(np.float32),
            "",
            f"p{n}",
            mask=rng.integers(0, 2, masks).astype(np.uint8),
            spacing_mm=(None, 0.1, float(np.float32(0.7))),
            orientation="HPL",
        )
        for n in range(count)
    ]


def same(one: Sample, other: Sample) -> bool:
    texts = ("key", "label", "patient", "split", "spacing_mm", "orientation")
    if (one.mask is None) != (other.mask is None) or (one.mask is not None and not np.array_equal(one.mask, other.mask)):
        return False
    return one.array.tobytes() == other.array.tobytes() and all(getattr(one, n) == getattr(other, n) for n in texts)


def read(folder: Path) -> list[Sample | Damage]:
    return [found for shard in sorted(folder.glob("*.tar")) for found in read_shard(shard)]


@settings(max_examples=25, deadline=None)
@given(count=st.integers(1, 30), most=st.integers(1, 60_000))
def test_whatever_the_size_of_shards_all_samples_come_back_in_order(tmp_path_factory, count, most):
    folder = tmp_path_factory.mktemp("shards")
    index = write_shards(folder, samples(count), CLASSES, most=most)
    assert all(same(one, other) for one, other in zip(read(folder), samples(count), strict=True))
    assert index["samples"] == count == sum(shard["samples"] for shard in index["shards"])
    for shard in index["shards"]:
        path = folder / shard["file"]
        assert path.stat().st_size <= most or shard["samples"] == 1
        assert hashlib.sha256(path.read_bytes()).hexdigest() == shard["sha256"]


def test_the_same_samples_make_the_same_bytes(tmp_path):
    for name in ("one", "other"):
        write_shards(tmp_path / name, samples(), CLASSES, {"steps": []}, most=20_000)
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert len(names) > 2
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()
    assert json.loads((tmp_path / "one" / INDEX).read_bytes())["pipeline"] == {"steps": []}
    with tarfile.open(tmp_path / "one" / names[0]) as tar:
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in tar} == {(0, 0, 0, "", "", 0o644)}
        assert tar.getnames() == sorted(tar.getnames())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_webdataset_reads_what_we_write(tmp_path):
    write_shards(tmp_path, samples(), CLASSES, most=20_000)
    urls = [str(path) for path in sorted(tmp_path.glob("*.tar"))]
    found = list(webdataset.WebDataset(urls, shardshuffle=False).decode())
    assert [each["__key__"] for each in found] == [sample.key for sample in samples()]
    for each, sample in zip(found, samples(), strict=True):
        assert each["npy"].tobytes() == sample.array.tobytes()
        assert each["cls"] == CLASSES.index(sample.label)
        assert (each["json"]["label"], each["json"]["patient"]) == (sample.label, sample.patient)
    gc.collect()  # webdataset leaves its files to be closed by the collector, which warns


def test_we_read_what_webdataset_writes(tmp_path):
    with webdataset.TarWriter(str(tmp_path / "a.tar")) as writer:
        for sample in samples():
            writer.write({"__key__": sample.key, "image.npy": sample.array, "cls": CLASSES.index(sample.label)})
    found = read(tmp_path)
    assert [(each.key, each.label) for each in found] == [(s.key, str(CLASSES.index(s.label))) for s in samples()]
    assert all(each.array.tobytes() == sample.array.tobytes() for each, sample in zip(found, samples(), strict=True))


def test_a_long_name_in_pax_or_gnu_form_is_read(tmp_path):
    key = "k" * 89
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        write_shards(tmp_path / "from", [Sample(key, np.zeros((2, 2), np.float32), "well")])
        with (
            tarfile.open(tmp_path / "from" / "shard-000000.tar") as source,
            tarfile.open(tmp_path / "a.tar", "w", format=form) as tar,
        ):
            for member in source:
                content = source.extractfile(member)
                member.name = f"./{member.name.replace('.npy', '.' + 'x' * 20 + '.npy')}"
                tar.addfile(member, content)
        [found] = read_shard(tmp_path / "a.tar")
        assert found.key == key


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda made: [], "no samples"),
        (lambda made: [made[1], made[0]], "ascending order"),
        (lambda made: [Sample("../x", made[0].array, "well")], "cannot be used"),
        (lambda made: [Sample("x", made[0].array, "dead")], "the classes are well, ill"),
        (lambda made: [Sample("x", made[0].array.astype(object), "well")], "object"),
    ],
)
def test_what_is_no_set_is_refused(tmp_path, spoil, match):
    with pytest.raises(DataError, match=match):
        write_shards(tmp_path, spoil(samples()), CLASSES)
    assert not (tmp_path / INDEX).exists()


def test_a_full_disk_is_said_and_leaves_no_half_file(small_disk):
    with pytest.raises(StoreError, match="make room"):
        write_shards(small_disk, samples(40, 100), CLASSES, most=600_000)
    assert not (small_disk / INDEX).exists()
    assert all(len(list(read_shard(shard))) > 0 for shard in small_disk.glob("*.tar"))
    assert not list(small_disk.glob(".*"))


def test_a_file_that_is_not_there_is_refused_and_an_empty_tar_is_empty(tmp_path):
    with pytest.raises(DataError, match="cannot be read as a shard"):
        list(read_shard(tmp_path / "none.tar"))
    (tmp_path / "empty.tar").write_bytes(bytes(10_240))
    assert list(read_shard(tmp_path / "empty.tar")) == []


def test_masks_and_what_the_scanner_had_come_back(tmp_path):
    index = write_shards(tmp_path, drawn(), CLASSES, layout=Layout(3, (), 4))
    assert (index["masks"], index["spatial"], index["position"]) == (True, 3, 4)
    assert all(same(one, other) for one, other in zip(read(tmp_path), drawn(), strict=True))
    assert write_shards(tmp_path / "plain", samples(2))["masks"] is False


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_webdataset_reads_our_masks_under_an_ending_of_their_own(tmp_path):
    write_shards(tmp_path, drawn(), CLASSES)
    found = list(webdataset.WebDataset([str(tmp_path / "shard-000000.tar")], shardshuffle=False).decode())
    assert [each["__key__"] for each in found] == [sample.key for sample in drawn()]
    for each, sample in zip(found, drawn(), strict=True):
        assert {name for name in each if not name.startswith("__")} == {"json", "npy", "mask.npy"}
        assert sample.mask is not None
        assert np.array_equal(each["mask.npy"], sample.mask)
        assert each["mask.npy"].dtype == np.uint8
        assert each["npy"].tobytes() == sample.array.tobytes()
        assert each["json"]["spacing_mm"] == [None, 0.1, float(np.float32(0.7))]
    gc.collect()  # as above


def test_we_read_masks_that_webdataset_writes(tmp_path):
    with webdataset.TarWriter(str(tmp_path / "a.tar")) as writer:
        for sample in drawn():
            writer.write({"__key__": sample.key, "npy": sample.array, "mask.npy": sample.mask})
    for one, other in zip(read(tmp_path), drawn(), strict=True):
        assert isinstance(one, Sample)
        assert np.array_equal(one.array, other.array)
        assert np.array_equal(one.mask, other.mask)


@pytest.mark.parametrize(
    ("made", "match"),
    [
        (drawn(2, (3, 4, 5)), r"'000': its mask is uint8 of shape \(3, 4, 5\)"),
        (drawn(2, (5, 4)), "'000': its mask is"),
        ([*drawn(1), Sample("x", np.zeros((1, 3, 5, 4), np.float32), "well")], "only some samples have a mask"),
    ],
)
def test_masks_that_do_not_fit_are_refused_on_writing(tmp_path, made, match):
    with pytest.raises(DataError, match=match):
        write_shards(tmp_path, made, CLASSES, layout=Layout(3))
    assert not (tmp_path / INDEX).exists()
