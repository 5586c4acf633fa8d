"""Hospitals with real scanners' differences federate; one whose images lie sideways is named before the first round."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest

from fedmed.config.catalogue import find
from fedmed.config.loading import load, parse
from fedmed.dicom.synthetic.phantom import write_hospitals
from fedmed.errors import ConfigError, GateRefused
from fedmed.federation.gate import judge
from fedmed.learning.clinic import Clinic
from fedmed.learning.disclosure import simulated_desk
from fedmed.learning.plan import Described, inquiry
from fedmed.simulate.run import Request, simulate
from fedmed.sites import sites_of
from fedmed.store import ledger

SCENARIO = """\
name: hospitals
title: Hospitals
rounds: 1
data: {reader: folder, folder: hospitals, options: {size: 32, field_of_view_mm: 280.0}}
task: {name: scan, model_options: {widths: [8]}}
training: {learning_rate: 0.01, epochs: 1}
evaluation: {baselines: false}
engine: {workers: 0}
"""


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_hospitals(folder / "hospitals", 4, share=0.8)
    return folder


@pytest.fixture
def turned(hospitals, tmp_path) -> Path:
    """The same hospitals, one of which has written its images as they lay on the table, sideways."""
    shutil.copytree(hospitals, tmp_path / "data")
    for path in (tmp_path / "data" / "hospitals" / "west-mobile" / "images").glob("*.dcm"):
        study = pydicom.dcmread(path)
        pixels = np.ascontiguousarray(np.rot90(study.pixel_array, -1))
        study.Rows, study.Columns = pixels.shape
        study.PixelData = pixels.tobytes()
        study.save_as(path)
    return tmp_path / "data"


def run(data: Path, out: Path, *overrides: str, resume: bool = False):
    return simulate(Request(parse(SCENARIO, "hospitals.yaml", overrides), data, out, resume))


def ledgers(out: Path) -> list[Path]:
    """Those of statements; those of masked vectors are beside them."""
    return sorted((out / "ledgers").glob("[0-9][0-9][0-9][0-9][0-9].jsonl"))


def test_four_scanners_pass_and_their_statistics_are_in_the_report_and_in_their_ledgers(hospitals, tmp_path):
    out = tmp_path / "run"
    report = run(hospitals, out)
    assert report["gate"] == {"mode": "refuse", "findings": []}
    assert set(report["fingerprints"]) == {"east-city", "north-university", "south-childrens", "west-mobile"}
    told = [json.loads(entry.statement) for path in ledgers(out) for entry in ledger.verify(path)]
    assert sorted(each["cases"] for each in told) == sorted(
        f["statistics"]["cases"] for f in report["fingerprints"].values()
    )
    assert len(told) == 4


def test_a_hospital_whose_images_lie_sideways_is_named_before_round_one(turned, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(GateRefused, match="site west-mobile: its images lie sideways"):
        run(turned, out)
    assert not (out / "commits").exists()
    lines = [json.loads(line) for line in (out / "journal.jsonl").read_text().splitlines()]
    assert [each["site"] for line in lines if line["event"] == "gate" for each in line["findings"]] == ["west-mobile"]
    assert not [line for line in lines if line["event"] == "round"]
    report = run(turned, tmp_path / "warned", "federation.gate=warn")
    assert [finding["site"] for finding in report["gate"]["findings"]] == ["west-mobile"]


def test_mended_data_may_start_in_the_same_folder(turned, hospitals, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(GateRefused):
        run(turned, out)
    assert run(hospitals, out)["status"] == "complete"
    assert [len(ledger.verify(path)) for path in ledgers(out)] == [1, 1, 1, 2]


def test_a_run_that_comes_to_nothing_leaves_no_ledger_either(hospitals, tmp_path):
    with pytest.raises(ConfigError, match=r"federation\.quorum\.required"):
        run(hospitals, tmp_path / "run", "federation.quorum.required=[nobody]")
    assert not (tmp_path / "run").exists()


def test_with_the_gate_off_nothing_leaves(hospitals, tmp_path):
    report = run(hospitals, tmp_path / "run", "federation.gate=off")
    assert (report["gate"], report["fingerprints"]) == (None, {})
    assert ledgers(tmp_path / "run") == []


def described(scenario, data: Path, folder: Path) -> list[Described]:
    sites = sites_of(scenario.data, data, scenario.seed, scenario.source)
    asked = inquiry(scenario).model_dump_json()
    return [
        Described.parse(Clinic(site, simulated_desk(folder / "sites", n)).describe(asked)) for n, site in enumerate(sites)
    ]


@pytest.mark.parametrize("name", ["pneumonia", "skin"])
def test_real_sets_of_different_clinics_pass(name, shared_data, tmp_path):
    told = described(load(find(name)), shared_data, tmp_path)
    assert len(told) == 4
    assert {finding.kind for finding in judge(told)} <= {"classes"}


def test_a_real_site_that_is_turned_or_mirrored_is_named(shared_data, tmp_path):
    scenario = load(find("pneumonia"))
    sites = sites_of(scenario.data, shared_data, scenario.seed, scenario.source)
    asked = inquiry(scenario).model_dump_json()
    told = [
        Described.parse(Clinic(site, simulated_desk(tmp_path / "sites", n)).describe(asked)) for n, site in enumerate(sites)
    ]
    x = sites[3].train.x
    for number, (wrong, words, weight) in enumerate(
        [(np.rot90(x, 1, (1, 2)), "sideways", "refuses"), (x[:, :, ::-1], "mirrored left to right", "warns")]
    ):
        object.__setattr__(sites[3].train, "x", wrong)
        clinic = Clinic(sites[3], simulated_desk(tmp_path / f"wrong-{number}" / "sites", 3))
        found = [each for each in judge([*told[:3], Described.parse(clinic.describe(asked))]) if each.kind == "lies"]
        assert [(each.site, each.weight) for each in found] == [("site-04", weight)]
        assert words in found[0].sentence
