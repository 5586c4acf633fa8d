from __future__ import annotations

import json
import shutil

import pytest

from fedmed.serving.packages import FP32, U8S8, Package


@pytest.fixture(scope="module")
def ran(wards, spoken, tmp_path_factory):
    """A small run whose scale is the federation's."""
    out = tmp_path_factory.mktemp("runs") / "run"
    run = ("simulate", wards / "bedside.yaml", "--data", wards, "--out", out, "--set", "data.normalise=federated")
    code, _, err = spoken(*run)
    assert code == 0, err
    return out


@pytest.fixture(scope="module")
def released(ran, fedmed, spoken, wards, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packages") / "package"
    code, out, err = spoken("model", "export", ran, folder, "--name", "bedside", "--version", "1.2", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["files"].keys() == {FP32, "golden.safetensors"}
    done = fedmed(
        "model", "quantise", folder, "--scenario", wards / "bedside.yaml", "--data", wards, "--cases", 20, "--json"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert U8S8 in json.loads(done.stdout)["files"]
    return folder


def test_from_a_run_to_a_package(released):
    card = Package.load(released).card
    assert (card.name, card.version, card.classes, card.inputs) == ("bedside", "1.2", ("0", "1"), (2,))
    assert len(card.preparation.mean) == 2


@pytest.mark.nightly  # above in this process
def test_export_alone_says_nothing_but_what_is_asked(ran, fedmed, tmp_path):
    done = fedmed("model", "export", ran, tmp_path / "package", "--name", "bedside", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert Package.load(tmp_path / "package").card.version == json.loads(done.stdout)["version"]


def test_check(released, said, tmp_path):
    code, out, err = said("model", "check", released)
    assert (code, err) == (0, "")
    assert "bedside 1.2: golden.safetensors" in out
    told = json.loads(said("model", "check", released, "--backend", "cpu", "--json")[1])
    assert [(one["precision"], one["passed"]) for one in told["tests"]] == [("fp32", True), ("int8", True)]
    folder = tmp_path / "altered"
    shutil.copytree(released, folder)
    (folder / FP32).write_bytes(b"x")
    code, out, err = said("model", "check", folder)
    assert (code, out) == (5, "")
    assert "altered or cut off" in err
    code, _, err = said("model", "check", released, "--limit", "0.01")
    assert (code, "do not release it" in err) == (5, True)
    assert said("model", "check", released, "--backend", "cuda")[0] == 6


def test_ladder(released, wards, said):
    own = ("--scenario", wards / "bedside.yaml", "--data", wards, "--part", "test", "--runs", 3)
    code, out, _ = said("model", "ladder", released, *own)
    assert (code, out.split()[:2]) == (0, ["precision", "backend"])
    told = json.loads(said("model", "ladder", released, *own, "--measure", "accuracy", "--json")[1])
    assert told["chosen"] == {"precision": "fp32", "backend": "cpu"}
    assert "to see a point takes 100" in told["rungs"][1]["reason"]
    assert said("model", "ladder", released, *own, "--site", "south")[0] == 2


def test_a_folder_that_is_taken_and_a_source_that_is_none(released, ran, tmp_path, said):
    code, _, err = said("model", "export", ran, released, "--name", "a")
    assert (code, "not an empty folder" in err) == (2, True)
    code, _, err = said("model", "export", tmp_path, tmp_path / "new", "--name", "a")
    assert (code, "neither a run" in err) == (2, True)
    assert said("model", "check", tmp_path)[0] == 5
