from __future__ import annotations

import json
import lzma

import pytest

from fedmed.errors import ConfigError, StoreError
from fedmed.store.audit import reading, segments
from fedmed.store.audit.archiving import YEAR_S, Retention, archive, prune
from fedmed.store.audit.checking import check, check_segment
from fedmed.wire.merkle import verify_consistency
from tests.identity.logs import CENTER, CLINICS
from tests.identity.parties import NOW
from tests.store.audit.logs import happened, log_in
from tests.store.power import Crash, Power

LATER = NOW + 8 * YEAR_S


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("events-"))


def rounds(folder, other=None):
    return [each.round for _, each in reading.opened(folder, other).events()]


@pytest.mark.parametrize("years", [0.49, 0, -7, float("nan"), float("inf")])
def test_less_than_six_months_is_refused_with_a_reason(years):
    with pytest.raises(ConfigError, match=r"allowed are 0.5 \(six months\) and more: rules for health data"):
        Retention(years)
    assert Retention().years == 7
    assert Retention(0.5).years == 0.5


def test_archived_segments_are_read_as_before(tmp_path):
    log = log_in(tmp_path, 8, most=3)
    head = log.head()
    before = rounds(tmp_path)
    made = archive(tmp_path)
    assert [path.name for path in made] == ["events-000000000000.jsonl.xz", "events-000000000003.jsonl.xz"]
    assert [name for name in names(tmp_path) if name.endswith(".jsonl")] == ["events-000000000006.jsonl"]
    assert rounds(tmp_path) == before
    assert archive(tmp_path) == []
    assert log.append(happened(8)) == 8
    assert verify_consistency(2, 8, reading.opened(tmp_path).reach(2).root(2), head.root, log.consistency(2, 8))
    assert check(tmp_path, NOW).size == 9


def test_a_segment_that_was_moved_away_is_named_and_found_with_its_folder(tmp_path):
    folder, other = tmp_path / "log", tmp_path / "vault"
    log_in(folder, 7, most=3).head()
    archive(folder, other)
    with pytest.raises(StoreError, match=r"events-000000000000.jsonl is gone.*--archive"):
        check(folder, NOW)
    found = check(folder, NOW, other)
    assert (found.size, found.closed, found.unsigned) == (7, 2, 0)
    assert rounds(folder, other) == list(range(7))
    alone = check_segment(other / "events-000000000003.jsonl.xz", NOW, CENTER.fingerprint)
    assert (alone.start, alone.size, alone.since, alone.until) == (3, 6, NOW + 3, NOW + 5)


def test_an_archived_segment_that_was_changed_is_found_alone(tmp_path):
    log_in(tmp_path, 7, most=3)
    first, second = archive(tmp_path)
    content = lzma.decompress(second.read_bytes())
    beside = segments.anchor_beside(second)
    anchor = json.loads(beside.read_bytes())
    for wrong, word in (
        (content.replace(b'"round":4', b'"round":5'), r"line 3: it does not follow the line above"),
        (content[:-1], "line 3: it does not have the digest"),
        (b"".join(content.splitlines(keepends=True)[:2]), "bytes and 2 lines"),
        (b"".join(content.splitlines(keepends=True)[::-1]), r"line 1: it does not follow"),
        (content + content, "line 4: it cannot be read"),
    ):
        second.write_bytes(lzma.compress(wrong))
        with pytest.raises(StoreError, match=word):
            check_segment(second, NOW)
        with pytest.raises(StoreError, match=word):
            check(tmp_path, NOW)
    second.write_bytes(b"no xz")
    with pytest.raises(StoreError, match="cannot be read"):
        check_segment(second, NOW)
    second.write_bytes(lzma.compress(content))
    with pytest.raises(StoreError, match="not with"):
        check_segment(second, NOW, CLINICS[0].fingerprint)
    for change, word in (
        ({"start": 2}, "does not fit its place"),
        ({"start": 4}, "line 2: it is not the last line that was written"),
        ({"grown": ["00" * 32] * 2}, "its 3 lines make 6 entries"),
        ({"peaks": ["00" * 32] * 2}, "do not make the root"),
        ({"head": {**anchor["anchor"]["head"], "unix_ms": 1}}, "did not sign"),
        ({"bytes": 10**20}, "is not a whole number"),
        ({"more": 1}, "has other fields"),
    ):
        beside.write_text(json.dumps({**anchor, "anchor": {**anchor["anchor"], **change}}))
        with pytest.raises(StoreError, match=word):
            check_segment(second, NOW)
    assert check_segment(first, NOW).size == 3


