from __future__ import annotations

import json

PLAN = (
    "privacy",
    "plan",
    "--epsilon",
    3,
    "--delta",
    "1e-5",
    "--clinics",
    10,
    "--rounds",
    50,
    "--rate",
    0.5,
    "--dimensions",
    1000,
)


def test_a_plan_is_a_table_for_people(said):
    code, out, err = said(*PLAN)
    assert code == 0
    for words in (
        "record-local",
        "record-distributed",
        "clinic",
        "noise multiplier",
        "per patient",
        "no accuracy is predicted",
    ):
        assert words in " ".join(out.split())
    assert "arXiv 2205.03168" in out
    assert "searching for the least noise" in err


def test_a_plan_is_json_for_machines(said):
    code, out, _ = said(*PLAN, "--mode", "clinic", "--json")
    assert code == 0
    told = json.loads(out)
    [mode] = told["modes"]
    assert mode["mode"] == "clinic"
    assert 2.9 < mode["epsilon"] <= 3.0
    assert told["question"]["dimensions"] == 1000


def test_wrong_inputs_are_refused_all_at_once(said):
    code, out, err = said(
        "privacy", "plan", "--epsilon", 0, "--delta", 2, "--clinics", 1, "--rounds", 5, "--mode", "central"
    )
    assert (code, out) == (2, "")
    assert all(word in err for word in ("epsilon 0", "delta 2", "1 clinics", "mode 'central'"))
    assert "Traceback" not in err


def test_help_needs_no_heavy_package(fedmed, tmp_path):
    done = fedmed("privacy", "--help")
    assert done.returncode == 0
    assert "plan" in done.stdout
