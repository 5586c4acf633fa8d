from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedmed.config.scenario import Data
from fedmed.errors import DataError
from fedmed.preprocess.pipeline import AS_STORED, Pipeline, Step
from fedmed.sites import sites_of
from fedmed.sites.cases import check
from fedmed.sites.readers import shards
from fedmed.sites.readers.reader import MissingData
from fedmed.sites.readers.shards import ShardOptions, read_shards
from fedmed.wire.samples import Layout, Sample
from fedmed.wire.shard_index import INDEX
from fedmed.wire.shards import write_shards

PIPELINE = Pipeline((Step("resample", {"size": (6, 6)}),))


def samples(count: int = 12, labels: str = "ab", **more: str) -> list[Sample]:
    rng = np.random.default_rng(count)
    return [
        Sample(f"{n:04d}", rng.normal(size=(6, 6)).astype(np.float16), labels[n % len(labels)], f"p{n // 2}", **more)
        for n in range(count)
    ]


@pytest.fixture
def packed(tmp_path) -> Path:
    for name, count in (("east", 12), ("west", 20)):
        write_shards(tmp_path / name, samples(count), ("a", "b"), PIPELINE.record(), most=20_000)
    return tmp_path


def test_packed_sites_are_cases_again(packed):
    cases = read_shards(packed, ShardOptions(), 0)
    assert (cases.x.shape, cases.x.dtype, cases.classes) == ((32, 6, 6), np.float32, ("a", "b"))
    assert cases.site.tolist() == ["east"] * 12 + ["west"] * 20
    assert cases.patient.tolist()[:4] == ["p0", "p0", "p1", "p1"]
    assert cases.y.tolist()[:4] == [0, 1, 0, 1]
    assert np.array_equal(cases.x[:12], np.stack([sample.array for sample in samples(12)]).astype(np.float32))


def test_a_scenario_can_name_them_and_each_site_has_the_pipeline_it_was_packed_by(packed):
    other = Pipeline((Step("resample", {"size": (7, 7)}),))
    write_shards(packed / "west", samples(20), ("a", "b"), other.record())
    for old in list((packed / "west").glob("*.tar"))[1:]:
        old.unlink()
    east, west = sites_of(Data(reader="shards"), packed, 1, "")
    assert (east.pipeline, west.pipeline) == (PIPELINE, other)
    (packed / "west" / INDEX).unlink()
    assert sites_of(Data(reader="shards"), packed, 1, "")[1].pipeline == AS_STORED


def test_one_folder_is_one_site_and_splits_are_kept(tmp_path):
    made = [*samples(12, split="train"), Sample("9", np.zeros((6, 6), np.float16), "a", "q", "test")]
    write_shards(tmp_path / "north", made)
    cases = read_shards(tmp_path / "north", ShardOptions(), 0)
    assert cases.split.tolist() == ["train"] * 12 + ["test"]
    assert set(cases.site.tolist()) == {"north"}


def test_a_damaged_sample_is_set_aside_with_shard_key_and_reason_and_the_rest_goes_on(packed):
    path = sorted((packed / "east").glob("*.tar"))[0]
    data = bytearray(path.read_bytes())
    data[data.index(b"\x93NUMPY") + 130] ^= 1
    path.write_bytes(data)
    cases = read_shards(packed, ShardOptions(), 0)
    assert len(cases) == 31
    [(site, aside)] = cases.set_aside
    assert (site, aside.what, aside.reason) == ("east", "shard-000000.tar/0000", "damaged-sample")
    assert "does not have the digest" in aside.sentence


def test_samples_of_another_shape_are_set_aside(packed):
    odd = [Sample("x0", np.zeros((5, 6), np.float16), "a"), Sample("x1", np.zeros((6, 6), np.uint8), "a")]
    write_shards(packed / "more", odd)
    (packed / "more" / "shard-000000.tar").rename(packed / "east" / "x.tar")
    shutil.rmtree(packed / "more")
    cases = read_shards(packed, ShardOptions(), 0)
    assert len(cases) == 32
    assert [aside.what for _, aside in cases.set_aside] == ["x.tar/x0", "x.tar/x1"]


def test_a_shard_that_is_gone_is_named(packed):
    write_shards(packed / "west", samples(20), ("a", "b"), PIPELINE.record(), most=1)
    (packed / "west" / "shard-000007.tar").unlink()
    cases = read_shards(packed, ShardOptions(), 0)
    assert len(cases) == 31
    [(site, aside)] = cases.set_aside
    assert (site, aside.what) == ("west", "shard-000007.tar/(unknown)")
    assert "not there" in aside.sentence


