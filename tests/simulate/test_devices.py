from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from benchmarks import killing
from fedmed.config.loading import load
from fedmed.errors import ConfigError
from fedmed.simulate.run import Request, simulate
from fedmed.simulate.traces import NAME as TRACE
from fedmed.store.commits import Commits

LINE = {"up": "10 Mbit/s", "down": "50 Mbit/s", "latency": "20 ms"}
PLAIN = "privacy.secure_aggregation=off"
BOXES = {"name": "box", "count": 2, "machine": "box", "line": "lan", "cases": {"median": 50}}


def topology(boxes: dict[str, Any] = {}, **more: Any) -> dict[str, Any]:
    """Three clinics with two devices each."""
    devices = [{**BOXES, **boxes}]
    return {
        "machines": {"box": {"like": "t4", "step": "10 s"}, "slow": {"like": "t4", "step": "900 s"}},
        "lines": {"hall": {"up": "1 Gbit/s", "down": "1 Gbit/s"}, "dsl": LINE, "lan": LINE},
        "center": {"line": "hall"},
        "clinics": [
            {"name": "ward", "count": 3, "machine": "box", "line": "dsl", "cases": {"median": 100}, "devices": devices}
        ],
        **more,
    }


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nine")
    killing.write_inputs(folder, [f"s{number}" for number in range(9)])
    return folder


@pytest.fixture
def run(data: Path, tmp_path: Path):
    def made(whole: dict[str, Any], *overrides: str, out: str = "run", resume: bool = False) -> dict[str, Any]:
        told = yaml.safe_load((data / "tiny.yaml").read_text())
        told["data"]["partition"] = {"by": "topology"}
        told |= {"rounds": 3, "engine": {"workers": 0}, "topology": whole}
        path = tmp_path / "scenario.yaml"
        path.write_text(json.dumps(told))
        return simulate(Request(load(path, overrides), data, tmp_path / out, resume))

    return made


def trace(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / TRACE).read_bytes().splitlines()]


def folded(folder: Path) -> list[dict[str, Any]]:
    return [each for each in trace(folder) if each["event"] == "folded"]


@pytest.mark.parametrize("privacy", [PLAIN, "privacy.secure_aggregation=malicious"])
def test_devices_are_in_their_clinics_update_and_in_the_trace(run, tmp_path, privacy):
    report = run(topology(), privacy)
    assert all(len(each["joined"]) == 3 for each in report["rounds"])
    told = folded(tmp_path / "run")
    assert len(told) == 9
    assert told[0]["devices"] == [f"{told[0]['who']}#box#1", f"{told[0]['who']}#box#2"]
    assert told[0]["missing"] == {}
