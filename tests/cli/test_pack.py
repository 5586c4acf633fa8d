from __future__ import annotations

import json

import numpy as np
import pytest

from fedmed.cli.pack import lots_of
from fedmed.config.catalogue import find
from fedmed.config.loading import load
from fedmed.config.scenario import Partition
from fedmed.dicom.synthetic.phantom import write_hospitals
from fedmed.errors import DataError
from fedmed.preprocess.pipeline import AS_STORED
from fedmed.sites import SPLITS, sites_of
from fedmed.sites.cases import Cases, patient_rows
from fedmed.sites.readers import read
from fedmed.sites.readers.folder import FolderOptions, prepared_by, read_folder
from fedmed.sites.readers.shards import ShardOptions, read_shards
from fedmed.store.packs import Pack
from fedmed.wire.samples import Sample
from fedmed.wire.shards import write_shards

SHARDS = {"reader": "shards", "folder": "out", "options": {}, "partition": Partition()}


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hospitals")
    write_hospitals(folder, 1, share=0.05)
    return folder


def test_sites_of_dicom_are_packed_and_read_back_as_they_were(hospitals, fedmed, tmp_path):
    done = fedmed("data", "pack", hospitals, tmp_path / "out", "--size", 32, "--json")
    assert (done.returncode, done.stderr) == (0, "read ...\nread: 20 cases\npack: 20 cases\n")
    written = json.loads(done.stdout)["sites"]
    cases = read_folder(hospitals, FolderOptions(size=32), 0)
    assert {each["site"] for each in written} == set(cases.site.tolist())
    again = read_shards(tmp_path / "out", ShardOptions(), 0)
    assert np.array_equal(again.x, cases.x)
    for column in ("y", "site"):
        assert getattr(again, column).tolist() == getattr(cases, column).tolist()
    assert [rows.tolist() for rows in patient_rows(again)] == [rows.tolist() for rows in patient_rows(cases)]
    assert not any(
        name.encode() in path.read_bytes() for path in (tmp_path / "out").rglob("*.tar") for name in cases.patient
    )
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
        ("demo.yaml", "out", "--size is for folders"),
    ],
)
def test_what_cannot_be_packed_is_said(hospitals, fedmed, tmp_path, source, out, words):
    (tmp_path / "something").write_text("")
    done = fedmed("data", "pack", hospitals if source == "hospitals" else tmp_path / source, tmp_path / out, "--size", 16)
    assert done.returncode == 2
    assert words in done.stderr


def test_a_machine_that_is_none_is_found_before_anything_is_read(said, wards, tmp_path):
    scenario = tmp_path / "machines.yaml"
    centre = "  center: {line: dsl}\n  lines: {dsl: {up: 1 Mbit/s, down: 1 Mbit/s}}\n"
    clinics = "  clinics:\n    - {name: a, machine: t5, line: dsl}\n"
    scenario.write_text((wards / "bedside.yaml").read_text() + "topology:\n" + centre + clinics)
    code, _, err = said("data", "pack", scenario, tmp_path / "out", "--data", wards)
    assert code == 2
    assert f'{scenario}:17: topology.clinics.0.machine: got "t5", which is not a machine' in err


def test_cases_of_any_reader_make_a_lot_per_site():
    cases = Cases(np.zeros((4, 2, 2), np.uint8), np.array([0, 1, 1, 0]), ("a", "b"), site=np.array(["x", "y", "x", "y"]))
    lots = list(lots_of(cases, AS_STORED))
    assert [(lot.name, [(s.key, s.label) for s in lot.samples]) for lot in lots] == [
        ("x", [("00000000", "a"), ("00000001", "b")]),
        ("y", [("00000000", "b"), ("00000001", "a")]),
    ]


NODULES = ("nodules", "--set", "data.options={share: 0.3, size: [8, 16, 16], spacing_mm: [12, 20, 20], workers: 1}")


def test_a_scenario_of_dicom_studies_is_packed_with_masks_and_what_was_set_aside_is_named(said, tmp_path):
    code, out, heard = said("data", "pack", *NODULES, tmp_path / "out", "--json")
    assert (code, heard) == (0, "read ...\nread: 13 cases\npack: 13 cases\n")
    told = json.loads(out)
    reasons = {"east-city": "truncated", "north-university": "missing-slices", "south-childrens": "duplicate-slices"}
    assert {each["site"]: each["reason"] for each in told["set_aside"]} == reasons
    assert [(each["site"], each["masks"]) for each in told["sites"]] == [(site, True) for site in reasons]
    own = load(find("nodules"), NODULES[2:])
    assert_same(read_shards(tmp_path / "out", ShardOptions(), 0), read(own.data, None, own.seed, ""))


