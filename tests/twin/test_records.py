from __future__ import annotations

import json
from dataclasses import replace

import pytest

from fedmed.errors import ConfigError, StoreError
from fedmed.store.commits import Commits
from fedmed.twin.records import read
from tests.twin.seen import written


@pytest.fixture
def center(tmp_path):
    written(tmp_path / "study")
    return tmp_path / "study"


def test_rounds_after_the_first_with_the_times_of_each_site(center):
    found = read(center)
    assert [each.number for each in found.rounds] == [2, 3]
    first = found.rounds[0]
    assert first.seconds == pytest.approx(19.5)
    assert first.train.answered == pytest.approx(dict.fromkeys(("east", "north", "south"), 10.0))
    assert first.validate is not None
    assert first.validate.seconds == pytest.approx(8.9)
    assert found.pasts["north", "train"].seen[0].line_s == 7.9
    assert found.cases == {"east": 50, "north": 50, "south": 50}


def test_a_half_written_last_line_is_left_out(center):
    with (center / "runs/line/journal.jsonl").open("a") as file:
        file.write('{"event": "ro')
    assert len(read(center).rounds) == 2


def test_a_round_that_was_taken_up_after_a_crash_is_not_in_the_numbers(center):
    path = center / "runs/line/journal.jsonl"
    again = {"event": "round", "unix": 1.8e9 + 61, "round": 3, "attempt": 1}
    path.write_text(path.read_text() + json.dumps(again) + "\n")
    found = read(center)
    assert [each.number for each in found.rounds] == [2]
    assert found.others == 1


@pytest.mark.parametrize("damage", ['{"event": 3, "unix": 1}', "\0\0\0", '{"event": "round"}', "[" * 100_000, '{"unix": 1}'])
def test_a_damaged_journal_is_refused_with_its_line(center, damage):
    path = center / "runs/line/journal.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], damage, *lines[2:]]) + "\n")
    with pytest.raises(StoreError, match=r"journal\.jsonl:3: the journal is damaged"):
        read(center)


def test_a_missing_journal_is_refused(center):
    (center / "runs/line/journal.jsonl").unlink()
    with pytest.raises(StoreError, match="cannot be read"):
        read(center)


def test_records_of_another_version_are_refused(center):
    path = center / "runs/line/journal.jsonl"
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if '"met"' not in line))
    with pytest.raises(StoreError, match="another version"):
        read(center)


def test_a_damaged_pace_is_refused_and_a_missing_one_says_nothing(center):
    path = center / "runs/line/pace.json"
    path.write_text('{"seen": {"north": {"train": {"missed": 0, "seen": [[-1, 2, 3]]}}}}')
    with pytest.raises(StoreError, match="take it away"):
        read(center)
    path.unlink()
    assert read(center).pasts == {}


def test_what_is_no_center_and_what_is_no_run_is_refused(center, tmp_path):
    with pytest.raises(ConfigError, match="no center's folder"):
        read(tmp_path)
    with pytest.raises(ConfigError, match="runs: line"):
        read(center, "other")
    with pytest.raises(ConfigError, match="runs: line"):
        read(center, "../runs/line")


def test_a_run_without_a_second_round_is_refused(tmp_path):
    written(tmp_path, rounds=1)
    with pytest.raises(ConfigError, match="none after the first is complete"):
        read(tmp_path)


def test_a_center_whose_runs_have_committed_nothing_is_refused(tmp_path):
    (tmp_path / "center.yaml").write_text("federation: study\n")
    with pytest.raises(ConfigError, match="no run has committed"):
        read(tmp_path)


def test_a_run_of_buffers_is_refused(center):
    commits = Commits(center / "runs" / "line")
    commit, _ = commits.latest()
    assert commit is not None
    told = commit.state["scenario"]
    told["federation"]["buffer"] = {"size": 2}
    told["privacy"]["secure_aggregation"] = "off"
    commits.write(replace(commit, round=commit.round + 1))
    with pytest.raises(ConfigError, match="its rounds are buffers"):
        read(center)
