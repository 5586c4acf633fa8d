from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.dicom.deid.known import Known, fold, merged, name_parts


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("Doe^Jane", ["doe", "jane"]),
        ("VAN DER BERG^Jan^^Dr", ["van der", "der van", "berg", "jan"]),
        ("Müller-Lüdenscheidt^Jörg", ["muller-ludenscheidt", "jorg"]),
        ("Wu^Li", ["wu li", "li wu"]),
        ("Wang^XiaoDong=王^小东=", ["wang", "xiaodong", "王小东", "小东"]),
        ("12345^6", ["12345 6", "6 12345"]),
        ("", []),
    ],
)
def test_the_telling_parts_of_a_name(name, parts):
    assert name_parts(name) == parts


def test_accents_case_and_widths_are_folded_and_places_kept():
    folded, places = fold("ÅÉßﬁＡ")
    assert folded == "aessfia"
    assert [places[folded.index(letter)] for letter in "aef"] == [0, 1, 3]


@given(st.text(max_size=40), st.text(max_size=40))
def test_spans_lie_within_the_text_and_cover_what_is_known(before, after):
    known = Known(("Kowalczyk^Zoë",))
    text = f"{before} KOWALCZYK, zoe {after}"
    found = [text[first:last] for first, last in known.spans(text)]
    assert "KOWALCZYK" in found
    assert known.occurs(text)


def test_short_identifiers_are_not_searched():
    assert not Known((), ("1", "77", "abc")).occurs("1 77 abc")
    assert Known((), ("A123",)).occurs("x a123.")
    assert not Known((), ("A123",)).occurs("A1234")


def test_nobody_is_found_nowhere():
    assert not Known().occurs("Jane")
    assert list(Known().spans("Jane")) == []


def test_spans_that_touch_become_one():
    assert merged([(5, 7), (0, 2), (2, 4), (6, 9)]) == [(0, 4), (5, 9)]
