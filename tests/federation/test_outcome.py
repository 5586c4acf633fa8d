from __future__ import annotations

import json
import os

from fedmed import __version__
from fedmed.federation.outcome import machine, sites_missing, versions


def record(number, missing=(), refused=()):
    return {"round": number, "missing": dict.fromkeys(missing, "why"), "refused": dict.fromkeys(refused, "why")}


def test_sites_missing_names_whom_a_round_was_closed_without():
    rounds = [record(1), record(2, ["oslo", "lyon"]), record(3, refused=["zug"]), record(4, ["oslo"], ["berlin"])]
    assert sites_missing(rounds) == {"2": ["lyon", "oslo"], "3": ["zug"], "4": ["berlin", "oslo"]}
    assert sites_missing([record(1)]) == {}
    assert sites_missing([]) == {}


def test_versions_are_those_of_what_decides_the_figures():
    found = versions()
    assert set(found) == {"python", "fedmed", "flwr", "torch", "monai", "numpy", "pydicom"}
    assert found["fedmed"] == __version__
    assert found["flwr"] == "1.41.0"


def test_the_machine_is_described_without_its_name():
    found = machine(3)
    assert (found["workers"], found["cores"]) == (3, os.cpu_count())
    assert os.uname().nodename not in json.dumps(found)
