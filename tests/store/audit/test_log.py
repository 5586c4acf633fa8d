from __future__ import annotations

import json
import multiprocessing
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import DataError, StoreError
from fedmed.identity.heads import sign_head
from fedmed.store.audit import label, reading
from fedmed.store.audit.event import Event
from fedmed.store.audit.log import AuditLog, Cut
from fedmed.wire.merkle import leaf_hash as leaf
from fedmed.wire.merkle import verify_consistency, verify_inclusion
from tests.identity.logs import CENTER, CLINICS
from tests.identity.parties import NOW, Standing
from tests.store.audit.logs import happened, log_in


def told(folder):
    return [each for _, each in reading.opened(folder).events()]


def test_events_are_read_back_in_order_across_segments(tmp_path):
    log = log_in(tmp_path, 10, most=4)
    assert log.size == 10
    assert told(tmp_path) == [happened(number) for number in range(10)]
    found = reading.opened(tmp_path)
    assert [each.size for each in found.anchors.closed] == [4, 8]
    assert [number for number, _ in found.events(5)] == [5, 6, 7, 8, 9]
    assert found.owner == log.owner
    links = [json.loads(line)["before"] for _, _, lines in found.parts() for line in lines]
    assert links[0] == "0" * 64
    assert len(set(links)) == 10


def test_a_log_is_gone_on_with_after_a_restart(tmp_path):
    log_in(tmp_path, 5, most=2)
    assert log_in(tmp_path, 3, most=2).size == 8
    assert told(tmp_path) == [happened(number) for number in range(8)]


def test_several_events_at_once_have_one_number_each(tmp_path):
    log = log_in(tmp_path, 1)
    assert log.append(*(happened(number) for number in range(1, 5))) == 1
    assert log.append(happened(5)) == 5
    assert told(tmp_path) == [happened(number) for number in range(6)]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 14), st.integers(1, 5), st.data())
def test_heads_at_any_time_are_joined_and_entries_proved(tmp_path_factory, count, most, data):
    log = log_in(tmp_path_factory.mktemp("log"), 0, most)
    heads = [log.head()]
    for number in range(count):
        log.append(happened(number))
        if data.draw(st.booleans()):
            heads.append(log.head())
        if data.draw(st.booleans()):
            log = log_in(log.folder, 0, most)
    heads.append(log.head())
    for old, new in pairwise(heads):
        path = log.consistency(old.size, new.size)
        assert verify_consistency(old.size, new.size, old.root, new.root, path)
    assert all(head.is_signed_by(CENTER.signing_public) for head in heads)
    index, line = data.draw(st.integers(0, count - 1)), reading.opened(log.folder)
    assert verify_inclusion(index, count, leaf(line.line(index)), log.inclusion(index), heads[-1].root)


def test_a_month_ends_a_segment(tmp_path):
    log = log_in(tmp_path)
    for days in (0, 1, 30, 31):
        log.append(happened(0, NOW + days * 86_400))
    closed = reading.opened(tmp_path).anchors.closed
    assert [(each.start, each.size, each.since, each.until) for each in closed] == [(0, 2, NOW, NOW + 86_400)]


def test_a_process_without_keys_appends_and_signs_nothing(tmp_path):
    log_in(tmp_path, 2, most=2)
    log = AuditLog(tmp_path, Standing(), cut=Cut(2))
    log.append(happened(2))
    assert reading.opened(tmp_path).anchors.closed == ()
    for call in (log.head, log.close_segment):
        with pytest.raises(DataError, match="signed with its owner's keys"):
            call()
    log_in(tmp_path, 1, most=2)
    assert [each.size for each in reading.opened(tmp_path).anchors.closed] == [3]


def test_a_segment_may_be_closed_by_hand_and_an_empty_one_is_not(tmp_path):
    log = log_in(tmp_path, 3)
    anchor = log.close_segment()
    assert anchor is not None
    assert anchor.size == 3
    assert log.close_segment() is None
    assert log_in(tmp_path, 1).size == 4


def _append(folder, first):
    for number in range(first, first + 10):
        log_in(folder, 0, most=7).append(happened(number))


