from __future__ import annotations

import json

import numpy as np
import pytest

from fedmed.cli.pack import lots_of
from fedmed.dicom.synthetic.phantom import write_hospitals
from fedmed.preprocess.pipeline import AS_STORED
from fedmed.sites.cases import Cases
from fedmed.sites.readers.folder import FolderOptions, prepared_by, read_folder
from fedmed.sites.readers.shards import ShardOptions, read_shards
from fedmed.store.packs import Pack


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hospitals")
    write_hospitals(folder, 1, share=0.05)
    return folder


def test_sites_of_dicom_are_packed_and_read_back_as_they_were(hospitals, fedmed, tmp_path):
    done = fedmed("data", "pack", hospitals, tmp_path / "out", "--size", 32, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    written = json.loads(done.stdout)["sites"]
    cases = read_folder(hospitals, FolderOptions(size=32), 0)
    assert {each["site"] for each in written} == set(cases.site.tolist())
    again = read_shards(tmp_path / "out", ShardOptions(), 0)
    assert np.array_equal(again.x, cases.x)
    for column in ("y", "site", "patient"):
        assert getattr(again, column).tolist() == getattr(cases, column).tolist()
    index = json.loads((tmp_path / "out" / "east-city" / "shards.json").read_text())
    assert index["pipeline"] == prepared_by(FolderOptions(size=32)).record()


def test_one_site_becomes_one_file_and_that_becomes_shards(hospitals, fedmed, tmp_path):
    assert fedmed("data", "pack", hospitals / "east-city", tmp_path / "x.pack", "--size", 32).returncode == 0
    assert fedmed("data", "pack", tmp_path / "x.pack", tmp_path / "out").returncode == 0
    pack, again = Pack(tmp_path / "x.pack"), read_shards(tmp_path / "out", ShardOptions(), 0)
    assert np.array_equal(again.x, np.asarray(pack.x))
    assert again.patient.tolist() == pack.about.patients


@pytest.mark.parametrize(
    ("source", "out", "words"),
    [
        ("hospitals", "x.pack", "one file for the sites"),
        ("none", "out", "neither a folder"),
        ("hospitals", ".", "there already"),
    ],
)
def test_what_cannot_be_packed_is_said(hospitals, fedmed, tmp_path, source, out, words):
    (tmp_path / "something").write_text("")
    done = fedmed("data", "pack", hospitals if source == "hospitals" else tmp_path / source, tmp_path / out, "--size", 16)
    assert done.returncode == 2
    assert words in done.stderr


def test_cases_of_any_reader_make_a_lot_per_site():
    cases = Cases(np.zeros((4, 2, 2), np.uint8), np.array([0, 1, 1, 0]), ("a", "b"), site=np.array(["x", "y", "x", "y"]))
    lots = list(lots_of(cases, AS_STORED))
    assert [(lot.name, [(s.key, s.label) for s in lot.samples]) for lot in lots] == [
        ("x", [("00000000", "a"), ("00000001", "b")]),
        ("y", [("00000000", "b"), ("00000001", "a")]),
    ]
