from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import killing
from fedmed.config.loading import load
from fedmed.config.scenario import Scenario
from fedmed.errors import ConfigError
from fedmed.simulate import devices
from fedmed.simulate.run import Request, simulate
from fedmed.simulate.traces import NAME as TRACE
from fedmed.sites.prepare import sites_of
from fedmed.store.commits import Commits

LINE = {"up": "10 Mbit/s", "down": "50 Mbit/s", "latency": "20 ms"}
PLAIN = "privacy.secure_aggregation=off"
BOXES = {"name": "box", "count": 2, "machine": "box", "line": "lan", "cases": {"median": 50}}
SIZES = st.lists(st.integers(1, 500), min_size=1, max_size=5)


def topology(boxes: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """Three clinics with two devices each."""
    devices = [{**BOXES, **(boxes or {})}]
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
    told = report["virtual"]["devices"]
    assert set(told) == {f"ward#{clinic}#box#{number}" for clinic in (1, 2, 3) for number in (1, 2)}
    assert all(each == {"joined": 3, "missing": {}} for each in told.values())
    tiers = {each["who"]: each for each in report["answers"]["tiers"]}
    assert tiers["ward/box"]["work"] > 0
    assert tiers["ward/box"]["down_bytes"] > 0


def test_the_same_seed_gives_the_same_bytes_on_any_number_of_processes_and_after_a_stop(run, tmp_path):
    first = run(topology(), "engine.workers=0", out="0")
    again = run(topology(), "engine.workers=2", out="2")
    assert again["model_sha256"] == first["model_sha256"]
    assert (tmp_path / "2" / TRACE).read_bytes() == (tmp_path / "0" / TRACE).read_bytes()
    last = Commits(tmp_path / "0").latest()[0]
    assert last is not None
    shutil.rmtree(tmp_path / "0" / "commits" / f"round-{last.round:06d}")
    resumed = run(topology(), "engine.workers=0", out="0", resume=True)
    assert resumed["resumed"] == [2]
    assert resumed["model_sha256"] == first["model_sha256"]
    assert resumed["virtual"]["devices"] == first["virtual"]["devices"]


def test_a_device_that_is_late_is_named_and_its_cases_are_in_no_fold(run, tmp_path):
    late = run(topology({"machine": "slow"}), PLAIN, out="late")
    for each in folded(tmp_path / "late"):
        assert each["devices"] == []
        assert all("no updates within" in why for why in each["missing"].values())
        assert len(each["missing"]) == 2
    assert all(each["joined"] == 0 and sum(each["missing"].values()) == 3 for each in late["virtual"]["devices"].values())
    everybody = run(topology(), PLAIN, out="all")
    assert late["model_sha256"] != everybody["model_sha256"]


def test_a_dark_device_is_missing_while_it_is_dark(run, tmp_path):
    dark = topology(faults=[{"kind": "dark", "who": "ward/2/box/1", "at": "0 s", "lasts": "2 h"}])
    report = run(dark, PLAIN)
    parts = report["virtual"]["devices"]
    assert parts["ward#2#box#1"]["joined"] == 0
    assert parts["ward#2#box#2"]["joined"] == 3
    missing = [each["missing"] for each in folded(tmp_path / "run") if each["who"] == "ward#2"]
    assert all("ward#2#box#1" in each and "dark" in each["ward#2#box#1"] for each in missing)


def test_what_cannot_be_played_is_refused_by_name_all_at_once(run):
    lone = topology()
    lone["clinics"][0]["trains"] = False
    with pytest.raises(ConfigError) as caught:
        run(lone, "engine.name=ray")
    assert "trains: false" in str(caught.value)
    assert "engine.name: got ray" in str(caught.value)


@given(SIZES, st.integers(0, 2**32))
def test_what_is_folded_is_the_mean_by_cases_and_counters_are_the_clinics(sizes, seed):
    draws = np.random.default_rng(seed)
    model = {"weight": draws.normal(size=(3, 2)).astype(np.float32), "seen": np.array(3)}
    weights = [draws.normal(size=(3, 2)).astype(np.float32) for _ in sizes]
    made = [{"weight": weight, "seen": np.array(4 + place)} for place, weight in enumerate(weights)]
    numbers = [{"num-examples": size, "loss": float(place)} for place, size in enumerate(sizes)]
    parts = [devices._part(model, each, told) for each, told in zip(made, numbers, strict=True)]
    folded, values = devices._folded(model, made[0], parts)
    expected = sum(size * each["weight"].astype(np.float64) for size, each in zip(sizes, made, strict=True)) / sum(sizes)
    assert np.allclose(folded["weight"], expected, atol=1e-6)
    assert folded["weight"].dtype == np.float32
    assert folded["seen"] == 4
    assert values["num-examples"] == sum(sizes)
    assert values["loss"] == pytest.approx(sum(place * size for place, size in enumerate(sizes)) / sum(sizes))


def test_devices_stand_behind_their_clinics_and_only_train(run, data):
    told = yaml.safe_load((data / "tiny.yaml").read_text())
    told["data"]["partition"] = {"by": "topology"}
    scenario = Scenario.model_validate_json(json.dumps({**told, "topology": topology()}))
    sites = sites_of(scenario.data, data, 1, "", scenario.topology)
    apart = devices.dealt(sites, scenario.topology)
    assert [site.name for site in apart.clinics] == ["ward#1", "ward#2", "ward#3"]
    assert [apart.all[number].name for number in apart.under[1]] == ["ward#2#box#1", "ward#2#box#2"]
    assert all(len(site.validation) == len(site.test) == 0 for site in apart.devices)
    for part in ("train", "validation", "test"):
        assert sum(len(getattr(site, part)) for site in apart.all) == sum(len(getattr(site, part)) for site in sites)
