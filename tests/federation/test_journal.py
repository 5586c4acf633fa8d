from __future__ import annotations

import json

import pytest

from fedmed.errors import StoreError
from fedmed.federation.journal import NAME, Journal
from tests.federation.peers import FakeClock


def lines(folder):
    return [json.loads(line) for line in (folder / NAME).read_bytes().splitlines()]


def test_events_are_there_at_once_and_in_order(tmp_path):
    clock = FakeClock()
    journal = Journal(tmp_path, clock)
    journal.say("met", sites={"Zürich": 3})
    assert lines(tmp_path) == [{"event": "met", "unix": 1.7e9 + 1000, "sites": {"Zürich": 3}}]
    clock.sleep(1.23456)
    journal.say("end", round=2)
    assert lines(tmp_path)[1] == {"event": "end", "unix": 1.7e9 + 1001.235, "round": 2}
    journal.close()


def test_a_resumed_run_writes_on(tmp_path):
    for number in (1, 2):
        journal = Journal(tmp_path, FakeClock())
        journal.say("start", round=number)
        journal.close()
    assert [line["round"] for line in lines(tmp_path)] == [1, 2]


def test_two_writers_of_one_run_do_not_write_into_each_other(tmp_path):
    one, other = Journal(tmp_path, FakeClock()), Journal(tmp_path, FakeClock())
    for number in range(100):
        (one, other)[number % 2].say("answered", round=number, text="x" * 9000)
    assert [line["round"] for line in lines(tmp_path)] == list(range(100))
    one.close()
    other.close()


def test_a_line_cut_off_by_a_kill_spoils_no_other(tmp_path):
    (tmp_path / NAME).write_bytes(b'{"event": "start"}\n{"event": "answ')
    journal = Journal(tmp_path, FakeClock())
    journal.say("resumed", round=4)
    journal.close()
    first, cut, last = (tmp_path / NAME).read_bytes().splitlines()
    assert (json.loads(first)["event"], cut, json.loads(last)["event"]) == ("start", b'{"event": "answ', "resumed")


@pytest.mark.parametrize("text", ["\udcff", "line\nbreak", "\x00\x1f", "\u2028", '"}\n{"event": "end"}'])
def test_whatever_a_site_says_stays_one_line_of_json(tmp_path, text):
    journal = Journal(tmp_path, FakeClock())
    journal.say("failed", site="oslo", reason=text)
    journal.say("end")
    journal.close()
    raw = (tmp_path / NAME).read_bytes().split(b"\n")
    assert len(raw) == 3
    assert json.loads(raw[0])["reason"] == text


def test_a_full_disk_is_a_store_error_that_says_what_to_do(small_disk):
    journal = Journal(small_disk, FakeClock())

    def fill():
        for _ in range(100):
            journal.say("answered", text="x" * 30_000)

    with pytest.raises(StoreError, match="--resume") as caught:
        fill()
    assert str(small_disk) in str(caught.value)
    journal.close()  # must not raise again
    (small_disk / NAME).write_bytes((small_disk / NAME).read_bytes()[:500_000])  # room again, and the last line cut off
    again = Journal(small_disk, FakeClock())
    again.say("resumed", round=3)
    again.close()
    assert json.loads((small_disk / NAME).read_bytes().splitlines()[-1])["event"] == "resumed"
