from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import JoinRefused
from fedmed.identity.joinfile import MAX_BYTES, Join, read_join, write_join
from fedmed.identity.requests import certificate_request, read_request
from fedmed.wire.canonical import canonical
from tests.identity.joins import CENTER, DAY_S, join_of, transport
from tests.identity.parties import NOW, keys

AUTHORITY, OTHER = transport(), transport(2001)
JOIN = join_of(AUTHORITY)
FILE = write_join(JOIN, CENTER)
DAMAGED = st.one_of(
    st.binary(max_size=400),
    st.tuples(st.integers(0, len(FILE) - 1), st.integers(1, 255)).map(
        lambda at: FILE[: at[0]] + bytes([FILE[at[0]] ^ at[1]]) + FILE[at[0] + 1 :]
    ),
    st.integers(0, len(FILE) - 2).map(lambda end: FILE[:end]),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)


def refused(content: bytes, said: str, now: float = NOW) -> None:
    with pytest.raises(JoinRefused, match=said):
        read_join(content, now)


def test_what_was_written_is_read():
    assert read_join(FILE, NOW) == JOIN
    assert read_join(FILE.rstrip() + b"\r\n", JOIN.expires) == JOIN
    assert len(FILE) < 4000


def test_a_file_of_another_federation_is_whole_and_names_it():
    """Whoever makes a whole file can; the six words tell (`test_enrolment`)."""
    assert read_join(write_join(join_of(OTHER, center=keys(9).signing_public), keys(9)), NOW).center != CENTER.signing_public


@pytest.mark.parametrize("key", [each.name for each in fields(Join)] + ["kind", "version"])
def test_each_field_altered(key):
    read = json.loads(FILE)
    other = {"expires": JOIN.expires + 1, "port": 444, "version": 2, "kind": "else", "host": "evil.example.org"}
    value = read["join"][key]
    altered = value[:-8] + "AAAAAAA=" if isinstance(value, str) else None
    read["join"][key] = other.get(key, "south" if key in ("name", "federation") else altered)
    assert read["join"][key] != value
    refused(canonical(read) + b"\n", "changed after|version|not what may stand|not base64|not in the form")


@pytest.mark.parametrize("key", [each.name for each in fields(Join)] + ["kind", "version"])
def test_each_field_missing_or_of_another_type(key):
    for change in ({}, {key: None}, {key: [1]}, {key: True}, {key: -1}, {key: 10**30}, {key: "\x1b[31m"}):
        read = json.loads(FILE)
        del read["join"][key]
        read["join"].update(change)
        with pytest.raises(JoinRefused):
            read_join(canonical(read) + b"\n", NOW)


def test_a_new_signature_does_not_make_parts_fit_together():
    """Signed anew by whoever holds the center's key, or by an attacker with a key of his own put in."""
    theirs = join_of(OTHER)
    for wrong in (
        replace(JOIN, name="south"),
        replace(JOIN, serial=bytes(16)),
        replace(JOIN, expires=JOIN.expires + 1),
        replace(JOIN, authority=theirs.authority),
        replace(JOIN, ticket=theirs.ticket),
        replace(JOIN, key=join_of(AUTHORITY, key=keys(7)).key),
        replace(JOIN, key=b"none"),
        replace(JOIN, authority=b"none"),
        replace(JOIN, ticket=AUTHORITY.issue(read_request(certificate_request(keys(600), "north")), 7)),
    ):
        refused(write_join(wrong, CENTER), "fit together|not for its name")


def test_expired_and_a_clock_that_is_years_off():
    refused(FILE, "expired at 20.* clock right", JOIN.expires + 1)
    refused(FILE, "expired at", NOW + 3000 * DAY_S)
    refused(FILE, "fit together.*not valid now", NOW - 3000 * DAY_S)


def test_cut_huge_and_other_files():
    refused(FILE[:-200], "only a part")
    refused(b"", "no join file")
    refused(b"[" * 9000, "no join file")
    refused(b"{}", "no join file")
    refused(b'{"join":1,"signature":"00"}', "no join file")
    refused(FILE + b" " * MAX_BYTES, "more than 16384")
    refused(FILE.replace(b'"port":443', b'"port": 443'), "form")
    refused(FILE.replace(b'"port":443', b'"port":1,"port":443'), "form")


@settings(max_examples=300, deadline=None)
@given(DAMAGED)
def test_damage_anywhere_is_refused(content):
    if content.rstrip(b"\r\n") == FILE.rstrip():
        return
    with pytest.raises(JoinRefused):
        read_join(content, NOW)


@settings(max_examples=150, deadline=None)
@given(VALUES, st.sampled_from([*(each.name for each in fields(Join)), "join", "signature", "more"]))
def test_any_json_anywhere_is_refused(value, key):
    read = json.loads(FILE)
    (read if key in ("join", "signature") else read["join"])[key] = value
    if read == json.loads(FILE):
        return
    with pytest.raises(JoinRefused):
        read_join(json.dumps(read, sort_keys=True, separators=(",", ":")).encode("utf-8", "replace"), NOW)