def test_processes_append_side_by_side(tmp_path):
    log = log_in(tmp_path, 0, most=7)
    context = multiprocessing.get_context("fork")
    others = [context.Process(target=_append, args=(tmp_path, first)) for first in (100, 200)]
    for each in others:
        each.start()
    for number in range(10):
        log.append(happened(number))
    for each in others:
        each.join()
        assert each.exitcode == 0
    rounds = [each.round for each in told(tmp_path)]
    assert sorted(rounds) == [*range(10), *range(100, 110), *range(200, 210)]
    assert log.head().size == 30


def test_what_is_no_event_is_not_written(tmp_path):
    log = log_in(tmp_path, 1)
    with pytest.raises(StoreError, match=r"role is 'nurse'; allowed are center, site"):
        log.append(happened(1), Event(NOW, "a", "nurse", "round", "run", "done"))
    with pytest.raises(StoreError, match="none was given"):
        log.append()
    assert told(tmp_path) == [happened(0)]


def test_a_clock_set_back_a_little_does_not_set_heads_back(tmp_path):
    clock = Standing()
    log = log_in(tmp_path, 1, clock=clock)
    first = log.head()
    clock.at -= 60
    log.append(happened(1))
    assert log.head().unix_ms == first.unix_ms
    clock.at -= 100_000
    assert log.head().unix_ms == int(clock.at * 1000)


def test_only_its_owners_keys_open_a_log(tmp_path):
    log_in(tmp_path, 1)
    with pytest.raises(StoreError, match=r"is the log of center .*name the right keys"):
        AuditLog(tmp_path, Standing(), CLINICS[0])
    with pytest.raises(DataError, match="holds no audit log"):
        AuditLog(tmp_path / "nowhere", Standing())
    (tmp_path / label.LABEL).unlink()
    with pytest.raises(StoreError, match=r"holds a log whose log.json is gone"):
        log_in(tmp_path)


def test_a_log_shorter_than_its_signed_head_was_cut_short(tmp_path):
    log = log_in(tmp_path, 5)
    log.head()
    path = tmp_path / "events-000000000000.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3]))
    with pytest.raises(StoreError, match="has 3 lines; 5 were written: it has been cut short"):
        log_in(tmp_path)
    path.with_name(f"{path.name}.head").unlink()
    with pytest.raises(StoreError, match=r"has 3 entries; its owner signed 5 entries.*cut short"):
        log_in(tmp_path)


def test_a_history_written_anew_does_not_have_the_signed_root(tmp_path):
    log_in(tmp_path / "a", 3).head()
    other = log_in(tmp_path / "b")
    for number in (0, 7, 2):
        other.append(happened(number))
    (tmp_path / "b" / label.HEAD).write_bytes((tmp_path / "a" / label.HEAD).read_bytes())
    with pytest.raises(StoreError, match=r"its owner signed 3 entries.*what is there has the root"):
        log_in(tmp_path / "b")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda said: said | {"size": 1}, "did not sign"),
        (lambda said: said | {"size": 10**30}, "allowed is a whole number"),
        (lambda said: said | {"more": 1}, "allowed are just"),
        (lambda said: said | {"signature": "00" * 64}, "did not sign"),
        (lambda said: sign_head(CLINICS[0], 2, bytes(32), 5).as_json(), "did not sign"),
    ],
)
def test_an_altered_head_is_found(tmp_path, change, word):
    log_in(tmp_path, 2).head()
    path = tmp_path / label.HEAD
    path.write_text(json.dumps(change(json.loads(path.read_bytes()))))
    with pytest.raises(StoreError, match=word):
        log_in(tmp_path)
    path.write_text("{")
    with pytest.raises(StoreError, match=r"head.json cannot be read \(JSONDecodeError\)"):
        log_in(tmp_path)


def test_proofs_that_do_not_exist_say_so(tmp_path):
    log = log_in(tmp_path, 5, most=2)
    assert log.consistency(0) == ()
    for call in (
        lambda: log.inclusion(5),
        lambda: log.inclusion(-1),
        lambda: log.inclusion(3, 2),
        lambda: log.inclusion(3, 9),
        lambda: log.consistency(6),
        lambda: log.consistency(3, 9),
    ):
        with pytest.raises(StoreError, match=r"no such proof|is asked for"):
            call()
    assert log.append(happened(5)) == 5, "and it goes on"
