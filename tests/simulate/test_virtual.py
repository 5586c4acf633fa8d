from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks import killing
from fedmed.config.loading import load
from fedmed.errors import ConfigError
from fedmed.federation.journal import events
from fedmed.simulate.run import Request, simulate
from fedmed.simulate.traces import NAME as TRACE
from fedmed.store.commits import Commits

SITES = ("east", "north", "south", "west", "zenith")
DSL = {"up": "10 Mbit/s", "down": "50 Mbit/s", "latency": "20 ms"}
Run = Callable[..., dict[str, Any]]


def clinics(*groups: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A topology of these groups; where none is named, of five clinics that are alike."""
    return {
        "machines": {"box": {"like": "t4", "step": "10 s"}, "old": {"like": "t4", "step": "25 s"}},
        "lines": {"hall": {"up": "1 Gbit/s", "down": "1 Gbit/s"}, "dsl": DSL},
        "center": {"line": "hall"},
        "clinics": [{"machine": "box", "line": "dsl", **each} for each in groups or ({"name": "all", "count": 5},)],
        **more,
    }


US = {"name": "us", "machine": "box", "line": "dsl"}
ODD = clinics(
    {"name": "all", "count": 4, "slower": {"share": 0.5, "times": 3}},
    {"name": "far", "machine": "old", "line": "vpn"},
    lines={"hall": DSL, "dsl": DSL, "vpn": {"up": "64 kbit/s", "down": "64 kbit/s", "latency": "1 s", "jitter": "300 ms"}},
    faults=[{"kind": "dark", "who": "all/2", "at": "200 s", "lasts": "2 h"}],
)


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("five")
    killing.write_inputs(folder, SITES)
    return folder


@pytest.fixture
def run(five: Path, tmp_path: Path) -> Run:
    """Runs five sites for a few rounds; `topology` None is a run in the machine's own time."""

    def made(topology: dict[str, Any] | None, *overrides: str, out: str = "run", resume: bool = False) -> dict[str, Any]:
        told = yaml.safe_load((five / "tiny.yaml").read_text())
        told |= {"rounds": 3, "engine": {"workers": 0}}
        path = tmp_path / "scenario.yaml"
        path.write_text(json.dumps(told if topology is None else {**told, "topology": topology}))
        return simulate(Request(load(path, overrides), five, tmp_path / out, resume))

    return made


PLAIN = "privacy.secure_aggregation=off"


def told(folder: Path, event: str) -> list[dict[str, Any]]:
    return [each for each in events(folder) if each["event"] == event]


def trace(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / TRACE).read_bytes().splitlines()]


def bytes_of(folder: Path) -> tuple[bytes, bytes]:
    return (folder / "journal.jsonl").read_bytes(), (folder / TRACE).read_bytes()


def test_the_same_seed_gives_the_same_bytes_whatever_the_number_of_processes(run, tmp_path):
    first = run(ODD, "engine.workers=0", out="0")
    assert len(trace(tmp_path / "0")) > 100
    for workers in ("1", "2"):
        again = run(ODD, f"engine.workers={workers}", out=workers)
        assert bytes_of(tmp_path / workers) == bytes_of(tmp_path / "0")
        assert again["model_sha256"] == first["model_sha256"]
        assert again["virtual"] == first["virtual"]
        assert again["answers"] == first["answers"]
    run(ODD, "seed=43", out="other")
    assert bytes_of(tmp_path / "other") != bytes_of(tmp_path / "0")


@pytest.mark.parametrize("privacy", [PLAIN, "privacy.secure_aggregation=malicious"])
def test_where_nothing_takes_time_the_model_is_that_of_a_run_without_a_topology(run, privacy):
    line = {"up": "100 Tbit/s", "down": "100 Tbit/s"}
    instant = clinics(machines={"box": {"like": "t4", "step": "1 us"}}, lines={"hall": line, "dsl": line})
    virtual = run(instant, privacy, out="virtual")
    assert virtual["model_sha256"] == run(None, privacy, out="real")["model_sha256"]
    assert virtual["virtual"]["seconds"] < 0.001
    assert virtual["bytes"]["up"] > 0


def test_a_straggler_is_named_and_its_late_update_is_folded(run, tmp_path):
    slow = clinics({"name": "all", "count": 4}, {"name": "far", "machine": "old"})
    report = run(slow, PLAIN, "federation.deadline_s=60", "rounds=4", "evaluation.every=4", "strategy.name=fedavg")
    assert report["rounds"][0]["missing"] == {"zenith": "no answer by the deadline of 60 s"}
    assert report["rounds"][0]["seconds"] == 60.0
    assert report["rounds"][1]["late"] == ["zenith"]
    assert report["rounds"][1]["folded"] == {"zenith": 1}
    answers = report["answers"]
    assert [tier["who"] for tier in answers["tiers"]] == ["all", "far", "center"]
    assert all(tier["work"] + tier["line"] + tier["idle"] == pytest.approx(1) for tier in answers["tiers"])
    assert answers["tiers"][1]["work"] > answers["tiers"][0]["work"] > 0
    assert answers["target"]["round"] == 4
    assert sum(answers["network"]["up"]) > 0
    assert len((tmp_path / "run" / "rounds.csv").read_text().splitlines()) == 5
    came = next(each for each in trace(tmp_path / "run") if each["event"] == "there" and each["who"] == "zenith")
    assert came["at"] == pytest.approx(28 / 8 * 25, abs=0.1)


