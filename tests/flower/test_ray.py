"""The same scenario and seed make the same global model in processes of ours and on Ray, to the bit, behind one gate."""

from __future__ import annotations

import importlib.util
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from fedmed.config.loading import load
from fedmed.flower.apps import AppRef
from fedmed.simulate import engines
from fedmed.simulate.run import Request, simulate
from fedmed.wire import tensors as wire
from tests.flower import own_ray

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray: pip install 'fedmed[fl,ray]'")
pytestmark = [needs_ray, pytest.mark.filterwarnings("ignore")]  # Ray's own warnings are no fault of ours

LOGISTIC = {
    "name": "logistic",
    "title": "Four sites, one of which fails in round 2",
    "rounds": 5,
    "data": {"reader": "csv", "folder": "table.csv", "normalise": "federated", "options": {"site": "hospital"}},
    "task": {"name": "tabular"},
    "training": {"optimiser": "sgd", "learning_rate": 0.1, "batch_size": 8, "epochs": 1},
    "evaluation": {"baselines": False},
    "engine": {"device": "cpu"},
}
CNN = {
    **LOGISTIC,
    "name": "cnn",
    "title": "Four sites, small images, a center that is trusted to say who took part",
    "rounds": 1,
    "data": {"reader": "npz", "folder": "images.npz", "partition": {"by": "iid", "sites": 4}},
    "task": {"name": "image", "model_options": {"widths": [8, 16]}},
    "privacy": {"secure_aggregation": "hbc"},
}
FAULTS = {"west 2": "raises"}


@pytest.fixture(autouse=True)
def failing(tmp_path, monkeypatch) -> None:
    (tmp_path / own_ray.FAULTS).write_text(json.dumps(FAULTS))
    root = Path(__file__).resolve().parents[2]
    monkeypatch.setattr(engines, "CLIENT", AppRef(root, "tests.flower.own_ray:app"))


def write_table(path: Path) -> None:
    random = np.random.default_rng(5)
    lines = ["hospital,a,b,c,label"]
    for hospital, count in (("east", 40), ("north", 60), ("south", 30), ("west", 50)):
        for _ in range(count):
            a, b, c = random.normal(size=3)
            lines.append(f"{hospital},{a:.4f},{b:.4f},{c:.4f},{int(a - b + random.normal() > 0)}")
    path.write_text("\n".join(lines) + "\n")


def write_images(path: Path) -> None:
    random = np.random.default_rng(5)
    parts = {}
    for part, count in (("train", 48), ("val", 8), ("test", 8)):
        labels = random.integers(0, 2, count)
        parts[f"{part}_images"] = (random.uniform(0, 150, (count, 16, 16)) + 80 * labels[:, None, None]).astype(np.uint8)
        parts[f"{part}_labels"] = labels
    np.savez(path, **parts)


def run(tmp_path: Path, scenario: dict[str, Any], engine: str) -> tuple[dict[str, Any], wire.Tensors]:
    file = tmp_path / "scenario.yaml"
    file.write_text(yaml.safe_dump(scenario))
    out = tmp_path / engine
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        overrides = [f"engine.name={engine}", "engine.workers=2"]
        report = simulate(Request(load(file, overrides), tmp_path, out))
    return report, wire.load(out / "model.safetensors")


def are_the_same(one: wire.Tensors, other: wire.Tensors) -> bool:
    assert list(one) == list(other)
    return all(np.array_equal(one[name], other[name]) for name in one)


def test_logistic_regression_over_five_rounds_and_a_site_that_raises(tmp_path):
    write_table(tmp_path / "table.csv")
    ours, model = run(tmp_path, LOGISTIC, "inprocess")
    rays, other = run(tmp_path, LOGISTIC, "ray")
    assert are_the_same(model, other)
    assert (ours["engine"], rays["engine"]) == ("inprocess", "ray")
    for report in (ours, rays):
        assert [record["round"] for record in report["rounds"]] == [1, 2, 3, 4, 5]
        assert report["status"] == "complete with missing sites"
        assert report["sites_missing"] == {"2": ["west"]}
        assert "its own log says why" in report["rounds"][1]["missing"]["west"]
    for here, there in zip(ours["rounds"], rays["rounds"], strict=True):
        assert here["train"]["loss"] == there["train"]["loss"]
        assert here["bytes"] == there["bytes"]


def test_a_convolutional_network_after_one_round(tmp_path):
    write_images(tmp_path / "images.npz")
    _, model = run(tmp_path, CNN, "inprocess")
    _, other = run(tmp_path, CNN, "ray")
    assert are_the_same(model, other)