def test_many_damaged_samples_fill_no_report(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SHOWN", 10)
    bad = [Sample(f"{n:03d}", np.full((2, 2), np.nan, np.float32), "a") for n in range(40)]
    write_shards(tmp_path / "east", [*bad, Sample("a", np.zeros((2, 2), np.float32), "a")])
    write_shards(tmp_path / "west", [Sample("a", np.zeros((2, 2), np.float32), "b")])
    cases = read_shards(tmp_path, ShardOptions(), 0)
    assert len(cases) == 2
    assert len(cases.set_aside) == 11
    assert "30 more samples are left out" in cases.set_aside[-1][1].sentence


def drawn(count: int = 4, highest: int = 2, start: int = 0) -> list[Sample]:
    rng = np.random.default_rng(count)
    return [
        Sample(
            f"{n:02d}",
            rng.normal(size=(3, 5, 4)).astype(np.float32),
            "",
            f"p{n}",
            mask=rng.integers(0, highest + 1, (3, 5, 4)).astype(np.uint8),
            spacing_mm=(None, 0.5, 0.7),
            orientation="HPL" if n else "HPX",
        )
        for n in range(start, start + count)
    ]


MASKS = ("nothing", "liver", "lesion")


def test_volumes_with_masks_are_cases_again(tmp_path):
    for position, name in enumerate(("west", "east")):
        write_shards(tmp_path / name, drawn(4 + position), MASKS, PIPELINE.record(), layout=Layout(3, (), position))
    cases = read_shards(tmp_path, ShardOptions(), 0)
    assert (cases.spatial, cases.classes, cases.y.dtype, cases.x.shape) == (3, MASKS, np.uint8, (9, 3, 5, 4))
    assert cases.site.tolist() == ["west"] * 4 + ["east"] * 5
    assert np.array_equal(cases.y[:4], np.stack([sample.mask for sample in drawn()]))
    assert np.array_equal(cases.spacing_mm[0], np.array([np.nan, 0.5, 0.7], np.float32), equal_nan=True)
    assert cases.orientation.tolist()[:2] == ["?", "HPL"]
    check(cases, "shards")


def test_a_mask_that_does_not_fit_costs_its_sample_alone(tmp_path):
    odd = [
        replace(drawn(start=10)[0], mask=np.full((3, 5, 4), 3, np.uint8)),
        replace(drawn(start=11)[0], mask=np.zeros((5, 4), np.uint8)),
    ]
    write_shards(tmp_path / "odd", odd[:1], ())
    write_shards(tmp_path / "flat", odd[1:], ())
    site = tmp_path / "data" / "east"
    write_shards(site, drawn(), MASKS, layout=Layout(3))
    write_shards(tmp_path / "plain", [replace(drawn(start=12)[0], mask=None, label="a")])
    for name in ("odd", "flat", "plain"):
        (tmp_path / name / "shard-000000.tar").rename(site / f"{name}.tar")
    cases = read_shards(tmp_path / "data", ShardOptions(), 0)
    assert len(cases) == 4
    told = {aside.what: aside.sentence for _, aside in cases.set_aside}
    assert told.keys() == {"odd.tar/10", "flat.tar/11", "plain.tar/12"}
    assert told["odd.tar/10"].startswith("its mask holds 3")
    assert told["flat.tar/11"].startswith("its mask has 2 axes")
    assert told["plain.tar/12"].startswith("it has no mask")


def test_pictures_are_no_volumes(tmp_path):
    write_shards(tmp_path, samples(), ("a", "b"), layout=Layout(3))
    with pytest.raises(DataError, match="says volumes"):
        read_shards(tmp_path, ShardOptions(), 0)


def test_masks_without_an_index_say_how_many_axes_are_space(tmp_path):
    write_shards(tmp_path, drawn(highest=1))
    (tmp_path / INDEX).unlink()
    cases = read_shards(tmp_path, ShardOptions(), 0)
    assert (cases.spatial, cases.classes) == (3, ("background", "foreground"))
    assert read_shards(tmp_path, ShardOptions(classes=MASKS), 0).classes == MASKS


def test_an_index_of_before_still_reads(packed):
    for site in ("east", "west"):
        told = json.loads((packed / site / INDEX).read_text())
        for name in ("masks", "position"):
            told.pop(name)
        (packed / site / INDEX).write_text(json.dumps(told))
    cases = read_shards(packed, ShardOptions(), 0)
    assert (len(cases), cases.spatial, cases.set_aside) == (32, 2, ())


def test_masks_at_some_sites_only_are_refused_and_so_are_their_classes_by_other_names(packed):
    write_shards(packed / "drawn", drawn(), MASKS)
    with pytest.raises(DataError, match="no masks, the others do: east, west"):
        read_shards(packed, ShardOptions(), 0)
    with pytest.raises(DataError, match="packed with the classes nothing, liver, lesion"):
        read_shards(packed / "drawn", ShardOptions(classes=("a", "b", "c")), 0)


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda folder: (folder / "west" / INDEX).write_text("{"), "cannot be read"),
        (lambda folder: (folder / "west" / INDEX).write_text(json.dumps({"classes": [1], "pipeline": {}})), "are none"),
        (
            lambda folder: (folder / "west" / INDEX).write_text(json.dumps({"classes": ["a"], "pipeline": {}})),
            "different classes",
        ),
        (lambda folder: write_shards(folder / "odd", samples(4, "ac")), "labels c; the classes are a, b"),
        (lambda folder: write_shards(folder / "odd", [Sample("0", np.full((6, 6), np.nan), "a")]), "none of the samples"),
        (
            lambda folder: write_shards(folder / "odd", [samples(1)[0], Sample("1", np.zeros((6, 6), np.float16), "a")]),
            "patient",
        ),
        (lambda folder: write_shards(folder / "odd", samples(2, split="trian")), "trian"),
    ],
)
def test_what_is_wrong_with_a_whole_site_is_refused(packed, spoil, match):
    spoil(packed)
    options = ShardOptions(classes=("a", "b")) if match.startswith("labels") else ShardOptions()
    with pytest.raises(DataError, match=match):
        read_shards(packed, options, 0)


def test_a_folder_without_shards_is_missing_data(tmp_path):
    (tmp_path / "site").mkdir()
    with pytest.raises(MissingData, match="site"):
        read_shards(tmp_path, ShardOptions(), 0)
    with pytest.raises(MissingData):
        read_shards(None, ShardOptions(), 0)
    write_shards(tmp_path / "site", samples(3, "a"))
    with pytest.raises(DataError, match="needs two classes"):
        read_shards(tmp_path, ShardOptions(), 0)
