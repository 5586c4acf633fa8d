from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import DataError, StoreError
from fedmed.store import chain
from fedmed.store.audit import label
from fedmed.store.audit.checking import check, check_segment
from tests.identity.logs import CENTER, CLINICS, signed
from tests.identity.parties import NOW, Standing
from tests.store.audit.logs import happened, log_in


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.name not in (".lock",))


def test_a_sound_log_is_told_of(tmp_path):
    log = log_in(tmp_path, 7, most=3)
    old = log.head()
    log.append(happened(7))
    found = check(tmp_path, NOW, fingerprint=CENTER.fingerprint, heads=[("mine", old.as_json())])
    assert (found.size, found.start, found.closed, found.pruned, found.unsigned, found.heads) == (8, 0, 2, 0, 1, 1)
    assert (found.since, found.until, found.notes) == (NOW, NOW + 7, [])
    told = json.loads(json.dumps(found.as_json()))
    assert told["status"] == "ok"
    assert len(told["words"].split()) == 6


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """A log to be copied: each line that is written waits for the disk."""
    folder = tmp_path_factory.mktemp("written")
    log_in(folder, 5, most=2).head()
    return folder


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_no_altered_byte_of_lines_anchors_or_heads_passes(tmp_path_factory, written, data):
    folder = shutil.copytree(written, tmp_path_factory.mktemp("log") / "copy")
    name = data.draw(st.sampled_from([each for each in names(folder) if not each.endswith(".jsonl.head")]))
    path = folder / name
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 2))  # the last byte ends the line
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    try:
        found = check(folder, NOW, fingerprint=CENTER.fingerprint)
    except (StoreError, DataError):
        return
    assert name == label.LABEL, "of all bytes only the owner's name is not vouched for"
    assert found.owner.name != "center"


def test_swapped_missing_and_added_lines_are_named(tmp_path):
    log_in(tmp_path, 4).head()
    path = tmp_path / "events-000000000000.jsonl"
    whole = path.read_bytes()
    first, second, *rest = whole.splitlines(keepends=True)
    for lines, word in (
        ([second, first, *rest], "line 1: it does not follow the line above"),
        ([first, *rest], "has 3 lines; 4 were written"),
        ([first, first, second, *rest], "line 2: it does not follow"),
        (
            [first, second, b'{"body":{}}\n', *rest],
            r"line 3: it cannot be read \(ValueError\); it has been changed: the fields ",
        ),
        ([first.replace(b'"who":"north"', b'"who":"south"'), second, *rest], "line 2: it does not follow"),
    ):
        path.write_bytes(b"".join(lines))
        with pytest.raises(StoreError, match=word):
            check(tmp_path, NOW)
    path.write_bytes(whole[:-20])
    with pytest.raises(StoreError, match="has 3 lines; 4 were written: it has been cut short"):
        check(tmp_path, NOW)


def test_lines_that_nobody_acknowledged_but_follow_the_chain_are_under_no_head(tmp_path):
    log_in(tmp_path, 2).head()
    path = tmp_path / "events-000000000000.jsonl"
    chain.extend(path, chain.end_of(path), happened(2).as_json())
    assert check(tmp_path, NOW).unsigned == 1


@pytest.mark.parametrize("field", ["details", "round", "who", "extra"])
def test_values_that_no_event_has_are_named(tmp_path, field):
    log_in(tmp_path, 1)
    path = tmp_path / "events-000000000000.jsonl"
    wrong = {"details": {"patient": "x"}, "round": 10**30, "who": 5, "extra": 1}[field]
    chain.extend(path, chain.end_of(path), happened(1).as_json() | {field: wrong})
    with pytest.raises(
        StoreError, match=r"line 2: it cannot be read \(ValueError\); it has been changed: .*(patient|round is|who is|extra)"
    ):
        check(tmp_path, NOW)


def test_an_anchor_taken_out_is_missed(tmp_path):
    log_in(tmp_path, 7, most=2)
    path = tmp_path / "anchors.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[2])
    with pytest.raises(StoreError, match=r"anchors.jsonl has 2 lines; 3 were written"):
        check(tmp_path, NOW)
    path.unlink()
    chain.head_of(path).unlink()
    with pytest.raises(StoreError, match=r"its owner signed|does not follow"):
        check(tmp_path, NOW)


def test_heads_from_elsewhere_show_a_rewritten_history(tmp_path):
    mine = log_in(tmp_path / "a", 4)
    head, other = mine.head(), log_in(tmp_path / "b")
    for number in (0, 1, 7, 3):
        other.append(happened(number))
    later = other.head()
    for said in (head.as_json(), signed(head).as_json()):
        with pytest.raises(StoreError, match=r"clinic.json: 4 entries.*history was rewritten, or two were told. Keep both"):
            check(tmp_path / "b", NOW, heads=[("clinic.json", said)])
    mine.append(happened(4))
    longer = mine.head()
    with pytest.raises(StoreError, match=r"5 entries.*has 4 entries: it has been cut short"):
        check(tmp_path / "b", NOW, heads=[("clinic.json", longer.as_json())])
    for wrong, word in (
        (replace(later, size=3).as_json(), "did not sign"),
        ({**later.as_json(), "size": 10**30}, "allowed is a whole number"),
        ({}, "has the fields"),
        (None, "has the fields"),
    ):
        with pytest.raises(StoreError, match=word):
            check(tmp_path / "b", NOW, heads=[("clinic.json", wrong)])


def test_another_owner_than_the_one_that_is_known_is_named(tmp_path):
    log_in(tmp_path, 1)
    with pytest.raises(StoreError, match="it is another log, or its keys were exchanged"):
        check(tmp_path, NOW, fingerprint=CLINICS[0].fingerprint)
    path = tmp_path / label.LABEL
    said = json.loads(path.read_bytes())
    for wrong, word in (
        ({**said, "version": 2}, "is not of version 1"),
        ({**said, "signing": "00"}, "not what a member has"),
        ({**said, "signing": 5}, "does not name an owner"),
        ({**said, "name": "A B"}, "not what a member has"),
        ({**said, "more": 1}, "does not name an owner"),
        ([], "is not of version 1"),
    ):
        path.write_text(json.dumps(wrong))
        with pytest.raises(StoreError, match=word):
            check(tmp_path, NOW)


def test_heads_from_the_future_are_refused_and_such_entries_noted(tmp_path):
    log = log_in(tmp_path, 1, clock=Standing(NOW + 1000))
    log.append(happened(1, NOW + 500), happened(2, NOW + 100))
    found = check(tmp_path, NOW)
    assert [note.split(":")[0] for note in found.notes] == ["entry 1", "entry 2"]
    assert "the clock went back by 400 s" in found.notes[1]
    log.head()
    with pytest.raises(StoreError, match=r"a head from the future: 3 entries.*1000 s ahead.*Set the clock right"):
        check(tmp_path, NOW)


def test_many_notes_are_cut(tmp_path):
    log = log_in(tmp_path)
    log.append(*(happened(number, NOW + 10_000) for number in range(30)))
    assert len(check(tmp_path, NOW).notes) == 21


def test_no_log_is_an_error_of_its_own(tmp_path):
    with pytest.raises(DataError, match="holds no audit log"):
        check(tmp_path, NOW)
    with pytest.raises(DataError, match="is not there"):
        check_segment(tmp_path / "none.xz", NOW)
