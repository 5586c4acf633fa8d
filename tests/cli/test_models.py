from __future__ import annotations

import json

import pytest

from fedmed.center.folder import open_center
from fedmed.center.models import open_registry
from fedmed.clock import SystemClock
from tests.identity.test_modelkey import stock
from tests.store.models.shelves import committed, model


@pytest.fixture
def place(tmp_path, monkeypatch, said):
    monkeypatch.setenv("FEDMED_CENTER", str(tmp_path / "center"))
    assert said("center", "init", tmp_path / "center", "--name", "study", "--host", "127.0.0.1")[0] == 0
    return tmp_path


@pytest.fixture
def filled(place):
    registry = open_registry(open_center(place / "center", SystemClock()))
    for number in (1, 2, 3):
        registry.commit(committed(number, epsilon=1.5, members={"east": "ab" * 32}), model(number))
    return registry


def test_none_yet(place, said):
    assert said("center", "models", "list") == (0, "no model was committed yet; the first round of a run makes one\n", "")
    code, _, err = said("center", "models", "show")
    assert (code, "none yet" in err) == (2, True)


def test_listed_shown_verified(filled, said):
    code, out, err = said("center", "models", "list")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == ["name", "study:3", "study:2", "study:1"]
    facts = json.loads(said("center", "models", "list", "--json")[1])
    assert [one["round"] for one in facts["models"]] == [1, 2, 3]
    assert facts["backlog"] is None
    shown = json.loads(said("center", "models", "show", "study:2", "--json")[1])
    assert (shown["round"], shown["epsilon"], shown["members"]) == (2, 1.5, {"east": "ab" * 32})
    assert "epsilon: 1.5\n" in said("center", "models", "show")[1]
    assert said("center", "models", "verify")[1].startswith("3 models verified")
    assert json.loads(said("center", "models", "verify", "best", "--json")[1])["verified"][0]["round"] == 3


def test_an_altered_model_ends_with_5_and_is_named(filled, said):
    path = filled.folder / filled.find("study:2").files["model.safetensors"].blob
    path.write_bytes(path.read_bytes()[:-1])
    code, out, err = said("center", "models", "verify")
    assert (code, out) == (5, "")
    assert str(path) in err
    assert said("center", "models", "verify", "study:3")[0] == 0


def test_an_exported_model_is_verified_by_the_stock_program(filled, place, said):
    pytest.importorskip("sigstore_models")
    facts = json.loads(said("center", "models", "export", place / "out", "best", "--json")[1])
    program, *arguments = facts["verify"].split()
    assert program == "model_signing"
    assert stock(place, *arguments).returncode == 0
    (place / "out" / "model" / "extra").touch()
    assert stock(place, *arguments).returncode != 0
    assert "verified" in said("center", "models", "export", place / "again")[1]
    assert said("audit", "show", place / "center" / "audit", "--json")[1].count("model.export") == 2
    assert said("center", "models", "export", place / "again")[0] == 2


def test_pruned(filled, said):
    code, out, _ = said("center", "models", "prune", "--last", "1", "--best", "0")
    assert (code, out) == (0, "of each run the last 1 and the best 0 stay; gone: study:1, study:2\n")
    assert json.loads(said("center", "models", "prune", "--json")[1]) == {"pruned": []}
    logged = said("audit", "show", filled.folder.parent / "audit", "--json")[1]
    assert logged.count("model.prune") == 2


def test_the_copy(filled, place, said):
    code, _, err = said("center", "models", "list", "--copy")
    assert (code, "copy_to" in err) == (2, True)