def test_who_is_dark_at_noon_is_missing_and_named_and_the_round_goes_on(run, tmp_path):
    dark = clinics(begins="11:50", faults=[{"kind": "dark", "who": "all/3", "at": "10 min", "lasts": "3 h"}])
    report = run(dark, PLAIN, "rounds=25")
    assert report["status"] == "complete with missing sites"
    missed = [each for each in report["rounds"] if each["missing"]]
    assert missed
    assert {site for each in missed for site in each["missing"]} == {"south"}
    assert "no sign of life" in missed[0]["missing"]["south"]
    assert report["rounds"][0]["missing"] == {}
    assert all(len(each["joined"]) >= 4 for each in report["rounds"])


def test_who_is_away_when_the_clock_begins_is_missing_in_the_first_round_and_ends_no_run(run, tmp_path):
    dark = clinics(faults=[{"kind": "dark", "who": "all/3", "at": "0 s", "lasts": "2 h"}])
    report = run(dark, "rounds=1")
    assert list(report["rounds"][0]["missing"]) == ["south"]
    assert len(report["rounds"][0]["joined"]) == 4
    kinds = [each["kind"] for each in trace(tmp_path / "run")]
    assert kinds[0] == "train"


def test_a_masked_round_with_a_dropout_opens_without_it(run, tmp_path):
    dark = clinics(faults=[{"kind": "dark", "who": "all/3", "at": "40 s", "lasts": "10 min"}])
    report = run(dark, "federation.deadline_s=60", "rounds=4")
    assert report["virtual"]["masks"] == "real"
    assert [sorted(each["missing"]) for each in report["rounds"]][1] == ["south"]
    survivors = [len(each["survivors"]) for each in told(tmp_path / "run", "survivors")]
    assert min(survivors) == 4
    assert max(survivors) == 5
    assert report["privacy"]["unopened"] == []


def test_a_day_of_rounds(run):
    hourly = clinics(machines={"box": {"like": "t4", "step": "1000 s"}})
    report = run(hourly, "rounds=25", "evaluation.every=25", "federation.deadline_s=7200")
    assert report["virtual"]["seconds"] > 86_400
    assert report["seconds"]["total"] < report["virtual"]["seconds"]
    assert sum(each["seconds"] for each in report["rounds"]) <= report["virtual"]["seconds"]


def test_a_run_without_masks_says_so(run, tmp_path):
    report = run(clinics(masks="none"))
    assert report["virtual"]["masks"] == "none"
    assert report["privacy"]["secure_aggregation"] == "off"
    assert told(tmp_path / "run", "virtual")[0]["masks"] == "none"
    assert "No update was masked" in (tmp_path / "run" / "report.html").read_text()
    assert {each["kind"] for each in trace(tmp_path / "run")} == {"train", "evaluate"}


def test_the_report_says_that_its_times_are_virtual_and_who_is_who(run, tmp_path):
    report = run(clinics())
    assert report["virtual"]["members"] == {site: f"all/{number}" for number, site in enumerate(SITES, 1)}
    page = (tmp_path / "run" / "report.html").read_text()
    assert "virtual seconds, by phase" in page
    assert "Every update was masked" in page


def test_a_run_that_is_taken_up_again_goes_on_at_the_hour_of_its_last_commit(run, tmp_path):
    whole = run(clinics(), PLAIN)
    lines = trace(tmp_path / "run")
    last = Commits(tmp_path / "run").latest()[0]
    assert last is not None
    shutil.rmtree(tmp_path / "run" / "commits" / f"round-{last.round:06d}")
    again = run(clinics(), PLAIN, resume=True)
    assert again["resumed"] == [2]
    assert again["model_sha256"] == whole["model_sha256"]
    assert again["virtual"]["seconds"] == pytest.approx(whole["virtual"]["seconds"], abs=0.01)
    assert [(each["who"], each["event"]) for each in trace(tmp_path / "run")] == [(e["who"], e["event"]) for e in lines]


FAR = clinics(
    {"name": "all", "count": 4},
    {"name": "far", "machine": "old"},
    machines={"box": {"like": "t4", "step": "10 s"}, "old": {"like": "t4", "step": "100 s"}},
)
"""One clinic of five is ten times slower."""
BUFFER = (PLAIN, "evaluation.every=2", "strategy.name=fedavg")