def test_only_old_archived_segments_are_taken_away_and_their_anchors_stay(tmp_path):
    log = log_in(tmp_path, 7, most=3)
    head = log.head()
    assert prune(log, "ada", NOW, Retention()).kept_because.endswith("is not 7 years old")
    done = prune(log, "ada", LATER, Retention())
    assert (done.segments, done.kept_because) == (
        (),
        "events-000000000000.jsonl is old enough, and not archived; archive it first",
    )
    first, _ = archive(tmp_path)
    assert prune(log, "ada", LATER, Retention(9)).segments == ()
    done = prune(log, "ada", LATER, Retention())
    assert [anchor.start for anchor in done.segments] == [0, 3]
    assert not first.exists()
    assert not segments.anchor_beside(first).exists()
    found = reading.opened(tmp_path)
    assert [each.size for each in found.anchors.closed][:2] == [3, 6]
    assert [each.round for _, each in found.events()][:1] == [6]
    told = [each for _, each in found.events() if each.action == "prune"]
    assert [(each.who, each.resource, each.details["number"]) for each in told] == [
        ("ada", "events-000000000000.jsonl", 3),
        ("ada", "events-000000000003.jsonl", 6),
    ]
    assert check(tmp_path, LATER).pruned == 2
    log.append(happened(9))
    new = log.head()
    assert verify_consistency(7, new.size, head.root, new.root, log.consistency(7))
    for call in (lambda: log.consistency(2), lambda: log.inclusion(4)):
        with pytest.raises(StoreError, match=r"those from 6 to 9 are there \(of older ones only anchors"):
            call()


def test_a_segment_that_was_removed_by_hand_is_missed(tmp_path):
    log_in(tmp_path, 7, most=3)
    first, _ = archive(tmp_path)
    first.unlink()
    with pytest.raises(StoreError, match="only retention may take a segment away"):
        check(tmp_path, NOW)


def test_what_is_damaged_is_not_taken_away(tmp_path):
    log = log_in(tmp_path, 4, most=3)
    (first,) = archive(tmp_path)
    first.write_bytes(lzma.compress(b"x"))
    with pytest.raises(StoreError, match="line 1: it cannot be read"):
        prune(log, "ada", LATER, Retention())
    assert first.exists()


def test_only_the_oldest_is_forgotten(tmp_path):
    log = log_in(tmp_path, 7, most=3)
    with pytest.raises(StoreError, match="segment 3 is not the oldest one kept, 0 is"):
        log.forget(3)


@pytest.mark.parametrize("keeps", ["all", "synced"])
def test_a_crash_while_archiving_loses_no_line(tmp_path, keeps):
    fails_at, done = 0, False
    while not done:
        folder = tmp_path / str(fails_at)
        log_in(folder, 7, most=3)
        power = Power(folder, fails_at=fails_at, torn=True)
        try:
            archive(folder, disk=power)
            done = True
        except Crash:
            pass
        power.lose(keeps)
        assert rounds(folder) == list(range(7))
        archive(folder)
        assert rounds(folder) == list(range(7))
        fails_at += 1
    assert fails_at > 10


def test_a_disk_that_refuses_leaves_the_segment(tmp_path):
    log_in(tmp_path, 4, most=3)
    with pytest.raises(StoreError, match="cannot be archived"):
        archive(tmp_path, disk=Power(tmp_path, fails_at=2, fault=OSError))
    assert rounds(tmp_path) == [0, 1, 2, 3]


def test_files_left_by_a_crash_while_pruning_go_with_the_next(tmp_path):
    log = log_in(tmp_path, 4, most=3)
    (first,) = archive(tmp_path)
    log.forget(0)
    assert first.exists()
    prune(log, "ada", NOW, Retention())
    assert not first.exists()
