"""`fedmed edge`: what a device says of its results, and of its model's precision."""

from __future__ import annotations

import json

import pytest

from fedmed.cli.edging import _leaves, _row
from fedmed.store.standing import serving as being_served
from fedmed.store.standing import write_status
from tests.edge.device import device_of
from tests.edge.doctor.examined import changed
from tests.hub.clinic import serving

IMAGE = {
    "unix": 1.7e9,
    "model": {"name": "chest", "version": "2"},
    "classes": ["well", "ill"],
    "probabilities": [0.25, 0.75],
    "sources": [{"sop_instance": "1.2.3", "series": "1.2"}],
}


def test_a_result_is_shown_with_its_image_and_a_series_with_how_many_of_its_images():
    assert _row(IMAGE) == {"when": _row(IMAGE)["when"], "image": "1.2.3", "model": "chest 2", "said": "ill 75%, well 25%"}
    series = {**IMAGE, "series": {"used": 48, "came": 49}}
    assert _row(series)["image"] == "series 1.2, 48 of 49 images"
    assert _row({**series, "replaces": "1.9"})["image"].endswith(", in place of an earlier result")


def test_a_series_without_a_result_is_shown_with_the_reason():
    told = {
        "unix": 1.7e9,
        "model": None,
        "reason": "no-model",
        "sentence": "none\x1b[31m runs",
        "series_instance": "1.2",
        "series": {"used": 0, "came": 3},
    }
    row = _row(told)
    assert (row["image"], row["model"]) == ("series 1.2, 0 of 3 images", "no model")
    assert row["said"].startswith("no result, no-model: none")
    assert "\x1b" not in row["said"]


ROW = {"precision": "fp32", "backend": "cpu", "median_ms": 12.34, "loss_points": 0.0, "chosen": False, "reason": "slower"}
LADDER = {
    "wanted": "auto",
    "phase": "probation",
    "precision": "int8",
    "basis": "agreement with the decisions of fp32 on 128 images of this device, which is no accuracy",
    "why": "int8 is on probation (7 of 100 images)",
    "rungs": [ROW, {**ROW, "precision": "int8", "median_ms": None, "loss_points": None, "reason": "out: \x1b[31mcrashed"}],
}
STATUS = {
    "since": 1.0,
    "version": "1",
    "spool": {"entries": {}, "bytes": 0, "dropped": {}},
    "hub_heard": True,
    "health": {"isolated": "", "past": [], "readings": []},
    "said": [],
}


@pytest.mark.parametrize("wanted", ["auto", "int8"])
def test_status_says_which_precision_by_what_and_why_not_the_others(said, tmp_path, wanted: str):
    active = {"name": "chest", "version": "1", "precision": "int8"}
    ladder = LADDER if wanted == "auto" else {"wanted": wanted, "why": ""}
    with serving(tmp_path) as place:
        folder = device_of(place, "us-1").folder
        write_status(folder, {**STATUS, "models": {"active": active, "beside": None, "ladder": ladder}})
        with being_served(folder, "the agent"):
            code, out, _ = said("edge", "status", "--at", folder)
    assert code == 0
    assert "looks with chest 1, int8" in out
    if wanted == "auto":
        assert "7 of 100 images); by agreement with the decisions of fp32" in out
        assert "fp32 on cpu 12.3 ms, 0.00 points lost: slower" in out
        assert "\x1b" not in out
    else:
        assert "points lost" not in out


@pytest.mark.parametrize(("deidentify", "said_so"), [("site.key", ", and copies of them go to the clinic"), (None, "")])
def test_status_without_a_model_says_where_images_go_and_what_was_set_aside_is_not_lost(said, tmp_path, deidentify, said_so):
    spool = {"entries": {"instance": 3, "result": 1, "study": 0}, "bytes": 10, "dropped": {"set aside": 4, "quota": 2}}
    readings = [{"name": "cpu_busy", "device": "", "value": 1.925, "unit": "ratio"}]
    told = {**STATUS, "spool": spool, "health": {**STATUS["health"], "readings": readings}}  # type: ignore[dict-item]
    with serving(tmp_path) as place:
        folder = changed(device_of(place, "us-1").folder, deidentify=deidentify).folder
        write_status(folder, {**told, "models": {"ladder": {"wanted": "auto", "why": "fp32 until a release is committed"}}})
        (folder / "paused").touch()
        with being_served(folder, "the agent"):
            code, out, _ = said("edge", "status", "--at", folder)
    assert code == 0
    assert "us-1 of north: up since 1970-01-01 00:00 UTC, paused, version 1" in out
    assert (
        "waits: images 3, results for the PACS 1 (10 B); set aside: 4 (fedmed edge aside list); dropped so far: 2 quota"
        in out
    )
    assert f"no model runs here yet: images wait for the first release{said_so}\n" in out
    assert "cpu busy 192 %" in out
    assert "fp32 until" not in out


def test_status_says_how_long_what_waits_for_the_hub_takes_where_that_is_known():
    leaving = {"entries": 4000, "bytes": 64_000_000, "bytes_per_s": 500_000, "left_s": 128.0}
    assert _leaves(True, leaving) == "the hub is heard; 64 MB for it take 2 min 8 s at 500 kB/s"
    assert _leaves(False, leaving).endswith("to the PACS; 64 MB for it take 2 min 8 s at 500 kB/s, once it is")
    for unknown in ({}, {**leaving, "left_s": None, "bytes_per_s": None}, {**leaving, "entries": 0, "bytes": 0}):
        assert _leaves(True, unknown) == "the hub is heard"


def test_an_agent_that_has_told_nothing_yet_is_starting(said, tmp_path):
    with serving(tmp_path) as place:
        folder = device_of(place, "us-1").folder
        with being_served(folder, "the agent"):
            code, out, _ = said("edge", "status", "--at", folder)
    assert (code, out) == (0, "us-1 of north: the agent is starting; ask again in a moment\n")


HUGE = json.dumps({**IMAGE, "unix": 1e300})


@pytest.mark.parametrize(
    "content", ["nope", "[]", '{"a": 1}', "[" * 100_000, '{"model": 1, "unix": "x", "sources": 2}', HUGE]
)
def test_a_file_that_is_no_result_is_named(said, tmp_path, content):
    with serving(tmp_path) as place:
        folder = device_of(place, "us-1").folder
        (folder / "results/2026-01-01").mkdir(parents=True)
        (folder / "results/2026-01-01/a.json").write_text(content)
        code, out, err = said("edge", "results", "--at", folder)
    assert (code, out) == (5, "")
    assert "a.json is no result" in err
