from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from fedmed.config.loading import parse
from fedmed.config.scenario import Scenario
from fedmed.config.scenario import Task as Section
from fedmed.errors import ConfigError
from fedmed.flower import strategies
from fedmed.learning import features, kinds, models
from fedmed.learning.tasks import TABLE, Task, find, resolve
from fedmed.simulate.run import Request, simulate
from fedmed.sites.readers import reader_named, reader_names
from fedmed.wire import tensors as wire

OWN = '''\
"""Parts that a user's package brings."""

import numpy as np
from flwr.serverapp.strategy import FedAvg
from torch import nn

from fedmed.config.part import Part
from fedmed.learning.tasks import Task
from fedmed.sites import Cases, Reader

TASK = Task("own-net", features="image", class_weights="balanced")


class OwnNet(nn.Module):
    """BatchNorm on purpose: whole numbers and numbers without an axis have to travel."""

    def __init__(self, inputs, outputs, width=4):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(inputs[0], width, 3), nn.BatchNorm2d(width), nn.ReLU())
        self.head = nn.Linear(width, outputs)

    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)))


class Options(Part):
    count: int = 60


def read(folder, options, seed):
    random = np.random.default_rng(seed)
    y = random.integers(0, 2, options.count)
    x = random.integers(0, 150, (options.count, 8, 8)) + 100 * y[:, None, None]
    return Cases(x.astype(np.uint8), y, ("no", "yes"))


READER = Reader(read, Options, needs_folder=False)


class OwnStrategy(FedAvg):
    """Keeps the largest answer; needs every update."""

    def aggregate_train(self, server_round, replies):
        replies = list(replies)
        self.heard = getattr(self, "heard", 0) + len(replies)
        return super().aggregate_train(server_round, replies)
'''
POINTS = """\
[fedmed.tasks]
own-task = own_parts:TASK
wrong = own_parts:OwnNet
missing = own_parts:Nothing
absent = a_package_that_is_not_there:TASK

[fedmed.models]
own-net = own_parts:OwnNet
wrong = own_parts:TASK
missing = own_parts:Nothing

[fedmed.readers]
own-reader = own_parts:READER

[fedmed.strategies]
own-strategy = own_parts:OwnStrategy
wrong = own_parts:OwnNet
missing = own_parts:Nothing
"""
SCENARIO = """\
name: own
title: Everything of one's own
rounds: 2
data: {reader: own-reader, options: {count: 80}, partition: {by: iid, sites: 3}}
task: {name: own-task, model_options: {width: 6}}
training: {learning_rate: 0.05, epochs: 1, batch_size: 8}
strategy: {name: own-strategy}
evaluation: {baselines: false}
privacy: {secure_aggregation: off}
engine: {workers: WORKERS, device: cpu}
"""


@pytest.fixture
def installed(tmp_path, monkeypatch) -> Path:
    """A package with entry points, as pip lays it out."""
    folder = tmp_path / "site-packages"
    info = folder / "own_parts-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "own_parts.py").write_text(OWN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-parts\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    sys.modules.pop("own_parts", None)


def scenario(text: str) -> Scenario:
    return parse(text, "own.yaml")


@pytest.mark.parametrize("name", TABLE)
def test_every_row_of_the_table_names_parts_that_exist(name):
    task = resolve(Section(name=name))
    assert task == TABLE[name]
    assert callable(models.find(task.model))
    assert task.features in features.TABLE
    assert task.augment in kinds.KINDS[task.kind].augments


def test_a_scenario_changes_single_parts_of_a_row():
    task = resolve(Section(name="scan", model="resnet18", augment="xray", class_weights="none"))
    assert task == Task("resnet18", features="standardised-image", augment="xray", class_weights="none")
    assert resolve(Section(name="radiograph", augment="none")).augment == "none"


