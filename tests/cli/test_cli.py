from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from fedmed import __version__
from fedmed.config import catalogue
from fedmed.config.catalogue import find
from fedmed.config.loading import load

LIGHT = """
import io, sys
from contextlib import redirect_stdout
from fedmed.cli.app import call
for arguments in (["--help"], ["simulate", "--help"], ["--version"], ["scenarios", "--json"], ["schema"]):
    with redirect_stdout(io.StringIO()) as said:
        assert call(arguments) == 0
    assert said.getvalue().strip()
    heavy = {"torch", "flwr", "matplotlib", "sklearn", "pydicom"} & set(sys.modules)
    assert not heavy, (arguments, heavy)
    assert "--help" not in arguments or "numpy" not in sys.modules
# To look, to ask and to refuse takes no model and no server.
import fedmed.cli.approving, fedmed.cli.guiding, fedmed.cli.standing
heavy = {"torch", "flwr", "uvicorn", "sqlalchemy"} & set(sys.modules)
assert not heavy, heavy
"""


def test_what_is_light_loads_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "fedmed", "--version"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, f"fedmed {__version__}\n")


def test_help_names_every_command(said):
    code, out, _ = said("--help")
    assert code == 0
    for name in ("simulate", "scenarios", "report", "schema"):
        assert name in out
    code, out, _ = said("simulate", "--help")
    for option in ("--data", "--rounds", "--engine", "--seed", "--set", "--out", "--resume", "--json"):
        assert option in out


def test_help_says_what_arguments_are(said):
    code, out, _ = said("edge", "join", "--help")
    assert code == 0
    [line] = [each for each in out.splitlines() if "TEXT" in each and "code" in each]
    assert len(line.replace("│", " ").split()) > 4


@pytest.mark.parametrize(
    "arguments", [("simulat",), ("simulate", "--round", "3"), ("report",), ("simulate", "--rounds", "x")]
)
def test_a_command_that_is_none_is_a_usage_error(said, arguments):
    code, out, err = said(*arguments)
    assert (code, out) == (2, "")
    assert "Usage" in err
    assert "Traceback" not in err


def test_scenarios_are_listed(said):
    code, out, err = said("scenarios", "--json")
    rows = json.loads(out)
    assert (code, err) == (0, "")
    assert {"demo", "heart", "pneumonia", "skin"} <= {row["name"] for row in rows}
    assert all(set(row) == {"name", "title", "data", "topology"} for row in rows)
    data = {row["name"]: row["data"] for row in rows}
    assert data["demo"] == "nothing (embedded)"
    assert data["heart"] == "--data DIR with heart/"
    where = {row["name"]: row["topology"] for row in rows}
    assert where["demo"] == "none"
    assert where["hospital-and-8-clinics"] == "9 clinics"
    assert where["nation-of-500"] == "4 regions, 500 clinics, modelled"
    assert where["devices-10000"] == "500 clinics, 10000 devices, modelled"
    code, table, _ = said("scenarios")
    assert all(row["name"] in table for row in rows)


def test_a_listed_scenario_with_a_machine_that_is_none_is_told_with_its_line(said, tmp_path, monkeypatch):
    text = find("hospital-and-8-clinics").read_text(encoding="utf-8")
    file = tmp_path / "bent.yaml"
    file.write_text(re.sub("machine: t4", "machine: t5", text), encoding="utf-8")
    monkeypatch.setattr(catalogue, "builtin_scenarios", lambda: {"bent": file})
    code, out, err = said("scenarios")
    assert (code, out) == (2, "")
    assert re.search(r"bent\.yaml:\d+: topology\.clinics\.\d\.machine: got \"t5\"", err)


def test_the_schema_is_one_for_editors(said):
    code, out, _ = said("schema")
    schema = json.loads(out)
    assert code == 0
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    assert {"name", "title", "rounds", "data", "task", "training"} <= set(schema["required"])
    code, line, _ = said("schema", "--json")
    assert json.loads(line) == schema
    assert line.count("\n") == 1


def test_a_scenario_that_is_none_is_named_with_those_that_are(said):
    code, out, err = said("simulate", "hart")
    assert (code, out) == (2, "")
    assert err.startswith("fedmed: got the scenario 'hart'")
    assert "heart" in err
    assert "demo" in err


def test_all_faults_of_a_file_are_told_at_once_with_their_lines(said, tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text(
        "name: bad\ntitle: Bad\nrounds: 0\ndata: {reader: csv, foldr: x}\n"
        "task: {name: tabular}\ntraining:\n  optimiser: sdg\n  epochs: 1\n"
    )
    code, out, err = said("simulate", file, "--set", "seed=minus", "--set", "engine.nam=ray")
    assert (code, out) == (2, "")
    for place, word in ((":3", "rounds"), (":4", "foldr"), (":7", "sdg"), ("--set", "minus"), ("--set", "nam")):
        assert any(place in line and word in line for line in err.splitlines()), (place, word, err)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--rounds", "0"), ("rounds", "0")),
        (("--seed", "-1"), ("seed", "-1")),
        (("--engine", "slurm"), ("engine.name", "slurm", "inprocess")),
        (("--set", "training.optimizer=adam"), ("optimizer", "optimiser")),
        (("--set", "rounds"), ("--set", "rounds")),
        (("--set", "task.name=nothing-like-it"), ("task.name", "nothing-like-it", "tabular")),
        (("--set", "strategy.name=fedbest"), ("strategy.name", "fedbest", "fedavg")),
        (("--set", "data.reader=dicomweb"), ("data.reader", "dicomweb", "csv")),
        (("--resume",), ("--resume", "--out")),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(said, wards, arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = said("simulate", wards / "bedside.yaml", *arguments)
    assert (code, out) == (2, "")
    assert all(word in err for word in words), err
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_resuming_what_was_never_started_is_refused(said, wards, tmp_path):
    code, _, err = said("simulate", wards / "bedside.yaml", "--out", tmp_path, "--resume")
    assert code == 2
    assert "holds no run" in err


def test_a_folder_with_other_things_is_left_alone(said, wards, tmp_path):
    (tmp_path / "thesis.txt").write_text("three years of work")
    code, _, err = said("simulate", wards / "bedside.yaml", "--data", wards, "--out", tmp_path)
    assert code == 2
    assert f"--out {tmp_path} is not empty" in err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("name", ["heart", "pneumonia", "skin"])
@pytest.mark.parametrize("given", [False, True])
def test_missing_data_is_told_with_where_it_is_published(said, name, given, tmp_path, monkeypatch):
    from fedmed.config.catalogue import find

    monkeypatch.chdir(tmp_path)
    arguments = ("--data", tmp_path) if given else ()
    code, out, err = said("simulate", name, *arguments)
    scenario = load(find(name))
    assert (code, out) == (3, "")
    assert scenario.source.strip() in err
    assert "https://" in err
    assert "--data DIR or FEDMED_DATA" in err
    assert f"'{scenario.data.folder}'" in err
    assert "Traceback" not in err


def test_a_report_of_nothing_is_an_error_of_the_store(said, tmp_path):
    code, out, err = said("report", tmp_path / "nowhere")
    assert (code, out) == (5, "")
    assert "nowhere" in err


def test_a_file_as_output_folder_is_one_message_and_no_traceback(said, tmp_path):
    (tmp_path / "taken").write_text("mine")
    code, _, err = said("simulate", "demo", "--out", tmp_path / "taken", "--set", "engine.workers=0")
    assert code == 2
    assert err.count("\n") == 1
    assert "cannot be a folder" in err
    assert (tmp_path / "taken").read_text() == "mine"
