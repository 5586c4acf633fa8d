from __future__ import annotations

import json

import pytest

from fedmed.errors import StoreError
from fedmed.flower.happenings import Happening
from fedmed.simulate.traces import NAME, Trace


def test_one_canonical_line_an_event(tmp_path):
    with Trace(tmp_path, ["north", "süd"]) as trace:
        trace.tell(Happening(1.23456789, 3, "there", "train", 40))
        trace.tell(Happening(2.0, 2, "lost", "train", 0, "its disk was full"))
    assert (tmp_path / NAME).read_text().splitlines() == [
        '{"at":1.234568,"bytes":40,"event":"there","kind":"train","who":"süd"}',
        '{"at":2.0,"event":"lost","kind":"train","who":"north","why":"its disk was full"}',
    ]


def test_what_came_after_the_commit_that_is_gone_on_from_goes(tmp_path):
    lines = [
        {"at": 5.0, "event": "sent"},
        {"at": 9.9999, "event": "there"},
        {"at": 10.0, "event": "sent"},
        {"at": 12.0, "event": "heard"},
    ]
    (tmp_path / NAME).write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"at":13.0,"ev')
    with Trace(tmp_path, ["north"], since=10.0) as trace:
        trace.tell(Happening(10.0, 2, "sent", "train", 8))
    found = [json.loads(line) for line in (tmp_path / NAME).read_text().splitlines()]
    assert [(each["at"], each["event"]) for each in found] == [(5.0, "sent"), (9.9999, "there"), (10.0, "sent")]


def test_a_run_from_its_beginning_begins_its_trace_anew(tmp_path):
    (tmp_path / NAME).write_text('{"at":1.0,"event":"sent"}\n')
    with Trace(tmp_path, ["north"]):
        pass
    assert (tmp_path / NAME).read_bytes() == b""


def test_a_full_disk_is_named(small_disk):
    with Trace(small_disk, ["north" * 1_000_000]) as trace, pytest.raises(StoreError, match="make room"):
        trace.tell(Happening(0.0, 2, "sent", "train", 8))
