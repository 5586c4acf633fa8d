from __future__ import annotations

import pytest

from fedmed.dicom.deid.actions import Action, Policy, action_of, basic_action
from fedmed.dicom.deid.table import Row, row_of, rows


def row(basic: str = "X", dates: str = "", device: str = "", descriptors: str = "") -> Row:
    return Row("00081030", "Some", basic, dates, device, descriptors)


@pytest.mark.parametrize(
    ("code", "text", "sequence"),
    [
        ("X", Action.REMOVE, Action.REMOVE),
        ("Z", Action.EMPTY, Action.EMPTY),
        ("D", Action.DUMMY, Action.DUMMY),
        ("U", Action.UID, Action.UID),
        ("X/Z", Action.EMPTY, Action.EMPTY),
        ("Z/D", Action.DUMMY, Action.EMPTY),
        ("X/D", Action.DUMMY, Action.REMOVE),
        ("X/Z/D", Action.DUMMY, Action.EMPTY),
        ("X/Z/U*", Action.DESCEND, Action.DESCEND),
    ],
)
def test_compound_codes_leave_the_object_valid(code, text, sequence):
    assert basic_action(row(code), "LO") is text
    assert basic_action(row(code), "SQ") is sequence


def test_options_speak_where_they_are_asked_for():
    both = row(dates="C", device="K")
    assert action_of(both, "DA", Policy()) is Action.SHIFT
    assert action_of(both, "DA", Policy(modified_dates=False)) is Action.REMOVE
    assert action_of(row(device="K"), "LO", Policy()) is Action.KEEP
    assert action_of(row(device="K"), "LO", Policy(device=False)) is Action.REMOVE
    assert action_of(row(device="K"), "SQ", Policy()) is Action.DESCEND
    assert action_of(row(descriptors="C"), "LT", Policy()) is Action.CLEAN
    assert action_of(row(descriptors="C"), "SQ", Policy()) is Action.DESCEND
    assert action_of(row(descriptors="C"), "LT", Policy(descriptors=False)) is Action.REMOVE


def test_what_nobody_can_clean_falls_back_to_the_basic_profile():
    assert action_of(row("D", device="C"), "AE", Policy()) is Action.DUMMY
    assert action_of(row("X", dates="C"), "OB", Policy()) is Action.REMOVE
    assert action_of(row("X", descriptors="C"), "OB", Policy()) is Action.REMOVE


def test_the_content_of_reports_stays_only_where_asked_for():
    content = row_of(0x0040A730)
    assert action_of(content, "SQ", Policy()) is Action.DUMMY
    assert action_of(content, "SQ", Policy(structured_content=True)) is Action.DESCEND


def test_every_row_has_an_action_for_every_representation():
    for one in rows():
        for vr in ("LO", "SQ", "DA", "OB", "UI", "AE", "UN"):
            assert isinstance(action_of(one, vr, Policy()), Action)
