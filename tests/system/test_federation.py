"""A whole federation of real processes, from two empty folders to a model, through kills, refusals and a revocation."""

from __future__ import annotations

import json
import os
import signal
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedmed import __version__
from fedmed.config.catalogue import find
from fedmed.config.loading import load
from fedmed.operation.logs import FILE_BYTES
from fedmed.sites.prepare import sites_of
from fedmed.store.ledgers import read as read_ledgers
from fedmed.store.standing import read_status
from fedmed.wire import tensors as wire
from tests.system.hospitals import Hospitals, fedmed, told, until
from tests.system.one_process import in_process, last

SITES = {"east": "east-city", "north": "north-university", "south": "south-childrens"}
SHARE = "share=0.3"
"""Of the demonstration's patients: each clinic makes and reads them again for each run."""
SMALL = f"data.options.{SHARE}"
DATA = ("--reader", "phantom", "--set", SHARE, "--set", "split.test=0.3", "--set", "split.validation=0.1")


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory):
    with ExitStack() as stack:
        made = Hospitals(tmp_path_factory.mktemp("federation"), stack)
        made.center.start()
        for name, site in SITES.items():
            made.join(name)
            made.give_data(name, *DATA, "--site", site)
        made.approve_each_other()
        for clinic in made.clinics.values():
            clinic.start()
        yield made


def test_a_run_waits_for_approvals_and_ends_with_a_model_and_a_report_though_its_center_is_killed(hospitals: Hospitals):
    run = hospitals.run("demo", SMALL, "rounds=2")
    until(lambda: "not approved" in json.loads((hospitals.folder_of(run) / "state.json").read_text())["why"])
    for name in SITES:
        hospitals.approve(name, run)
    until(lambda: any(each["round"] == 2 for each in hospitals.events(run, "round")), hospitals.center.is_running)
    hospitals.center.end(signal.SIGKILL)
    hospitals.center.start()
    assert hospitals.until_over(run)["stage"] == "done"
    folder = hospitals.folder_of(run)
    report = json.loads((folder / "report.json").read_text())
    assert report["engine"] == "a real federation"
    assert [record["joined"] for record in report["rounds"]] == [sorted(SITES)] * 2
    assert [record["attempt"] for record in report["rounds"]] == [1, 1], "what was asked before the kill is not asked anew"
    assert "sums only" in report["evaluated_by"]
    assert (folder / "report.html").stat().st_size > 10_000
    assert all(np.isfinite(value).all() for value in wire.load(folder / "model.safetensors").values())
    assert [entry["round"] for entry in told("center", "models", "list", "--at", hospitals.center.folder)["models"]]


def test_everything_that_left_is_in_the_clinics_ledgers_and_logs_verify(hospitals: Hospitals):
    for name, clinic in hospitals.clinics.items():
        (ledger,) = read_ledgers(clinic.folder / "ledgers")
        assert ledger.name == name
        assert {line.purpose for line in ledger.departures} == {"census", "update", "evaluation"}
        assert ledger.statements
        assert fedmed("audit", "verify", clinic.folder / "audit").returncode == 0
    assert fedmed("audit", "verify", hospitals.center.folder / "audit").returncode == 0
    assert told("center", "status", "--at", hospitals.center.folder)["up"]


def test_a_clinic_sees_its_own_gain_and_the_center_none_of_it(hospitals: Hospitals, tmp_path: Path):
    run = _first(hospitals)
    for clinic in hospitals.clinics.values():
        gain = told("clinic", "runs", run, "--html", tmp_path / "gain.html", "--at", clinic.folder)
        assert [each["round"] for each in gain["rounds"]] == [0, 1, 2]
        assert "<svg" in (tmp_path / "gain.html").read_text()
        secrets = [repr(each["figures"]["loss"]).encode() for each in gain["rounds"]]
        for path in hospitals.center.folder.rglob("*"):
            assert not path.is_file() or not any(secret in path.read_bytes() for secret in secrets), path


def _first(hospitals: Hospitals) -> str:
    return str(told("center", "status", "--at", hospitals.center.folder)["runs"][0]["name"])


def _sites(hospitals: Hospitals) -> dict:
    return told("center", "status", "--at", hospitals.center.folder)["sites"]