def test_a_buffer_of_all_sites_is_a_run_without_one_to_the_bit(run, tmp_path):
    plain, buffer = run(FAR, PLAIN, out="plain"), run(FAR, PLAIN, "federation.buffer.size=5", out="buffer")
    assert buffer["model_sha256"] == plain["model_sha256"]
    assert buffer["virtual"]["seconds"] == plain["virtual"]["seconds"]
    assert all(set(each["buffer"]["staleness"].values()) == {0} for each in buffer["rounds"])


def test_a_site_ten_times_slower_holds_up_no_buffer_and_is_in_one_all_the_same(run, tmp_path):
    settings = (*BUFFER, "rounds=18", "federation.deadline_s=7200")
    fast = run(clinics({"name": "all", "count": 5}), *settings, "rounds=18", "federation.buffer.size=4", out="fast")
    mixed = run(FAR, *settings, "federation.buffer.size=4", out="mixed")
    waiting = run(FAR, *settings, out="waiting")
    assert mixed["virtual"]["seconds"] < 1.25 * fast["virtual"]["seconds"]
    assert waiting["virtual"]["seconds"] > 5 * mixed["virtual"]["seconds"]
    late = {each["round"]: each["buffer"]["staleness"]["zenith"] for each in mixed["rounds"] if "zenith" in each["joined"]}
    assert late
    assert all(staleness > 5 for staleness in late.values())
    assert not any(each["missing"] for each in mixed["rounds"])
    page = (tmp_path / "mixed" / "report.html").read_text()
    assert "A round was over with 4 updates." in page
    assert "models after their own on average; the oldest, zenith" in page
    trained = [each for each in trace(tmp_path / "mixed") if each["event"] == "there" and each["kind"] == "train"]
    assert sum(each["who"] == "zenith" for each in trained) == len(late), "each of its updates is in one buffer"


def test_buffers_of_one_seed_are_the_same_bytes_whatever_the_number_of_processes(run, tmp_path):
    odd = {**ODD, "faults": [{"kind": "dark", "who": "all/2", "at": "200 s", "lasts": "20 min"}]}
    settings = (*BUFFER, "rounds=12", "federation.buffer.size=2", "federation.buffer.concurrent=4")
    first = run(odd, *settings, out="0")
    assert {s for each in first["rounds"] for s in each["buffer"]["staleness"].values()} > {0}
    for workers in ("1", "2"):
        again = run(odd, *settings, f"engine.workers={workers}", out=workers)
        assert bytes_of(tmp_path / workers) == bytes_of(tmp_path / "0")
        assert again["model_sha256"] == first["model_sha256"]


def test_what_trained_when_a_run_stopped_is_begun_anew_and_named(run, tmp_path):
    settings = (*BUFFER, "rounds=6", "federation.buffer.size=4")
    run(FAR, *settings)
    last = Commits(tmp_path / "run").latest()[0]
    assert last is not None
    shutil.rmtree(tmp_path / "run" / "commits" / f"round-{last.round:06d}")
    again = run(FAR, *settings, resume=True)
    assert again["resumed"] == [5]
    assert told(tmp_path / "run", "begun-anew")[0]["sites"] == {"zenith": 1}
    assert again["rounds"][-1]["buffer"]["under_way"] == {"zenith": 6}


def test_buffers_without_virtual_time(run):
    report = run(None, *BUFFER, "rounds=4", "federation.buffer.size=2", "engine.workers=2")
    assert [len(each["joined"]) for each in report["rounds"]] == [2, 2, 2, 2]
    assert report["status"] == "complete"


@pytest.mark.parametrize(
    ("topology", "overrides", "said"),
    [
        (clinics(learning="modelled"), (), "learning: got modelled"),
        (clinics(masks="timed"), (), "masks: got timed"),
        (clinics(cohort=3), (), "fraction_train"),
        (clinics({"name": "all", "count": 5, "skew": "3 s"}), (), "skew of clocks"),
        (
            clinics(
                {"name": "all", "count": 5, "trains": False, "devices": [{"name": "us", "machine": "box", "line": "dsl"}]}
            ),
            (),
            "topology.clinics all: trains: false",
        ),
        (clinics({"name": "all", "count": 4}), (), "the data has 5 sites (east, north, south, west, zenith), and 4 train"),
    ],
)
def test_what_real_learning_cannot_do_is_refused_by_name(run, tmp_path, topology, overrides, said):
    with pytest.raises(ConfigError) as caught:
        run(topology, *overrides)
    assert said in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_all_that_is_refused_is_told_at_once(run):
    with pytest.raises(ConfigError, match=r"(?s)timed.*fraction_train"):
        run(clinics(masks="timed", cohort=3))