@pytest.mark.parametrize(
    ("section", "why"),
    [
        ({"name": "tabula"}, "task.name: got 'tabula', allowed: image, .*entry point fedmed.tasks"),
        ({"name": "image", "model": "alexnet"}, "task.model: got 'alexnet', allowed: .*resnet18"),
        ({"name": "image", "augment": "mirror"}, "task.augment: got 'mirror', allowed: none, xray"),
        ({"name": "segmentation", "augment": "xray"}, "task.augment: got 'xray', allowed: none, mirror"),
        ({"name": "image", "patches": {"size": (8, 8)}}, "task.patches: image classifies whole cases"),
    ],
)
def test_names_that_no_table_knows_are_refused_with_those_that_are_known(section, why):
    with pytest.raises(ConfigError, match=why):
        resolve(Section(**section))


def test_parts_of_ones_own_are_found_by_their_entry_points(installed):
    task = find("own-task")
    assert task == Task("own-net", features="image", class_weights="balanced")
    assert models.build("own-net", [1, 8, 8], 1, {"width": 3}).head.in_features == 3
    assert "own-reader" in reader_names()
    assert not reader_named("own-reader").needs_folder
    assert strategies.build("own-strategy", {"fraction_train": 0.5}, 4).fraction_train == 0.5


def test_parts_of_ones_own_are_named_among_the_known(installed):
    for find_one in (find, models.find, strategies.find):
        with pytest.raises(ConfigError, match=r"own-(task|net|strategy)"):
            find_one("nothing-like-it")
    with pytest.raises(ConfigError, match="wide unknown to own-net; allowed: width"):
        models.build("own-net", [1, 8, 8], 1, {"wide": 3})


@pytest.mark.parametrize("find_one", [find, models.find, strategies.find], ids=["task", "model", "strategy"])
def test_an_entry_point_that_leads_nowhere_is_explained(installed, find_one):
    with pytest.raises(ConfigError, match=r"'missing' \(own_parts:Nothing, entry point fedmed.*cannot be loaded.*Nothing"):
        find_one("missing")
    with pytest.raises(ConfigError, match=r"'wrong' is .*(expected|not a)"):
        find_one("wrong")


def test_an_entry_point_of_a_package_that_is_not_there_is_explained(installed):
    with pytest.raises(ConfigError, match=r"cannot be loaded.*a_package_that_is_not_there"):
        find("absent")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_federation_of_nothing_but_parts_of_ones_own(installed, tmp_path, workers):
    report = simulate(Request(scenario(SCENARIO.replace("WORKERS", str(workers))), None, tmp_path / "run"))
    assert report["status"] == "complete"
    assert [len(record["joined"]) for record in report["rounds"]] == [3, 3]
    model = wire.load(tmp_path / "run" / "model.safetensors")
    assert model["body.1.num_batches_tracked"].dtype == np.int64
    assert model["body.1.num_batches_tracked"].shape == ()
    assert model["body.1.num_batches_tracked"] > 0
    assert model["head.weight"].shape == (1, 6)


MASKED = ("privacy.secure_aggregation=malicious", "strategy.name=fedavg")


def test_a_sum_of_updates_leaves_a_models_counters_as_they_are(installed, tmp_path):
    own = parse(SCENARIO.replace("WORKERS", "0"), "own.yaml", MASKED)
    report = simulate(Request(own, None, tmp_path / "run"))
    assert [len(record["joined"]) for record in report["rounds"]] == [3, 3]
    model = wire.load(tmp_path / "run" / "model.safetensors")
    assert (model["body.1.num_batches_tracked"].dtype, model["body.1.num_batches_tracked"]) == (np.int64, 0)
    assert model["body.1.running_mean"].any(), "it is a floating point number, hence summed"


def test_a_strategy_of_ones_own_needs_every_update_unless_it_says_otherwise(installed, tmp_path):
    own = parse(SCENARIO.replace("WORKERS", "0"), "own.yaml", MASKED[:1])
    with pytest.raises(ConfigError, match=r"OwnStrategy needs every site's own update.*secure_aggregation: off"):
        simulate(Request(own, None, tmp_path / "run"))
