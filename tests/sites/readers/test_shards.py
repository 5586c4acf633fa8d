from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from fedmed.config.scenario import Data
from fedmed.errors import DataError
from fedmed.preprocess.pipeline import AS_STORED, Pipeline, Step
from fedmed.sites import sites_of
from fedmed.sites.readers.reader import MissingData
from fedmed.sites.readers.shards import ShardOptions, read_shards
from fedmed.wire.samples import Sample
from fedmed.wire.shards import INDEX, write_shards

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


def test_a_damaged_sample_is_logged_with_shard_key_and_reason_and_the_rest_goes_on(packed, caplog):
    path = sorted((packed / "east").glob("*.tar"))[0]
    data = bytearray(path.read_bytes())
    data[data.index(b"\x93NUMPY") + 130] ^= 1
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        cases = read_shards(packed, ShardOptions(), 0)
    assert len(cases) == 31
    [line] = [record.getMessage() for record in caplog.records]
    assert "site east: shard-000000.tar: sample 0000 is left out: its array does not have the digest" in line


def test_samples_of_another_shape_are_left_out_and_logged(packed, caplog):
    odd = [Sample("x0", np.zeros((5, 6), np.float16), "a"), Sample("x1", np.zeros((6, 6), np.uint8), "a")]
    write_shards(packed / "more", odd)
    (packed / "more" / "shard-000000.tar").rename(packed / "east" / "x.tar")
    for path in (packed / "more").iterdir():
        path.unlink()
    (packed / "more").rmdir()
    with caplog.at_level(logging.WARNING):
        assert len(read_shards(packed, ShardOptions(), 0)) == 32
    assert len(caplog.records) == 2


def test_many_damaged_samples_fill_no_screen(tmp_path, caplog):
    bad = [Sample(f"{n:03d}", np.full((2, 2), np.nan, np.float32), "a") for n in range(40)]
    write_shards(tmp_path / "east", [*bad, *samples(4, "xy")[:0], Sample("a", np.zeros((2, 2), np.float32), "a")])
    write_shards(tmp_path / "west", [Sample("a", np.zeros((2, 2), np.float32), "b")])
    with caplog.at_level(logging.WARNING):
        assert len(read_shards(tmp_path, ShardOptions(), 0)) == 2
    assert len(caplog.records) == 11
    assert "30 more samples are left out" in caplog.records[-1].getMessage()


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
