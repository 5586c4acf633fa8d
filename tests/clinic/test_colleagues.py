from __future__ import annotations

from pathlib import Path

import pytest

from fedmed.clinic.colleagues import beside_pins, from_file, listed, remove, the_one
from fedmed.clinic.folder import CERTIFICATE_FILE
from fedmed.errors import ConfigError, JoinRefused
from fedmed.identity.enrolment import Revoke
from fedmed.identity.pins import PinRefused, Pins, words
from tests.center.federation import federation
from tests.identity.parties import identity


@pytest.fixture
def center(tmp_path: Path):
    with federation(tmp_path) as up:
        yield up


def test_a_clinic_approves_by_words_what_the_center_lists(center):
    north, south = center.joined("north"), center.joined("south")
    members = listed(north)
    assert [member.name for member in members] == ["north", "south"]
    before = beside_pins(members, north.pins())
    assert [each.approved for each in before] == [True, False]
    assert before[1].words == words(south.keys().fingerprint)
    north.pins().add(the_one(members, "south"))
    assert [each.approved for each in beside_pins(listed(north), north.pins())] == [True, True]
    center.folder.enrolments.apply(Revoke("south"))
    assert [(each.identity.name, each.approved) for each in beside_pins(listed(north), north.pins())] == [
        ("north", True),
        ("south", True),
    ]
    assert remove(north.pins(), "south").name == "south"
    with pytest.raises(PinRefused, match="approved are: north"):
        remove(north.pins(), "south")


def test_keys_swapped_under_a_name_that_is_pinned(tmp_path):
    pins = Pins(tmp_path / "pins.json")
    pins.add(identity(1, "south"))
    found = beside_pins([identity(2, "south")], pins)
    assert [(each.approved, each.conflict) for each in found] == [(True, False), (False, True)]
    with pytest.raises(PinRefused, match="with other keys"):
        pins.add(identity(2, "south"))


def test_a_colleague_from_a_file(center, tmp_path):
    north, south = center.joined("north"), center.joined("south")
    assert from_file(north, south.path / CERTIFICATE_FILE).fingerprint == south.keys().fingerprint
    with federation(tmp_path / "other") as other:
        stranger = other.joined("south")
        with pytest.raises(JoinRefused, match="did not sign"):
            from_file(north, stranger.path / CERTIFICATE_FILE)
    with pytest.raises(ConfigError, match=r"member\.crt"):
        from_file(north, tmp_path / "none")
    (tmp_path / "junk").write_bytes(b"junk")
    with pytest.raises(JoinRefused, match="cannot be read"):
        from_file(north, tmp_path / "junk")


def test_a_name_that_nobody_has(center):
    north = center.joined("north")
    with pytest.raises(PinRefused, match="listed are: north"):
        the_one(listed(north), "south")
