from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import DataError, StoreError
from fedmed.store.audit import proofs, reading
from tests.identity.logs import CENTER, CLINICS
from tests.store.audit.logs import happened, log_in


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    log = log_in(folder, 11, most=4)
    log.head()
    log.append(happened(11))
    return reading.opened(folder)


@pytest.mark.parametrize(("index", "size"), [(0, None), (10, None), (0, 1), (3, 4), (3, 11), (7, 9)])
def test_a_proof_is_checked_without_the_log(opened, index, size):
    said = json.loads(json.dumps(proofs.make(opened, index, size)))
    found = proofs.check(said, "p", CENTER.fingerprint)
    assert (found.index, found.event, found.size) == (index, happened(index), size or 11)
    assert found.head == opened.newest
    assert found.owner.name == "center"


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_altered_proof_verifies(opened, data):
    said = proofs.make(opened, data.draw(st.integers(0, 10)), 11)
    text = json.dumps(said)
    places = [place for place, letter in enumerate(text) if letter in "0123456789abcdef"]
    place = data.draw(st.sampled_from(places))
    letter = data.draw(st.sampled_from("0123456789abcdef").filter(lambda one: one != text[place]))
    try:
        changed = json.loads(text[:place] + letter + text[place + 1 :])
    except ValueError:
        return  # a number that begins with 0
    if changed.get("owner", {}).get("name", "center") != "center":
        return  # what an owner is called is not in its fingerprint
    with pytest.raises(StoreError):
        proofs.check(changed, "p", CENTER.fingerprint)


def test_a_line_of_another_entry_and_another_key_are_refused(opened):
    said, other = proofs.make(opened, 3), proofs.make(opened, 4)
    for wrong, word in (
        ({**said, "line": other["line"]}, "the line is not entry 3"),
        ({**said, "index": 4}, "the line is not entry 4"),
        ({**said, "size": 10}, "is not the beginning of"),
        ({**said, "index": 10**40}, "index is not a whole number"),
        ({**said, "index": True}, "index is not a whole number"),
        ({**said, "consistency": ["00" * 32]}, "is not the beginning of"),
        ({**said, "more": 1}, "its fields are not"),
        ({**said, "version": 2}, "version 2; read is"),
        ({**said, "line": "{}"}, "no proof of ours"),
        ({**said, "owner": {**said["owner"], "signing": CLINICS[0].signing_public.hex()}}, "did not sign|not of"),
        ([], "its fields are not"),
    ):
        with pytest.raises(StoreError, match=word):
            proofs.check(wrong, "p", None)
    with pytest.raises(StoreError, match=r"it is of the log .*, not of"):
        proofs.check(said, "p", CLINICS[0].fingerprint)


def test_what_no_head_covers_is_not_proved(opened, tmp_path):
    for index in (11, -1, 10**20):
        with pytest.raises(StoreError, match="is under no signed head, which covers those below 11"):
            proofs.make(opened, index)
    for size in (3, 12, 0, -1):
        with pytest.raises(StoreError, match="allowed are 4 to 11"):
            proofs.make(opened, 3, size)
    log_in(tmp_path, 1)
    with pytest.raises(StoreError, match="covers none yet"):
        proofs.make(reading.opened(tmp_path), 0)


def test_files_that_are_no_proofs_say_so(tmp_path):
    with pytest.raises(DataError, match="is not there"):
        proofs.load(tmp_path / "none")
    path = tmp_path / "p"
    for content in (b"{", b"[" * 100_000, b"\xff", b" " * (proofs.MAX_BYTES + 1)):
        path.write_bytes(content)
        with pytest.raises(StoreError, match=r"cannot be read|has more than"):
            proofs.load(path)


def test_events_are_plain_for_programs():
    assert asdict(happened(1)) == happened(1).as_json()
