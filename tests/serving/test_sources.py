from __future__ import annotations

import json

import numpy as np
import pytest

from fedmed.errors import ConfigError
from fedmed.learning import weights
from fedmed.learning.order import ModelSpec
from fedmed.preprocess.pipeline import AS_STORED, Pipeline, Step
from fedmed.serving.card import Preparation
from fedmed.serving.sources import Asked, trained
from fedmed.store.commits import Commit, Commits
from fedmed.store.models.lineage import KIND, VERSION
from fedmed.wire import tensors

SPEC = ModelSpec(name="logistic-regression", inputs=(4,), classes=2)
SCALE = {"mean": (1.0, 2.0, 3.0, 4.0), "std": (1.0, 1.0, 2.0, 2.0)}
ASKED = Asked("heart", "3")
OWN = Pipeline((Step("read", {"values": "as stored"}), Step("crop", {"size": 4})))


def scaled(model):
    return {**model, **{f"preparation.{name}": np.array(value, np.float32) for name, value in SCALE.items()}}


@pytest.fixture
def model():
    return weights.fresh(SPEC, 1)


@pytest.fixture
def run(tmp_path, model):
    def make(preparation=None, report=("no", "yes"), fingerprints=()):
        told = preparation or {"features": "plain", "normalise": "federated", **SCALE}
        state = {"spec": SPEC.model_dump(mode="json"), "preparation": told}
        state["fingerprints"] = {str(number): {"pipeline": each.record()} for number, each in enumerate(fingerprints)}
        Commits(tmp_path).write(Commit(1, dict(model), state))
        tensors.save(scaled(model), tmp_path / "model.safetensors")
        if report:
            said = {"sites": {"east": {"classes": dict.fromkeys(report, 5)}}}
            (tmp_path / "report.json").write_text(json.dumps(said))
        return tmp_path

    return make


@pytest.fixture
def exported(tmp_path, model):
    place = tmp_path / "model"
    place.mkdir()
    said = {"kind": KIND, "version": VERSION, "spec": SPEC.model_dump(mode="json")}
    (place / "lineage.json").write_text(json.dumps(said))
    tensors.save(model, place / "model.safetensors")
    (tmp_path / "s.yaml").write_text(
        "name: s\ntitle: s\nrounds: 1\ndata: {reader: csv, folder: x, normalise: federated}\ntask: {name: tabular}\n"
        "training: {learning_rate: 0.1, batch_size: 4, epochs: 1}\n"
    )
    return tmp_path


def test_of_a_run(run, model):
    found = trained(run(), ASKED)
    assert (found.name, found.version, found.spec, found.classes) == ("heart", "3", SPEC, ("no", "yes"))
    assert found.preparation == Preparation("plain", SCALE["mean"], SCALE["std"])
    assert found.pipeline == AS_STORED
    assert found.tensors.keys() == model.keys()
    assert all(np.array_equal(found.tensors[name], model[name]) for name in model)


def test_the_pipeline_that_all_sites_have_told(run, tmp_path):
    assert trained(run(fingerprints=[OWN, OWN]), ASKED).pipeline == OWN
    (tmp_path / "p.json").write_text(json.dumps(AS_STORED.record()))
    assert trained(tmp_path, Asked("heart", "3", pipeline=tmp_path / "p.json")).pipeline == AS_STORED
    (tmp_path / "p.json").write_text("[]")
    with pytest.raises(ConfigError, match="no pipeline"):
        trained(tmp_path, Asked("heart", "3", pipeline=tmp_path / "p.json"))


def test_sites_that_prepared_differently(run):
    with pytest.raises(ConfigError, match="give --pipeline"):
        trained(run(fingerprints=[OWN, AS_STORED]), ASKED)


def test_a_run_that_does_not_tell_its_classes(run):
    folder = run(report=())
    with pytest.raises(ConfigError, match="names of its 2 classes; give --classes"):
        trained(folder, ASKED)
    assert trained(folder, Asked("heart", "3", ("a", "b"))).classes == ("a", "b")


def test_a_scale_of_each_sites_own(run):
    with pytest.raises(ConfigError, match="site, and the scale is not with the model"):
        trained(run({"features": "plain", "normalise": "site"}), ASKED)


def test_of_an_export(exported, model):
    asked = Asked("heart", "3", ("no", "yes"), exported / "s.yaml")
    with pytest.raises(ConfigError, match="federated, and the scale is not with the model"):
        trained(exported, asked)
    tensors.save(scaled(model), exported / "model" / "model.safetensors")
    found = trained(exported, asked)
    assert (found.spec, found.preparation) == (SPEC, Preparation("plain", SCALE["mean"], SCALE["std"]))
    assert trained(exported / "model", asked) is not found
    with pytest.raises(ConfigError, match="needs --scenario"):
        trained(exported, ASKED)
    (exported / "model" / "lineage.json").write_text("{}")
    with pytest.raises(ConfigError, match="export the model anew"):
        trained(exported, asked)


def test_neither(tmp_path):
    with pytest.raises(ConfigError, match="neither a run"):
        trained(tmp_path, ASKED)
    (tmp_path / "commits").mkdir()
    with pytest.raises(ConfigError, match="no commit can be read"):
        trained(tmp_path, ASKED)