def test_a_person_is_told_too_and_slices_are_images_with_masks(said, tmp_path):
    sliced = NODULES[2].replace("share", "slices: true, share")
    code, out, _ = said("data", "pack", "nodules", "--set", sliced, tmp_path / "out")
    assert code == 0
    assert "32 samples with masks" in out
    assert out.count("was set aside: ") == 3
    assert "was set aside: missing-slices. " in out
    own, cases = load(find("nodules"), (sliced,)), read_shards(tmp_path / "out", ShardOptions(), 0)
    assert (cases.spatial, cases.x.shape[1:]) == (2, (16, 16))
    assert_same(cases, read(own.data, None, own.seed, ""))


def test_masks_go_into_no_pack(said, wards, tmp_path):
    code, _, heard = said("data", "pack", wards / "bedside.yaml", tmp_path / "x.pack", "--data", wards)
    assert (code, "one file for the sites east, north, west" in heard) == (2, True)
    mask = np.ones((4, 4), np.uint8)
    write_shards(tmp_path / "out", [Sample("a", np.zeros((4, 4), np.float32), "", mask=mask)], ("nothing", "lesion"))
    again = "data={reader: shards, folder: out}"
    code, _, heard = said("data", "pack", "nodules", "--set", again, "--data", tmp_path, tmp_path / "x.pack")
    assert (code, "a pack holds none; name a folder" in heard) == (2, True)
    assert not list(tmp_path.glob("*.pack"))


def test_tables_are_packed_with_their_columns_and_sites_keep_their_order(said, wards, tmp_path):
    code, _, heard = said("data", "pack", wards / "bedside.yaml", tmp_path / "out", "--data", wards)
    assert code == 0, heard
    own = load(wards / "bedside.yaml")
    assert_same(read_shards(tmp_path / "out", ShardOptions(), 0), read(own.data, wards, own.seed, ""))


def test_dealt_sites_are_packed_as_they_are_dealt(said, wards, tmp_path):
    dealt = ("--set", "data.partition={by: dirichlet, sites: 3}")
    assert said("data", "pack", wards / "bedside.yaml", tmp_path / "out", "--data", wards, *dealt)[0] == 0
    own = load(wards / "bedside.yaml", dealt[1:])
    sites = sites_of(own.data, wards, own.seed, "")
    again = sites_of(own.data.model_copy(update=SHARDS), tmp_path, own.seed, "")
    assert [site.name for site in again] == [site.name for site in sites] == ["site-01", "site-02", "site-03"]
    for one, other in zip(again, sites, strict=True):
        for part in SPLITS:
            assert np.array_equal(getattr(one, part).x, getattr(other, part).x)


def test_a_name_that_may_mean_two_things_is_refused(said, hospitals, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").symlink_to(hospitals)
    code, _, heard = said("data", "pack", "demo", "out")
    assert (code, "write ./demo" in heard) == (2, True)
    assert said("data", "pack", "./demo", "out", "--size", 16)[0] == 0
    code, _, heard = said("data", "pack", "./demo", "more", "--set", "rounds=1")
    assert (code, "--set is for scenarios" in heard) == (2, True)


def test_an_empty_patient_is_refused_before_it_is_packed(tmp_path):
    cases = Cases(np.zeros((2, 2, 2), np.uint8), np.array([0, 1]), ("a", "b"), np.array(["p", ""]))
    [lot] = lots_of(cases, AS_STORED)
    with pytest.raises(DataError, match="case 1 has an empty patient"):
        list(lot.samples)


def assert_same(one: Cases, other: Cases) -> None:
    """Every column bit by bit; of patients, whose cases belong together."""
    assert [rows.tolist() for rows in patient_rows(one)] == [rows.tolist() for rows in patient_rows(other)]
    for name in ("x", "y", "site", "split", "spacing_mm", "orientation"):
        mine, its = getattr(one, name), getattr(other, name)
        assert (mine is None) == (its is None), name
        if mine is not None:
            assert np.array_equal(mine, its, equal_nan=name == "spacing_mm"), name
            assert mine.dtype.kind == its.dtype.kind
    assert (one.classes, one.features, one.spatial) == (other.classes, other.features, other.spatial)
