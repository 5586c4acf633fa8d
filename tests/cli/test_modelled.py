from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    told = yaml.safe_load((ROOT / "simulations" / "demo.yaml").read_text())
    told["rounds"] = 3
    told["topology"] = {
        "learning": "modelled",
        "masks": "timed",
        "lines": {"dsl": {"up": "10 Mbit/s", "down": "10 Mbit/s"}},
        "center": {"line": "dsl"},
        "clinics": [{"name": "all", "count": 40, "machine": "t4", "line": "dsl", "presence": {"share": 0.9}}],
        "cohort": 10,
    }
    path = tmp_path / "modelled.yaml"
    path.write_text(json.dumps(told))
    return path


def test_a_modelled_scenario_runs_by_the_one_command(scenario, tmp_path, said):
    out = tmp_path / "run"
    code, shown, _ = said("simulate", str(scenario), "--out", str(out), "--json")
    assert code == 0
    told = json.loads(shown)
    assert (told["learning"], told["status"], told["masks"]) == ("modelled", "complete", "timed")
    assert [each["number"] for each in told["rounds"]][-1] == 3
    assert {path.name for path in out.iterdir()} == {"trace.jsonl", "report.json", "report.html", "rounds.csv"}
    assert json.loads((out / "report.json").read_text()) == told
    assert "Learning was modelled" in (out / "report.html").read_text()


WITHOUT_TORCH = """
import sys
from fedmed.cli.app import call
code = call(["simulate", "nation-of-500", "--set", "rounds=1", "--out", sys.argv[1], "--json"])
heavy = {"torch", "flwr", "ray", "matplotlib", "pydicom"} & set(sys.modules)
assert (code, heavy) == (0, set()), (code, heavy)
"""


def test_a_built_in_scenario_is_modelled_without_torch(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, tmp_path / "run"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["status"] == "complete"


def test_a_machine_that_is_too_small_is_named_with_what_would_fit(tmp_path, said):
    code, _, error = said("simulate", "gpu-too-small", "--out", str(tmp_path / "run"))
    assert code == 2
    old, tiny = error.splitlines()[1:]
    patches = r"what would do: patches of \d+ x \d+ x \d+ or one of orin-nano, t4"
    assert re.match(r"  old: unet needs \S+ GB .*old-card has 1\.8 GB; " + patches, old)
    assert re.match(r"  tiny: unet needs \S+ GB .*jetson-nano has 2\.25 GB; " + patches, tiny)
    assert not (tmp_path / "run").exists()


def test_a_folder_in_use_and_a_resume_are_refused(scenario, tmp_path, said):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    code, _, error = said("simulate", str(scenario), "--out", str(tmp_path / "full"))
    assert code == 2
    assert "is not empty" in error
    (tmp_path / "none").mkdir()
    code, _, error = said("simulate", str(scenario), "--out", str(tmp_path / "none"), "--resume")
    assert code == 2
    assert "--resume: a run whose learning is modelled takes seconds; run it anew in another folder" in error


def test_what_ends_a_run_is_told_and_the_report_is_there(scenario, tmp_path, said):
    told = json.loads(scenario.read_text())
    told["topology"]["faults"] = [{"kind": "dark", "who": "all", "at": "1 s", "lasts": "30 d"}]
    told["federation"] = {"deadline_s": 60}
    scenario.write_text(json.dumps(told))
    code, _, error = said("simulate", str(scenario), "--out", str(tmp_path / "run"))
    assert code not in (0, 2)
    assert "round 1" in error
    assert json.loads((tmp_path / "run" / "report.json").read_text())["status"] != "complete"
