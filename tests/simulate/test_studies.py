"""A federation on DICOM studies: real CT with planted lesions, and one poisoned study at each site."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import lesion_sites
from fedmed.config.loading import load
from fedmed.simulate.run import Request, simulate

SCENARIO = """
name: lesions
title: Lesions planted in a real CT, three hospitals
rounds: 2
data:
  reader: studies
  folder: sites
  options: {size: [16, 32, 32], spacing_mm: [4.0, 2.7, 2.7], window: [-1000, 300]}
  split: {test: 0.25, validation: 0.1}
task:
  name: segmentation
  model_options: {channels: [4, 8]}
  patches: {size: [8, 16, 16], per_case: 1}
training: {optimiser: adamw, learning_rate: 0.01, batch_size: 8, epochs: 1}
evaluation: {baselines: false}
"""


@pytest.fixture(scope="module")
def sites(shared_data: Path, tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """The folder of three hospitals, and the series of each that cannot be trusted."""
    folder = tmp_path_factory.mktemp("lesions")
    poisoned = lesion_sites.write_sites(shared_data / lesion_sites.SERIES, folder / "sites", 1)
    (folder / "lesions.yaml").write_text(SCENARIO)
    return folder, poisoned


def test_a_poisoned_study_a_site_is_named_and_the_rounds_go_on(sites, tmp_path):
    folder, poisoned = sites
    report = simulate(Request(load(folder / "lesions.yaml"), folder, tmp_path / "run"))
    assert report["status"] == "complete"
    assert [each["joined"] for each in report["rounds"]] == [sorted(poisoned)] * 2
    aside = {site: [(each["what"], each["reason"]) for each in found] for site, found in report["set_aside"].items()}
    reasons = {"lyon": "truncated", "graz": "missing-slices", "turku": "duplicate-slices"}
    assert aside == {site: [(series, reasons[site])] for site, series in poisoned.items()}
    said = [json.loads(line) for line in (tmp_path / "run" / "journal.jsonl").read_text().splitlines()]
    assert {event["site"] for event in said if event["event"] == "set-aside"} == set(poisoned)
    page = (tmp_path / "run" / "report.html").read_text()
    for series in poisoned.values():
        assert series in page


def test_the_sites_certify_their_kernels(sites, tmp_path):
    folder, _ = sites
    report = simulate(Request(load(folder / "lesions.yaml", ("rounds=1",)), folder, tmp_path / "run"))
    for told in report["fingerprints"].values():
        assert told["parity"]["passed"]
        assert told["pipeline_sha256"] == next(iter(report["fingerprints"].values()))["pipeline_sha256"]
