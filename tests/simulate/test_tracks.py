from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.simulate.tracks import Errand, covered, errands, gantt, last, tracks, use


def line(at: float, event: str, who: str = "a", kind: str = "train", **more: Any) -> bytes:
    return json.dumps({"at": at, "event": event, "who": who, "kind": kind, **more}).encode() + b"\n"


WHOLE = [
    line(0, "sent", bytes=5),
    line(0, "sent", "b", bytes=5),
    line(1, "heard"),
    line(2, "heard", "b"),
    line(4, "done"),
    line(6, "there", bytes=7),
    line(9, "lost", "b", why="dark"),
    line(10, "sent", bytes=5),
    line(11, "heard"),
    line(12, "done"),
    line(13, "there", bytes=7),
]


ROUNDS = [
    {"round": 1, "attempt": 1, "phases": {"train": 9.5}},
    {"round": 2, "attempt": 1, "phases": {"train": 3.0}},
]


def test_a_message_goes_down_is_worked_on_and_comes_up():
    first, other, second = errands(WHOLE)
    assert first.bars() == [(0, 1, "down"), (1, 4, "work"), (4, 6, "up")]
    assert (first.down_bytes, first.up_bytes, first.why) == (5, 7, "")
    assert other.bars() == [(0, 2, "down")]
    assert other.why == "dark"
    assert second.sent == 10


@given(st.integers(0, len(b"".join(WHOLE))))
def test_a_trace_that_is_cut_anywhere_can_be_read(cut):
    lines = b"".join(WHOLE)[:cut].splitlines(keepends=True)
    found = errands(lines)
    assert len(found) <= 3
    told = use(found, 20.0)
    assert all(each["work_s"] + each["line_s"] + each["idle_s"] == pytest.approx(20.0) for each in told.values())


def test_what_is_taken_back_is_the_last_that_was_sent():
    first, second = errands([line(0, "sent"), line(1, "sent"), line(2, "withdrawn"), line(3, "heard")])
    assert (first.heard, first.ended) == (3, None)
    assert (second.why, second.ended) == ("withdrawn", 2)


def test_the_longest_round_is_shown_with_who_is_last_on_top():
    found = gantt(errands(WHOLE), ROUNDS, 14.0, 9.0)
    assert found is not None
    assert (found["round"], found["began"], found["ended"], found["more"]) == (1, 0, 10, 0)
    assert (found["closed"], found["deadline"]) == (9.5, 9.0)
    assert [row["who"] for row in found["rows"]] == ["b", "a"]
    assert [row["lost"] for row in found["rows"]] == ["dark", ""]
    assert found["rows"][1]["bars"] == [(0, 1, "down"), (1, 4, "work"), (4, 6, "up"), (6, 9.5, "wait")]
    assert found["rows"][0]["bars"] == [(0, 2, "down"), (2, 9.5, "gone")]
    assert gantt([], [], 14.0) is None


def test_who_was_lost_to_the_validation_is_told_with_its_reason():
    asked = [line(7, "sent", kind="evaluate", bytes=5), line(8, "heard", kind="evaluate")]
    found = gantt(errands([*WHOLE[:6], *asked, line(8.5, "lost", kind="evaluate", why="cut")]), ROUNDS[:1], 14.0)
    assert found is not None
    (row,) = (row for row in found["rows"] if row["who"] == "a")
    assert row["lost"] == "validation: cut"
    later = [line(12, "sent", kind="open"), line(13, "heard", kind="open"), line(13, "done", kind="open")]
    of_masks = gantt(errands([*WHOLE[:6], *asked, line(8.5, "lost", kind="evaluate", why="cut"), *later]), ROUNDS[:1], 14.0)
    (same,) = (row for row in (of_masks or {})["rows"] if row["who"] == "a")
    assert same["bars"][-3:] == [(8, 12, "gone"), (12, 13, "down"), (13, 14.0, "gone")]
    assert row["bars"][-1] == (8, 14.0, "gone")


def test_who_never_answered_is_said_to_be_missing():
    found = gantt(errands([line(0, "sent"), line(1, "heard")]), ROUNDS[:1], 9.0)
    assert found is not None
    assert [(row["who"], row["lost"]) for row in found["rows"]] == [("a", "not in this round")]


def test_an_attempt_that_cannot_be_told_has_no_number():
    found = gantt(errands(WHOLE), ROUNDS[:1], 14.0) or {}
    assert (found["round"], found["closed"]) == (None, 10)
    found = gantt(errands(WHOLE), [{"round": 1, "attempt": 2, "phases": {"train": 2.0}}], 14.0) or {}
    assert (found["round"], found["closed"]) == (1, 10)


def test_time_is_shared_between_work_line_and_neither(tmp_path):
    (tmp_path / "trace.jsonl").write_bytes(b"".join(WHOLE))
    told = tracks(tmp_path, ROUNDS, 20.0).use
    assert told["a"] == {"work_s": 4, "line_s": 5, "idle_s": 11, "down_bytes": 10, "up_bytes": 14}
    assert told["b"] == {"work_s": 0, "line_s": 2, "idle_s": 18, "down_bytes": 5, "up_bytes": 0}


SPANS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)).map(lambda ends: (min(ends), max(ends))))


@given(SPANS)
def test_what_is_covered_is_covered_once(spans):
    assert covered(spans) == len({second for start, end in spans for second in range(start, end)})


def test_bars_are_those_that_are_known():
    assert Errand("a", "train", 0.0).bars() == []


def test_lines_carry_what_was_sent_and_what_came_and_each_round_has_its_last(tmp_path):
    (tmp_path / "trace.jsonl").write_bytes(b"".join(WHOLE))
    found = tracks(tmp_path, ROUNDS, 14.0)
    assert (sum(found.network["down"]), sum(found.network["up"])) == (15, 14)
    assert found.last == ["a", "a"]
    cut = tracks(tmp_path, ROUNDS, 11.0).network
    assert (len(cut["down"]), sum(cut["up"])) == (11, 7)


def test_an_answer_after_the_next_round_began_is_nobodys_last():
    late = [
        line(0, "sent"),
        line(0, "sent", "b"),
        line(2, "there", "b"),
        line(5, "sent", "b"),
        line(6, "there"),
        line(7, "there", "b"),
    ]
    assert last(errands(late)) == ["b", "b"]
