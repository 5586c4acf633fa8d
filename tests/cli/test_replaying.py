from __future__ import annotations

import csv
import json

import pytest

from fedmed.cli.replaying import in_whole
from tests.twin.seen import written


@pytest.fixture
def study(tmp_path):
    written(tmp_path / "study")
    return tmp_path


def test_recorded_and_replayed_as_tables(said, study):
    twin, page, rounds = (study / name for name in ("twin.yaml", "twin.html", "twin.csv"))
    code, told, err = said("twin", "record", str(study / "study"), "--out", str(twin))
    assert (code, err) == (0, "")
    assert "2 rounds of line, median 19.50 s" in told
    assert "not known:" in told
    assert "the center's own line" in told
    assert twin.read_text().startswith("# Recorded by fedmed")
    code, told, err = said("twin", "replay", str(twin), "--html", str(page), "--csv", str(rounds))
    assert (code, err) == (0, "")
    assert "19.50 s predicted, 19.50 s observed" in told
    assert "Where a round&#x27;s time goes" in page.read_text() or "Where a round's time goes" in page.read_text()
    with rounds.open() as file:
        assert [row["round"] for row in csv.DictReader(file)] == ["1", "2"]


def test_what_if_a_line_were_slower_in_json(said, study):
    twin = study / "twin.yaml"
    code, out, _ = said("twin", "record", str(study / "study"), "--out", str(twin), "--json")
    assert code == 0
    assert [each["name"] for each in json.loads(out)["sites"]] == ["east", "north", "south"]
    code, out, _ = said("twin", "replay", str(twin), "--set", "lines.north.up=5 Mbit/s", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["changed"] == ["lines.north.up=5 Mbit/s"]
    assert found["predicted_s"] > 60 > found["observed_s"]
    assert found["error"] == pytest.approx(found["predicted_s"] / found["observed_s"] - 1)
    assert found["sites"]["east"]["waited_s"] > found["sites"]["north"]["waited_s"]


def test_bad_input_says_what_to_do(said, study):
    out = str(study / "twin.yaml")
    for arguments, code, says in (
        (("record", "http://127.0.0.1:1/metrics", "--out", out), 2, "no times of single sites"),
        (("record", str(study), "--out", out), 2, "no center's folder"),
        (("record", str(study / "study"), "--out", str(study / "nowhere" / "t")), 5, "cannot be written"),
        (("record", str(study / "study"), "--out", str(study / "study")), 2, "is there already"),
        (("replay", out), 2, "cannot be read"),
    ):
        found, _, err = said("twin", *arguments)
        assert (found, says in err) == (code, True), err


@pytest.mark.parametrize(
    ("given", "whole"),
    [
        ("lines.a.up=5 Mbit/s", "topology.lines.a.up=5 Mbit/s"),
        ("clinics.a.count=2", "topology.clinics.a.count=2"),
        ("rounds=3", "rounds=3"),
        ("topology.lines.a.up=1 bit/s", "topology.lines.a.up=1 bit/s"),
    ],
)
def test_keys_of_the_topology_need_not_say_so(given, whole):
    assert in_whole(given) == whole