def test_the_model_is_to_the_bit_that_of_the_engine_in_one_process(hospitals: Hospitals, tmp_path: Path):
    # of the first run, whose center was killed; benchmarks/real_run.py does the same without masks
    scenario = load(find("demo"), [SMALL, "rounds=2"])
    own = {site.name: site for site in sites_of(scenario.data, tmp_path, scenario.seed, scenario.source)}
    sites = [replace(own[site], name=name) for name, site in sorted(SITES.items())]
    folders = {name: clinic.folder for name, clinic in hospitals.clinics.items()}
    here, there = in_process(scenario, sites, folders, tmp_path / "run"), last(hospitals.folder_of(_first(hospitals)))
    assert here.tensors.keys() == there.tensors.keys()
    assert [name for name, value in here.tensors.items() if value.tobytes() != there.tensors[name].tobytes()] == []


@pytest.mark.nightly  # tests/flower/test_versions.py judges the same over the real port
def test_a_clinic_of_the_next_minor_takes_part_and_one_further_on_is_told_why_not(hospitals: Hospitals):
    north, (major, minor) = hospitals.clinics["north"], map(int, __version__.split(".")[:2])
    north.end()
    north.start(version=f"{major}.{minor + 1}.0")
    run = hospitals.run("demo", SMALL, "rounds=1", "name=skewed")
    for name in SITES:
        hospitals.approve(name, run)
    assert hospitals.until_over(run)["stage"] == "done"
    assert _sites(hospitals)["north"]["version"] == f"{major}.{minor + 1}.0"
    assert told("clinic", "status", "--at", north.folder)["center_version"] == __version__
    north.end()
    north.start(version=f"{major}.{minor + 2}.0")
    wanted = f"runs fedmed {major}.{minor + 2}.0, the other side {__version__}"
    until(lambda: any(wanted in each["text"] for each in told("clinic", "status", "--at", north.folder)["said"]))
    north.end()
    north.start()


@pytest.mark.nightly  # the center's kill takes the same way; benchmarks/namespaces.py kills clinics as well
def test_a_clinic_that_is_killed_is_served_again_without_a_restart_of_anything_else(hospitals: Hospitals):
    run = hospitals.run("demo", SMALL, "rounds=3", "name=hurt")
    for name in SITES:
        hospitals.approve(name, run)
    until(lambda: hospitals.events(run, "committed"))
    hospitals.clinics["north"].end(signal.SIGKILL)
    hospitals.clinics["north"].start()
    assert hospitals.until_over(run)["stage"] == "done"
    rounds = json.loads((hospitals.folder_of(run) / "report.json").read_text())["rounds"]
    assert [record["joined"] for record in rounds] == [sorted(SITES)] * 3


def test_the_staff_takes_an_approval_back_in_mid_run(hospitals: Hospitals):
    run = hospitals.run("demo", SMALL, "rounds=200", "name=withdrawn")
    for name in SITES:
        hospitals.approve(name, run)
    until(lambda: hospitals.events(run, "committed"))
    fedmed("clinic", "data", "withdraw", "cases", "--reason", "a test", "--at", hospitals.clinics["east"].folder)
    until(lambda: hospitals.stage(run) == "stalled", hospitals.center.is_running)
    assert "NotApproved" in json.loads((hospitals.folder_of(run) / "state.json").read_text())["why"]
    fedmed("center", "stop", run, "--at", hospitals.center.folder)
    assert hospitals.until_over(run)["stage"] == "stopped"


def test_the_centers_log_is_countersigned_by_its_clinics(hospitals: Hospitals):
    # at their next beat, a minute apart: by now it has mostly come
    until(lambda: all(site["countersigned"] for site in read_status(hospitals.center.folder)["sites"].values()))


def test_services_end_when_they_are_asked_and_say_so(hospitals: Hospitals):
    for clinic in hospitals.clinics.values():
        assert clinic.end() == 0
    assert hospitals.center.end() == 0
    for folder in (hospitals.center.folder, hospitals.clinics["east"].folder):
        assert json.loads((folder / "status.json").read_text())["state"] == "stopped"


def test_what_a_service_said_is_in_its_folder_without_colours_or_paths_and_rotates(hospitals: Hospitals):
    for service in (hospitals.center, hospitals.clinics["east"]):
        service.end()
        log = service.folder / "service.log"
        said = log.read_text()
        assert " is up" in said
        assert said == service.log.read_text()  # what journald is given
        assert "\x1b" not in said
        assert str(service.folder) not in said
        assert log.stat().st_mode & 0o077 == 0
        os.truncate(log, FILE_BYTES)
        service.start()
        assert service.end() == 0
        assert (service.folder / "service.log.1").stat().st_size == FILE_BYTES
        assert " is up" in log.read_text()
