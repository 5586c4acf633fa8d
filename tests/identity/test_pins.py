from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.identity import files, pins
from fedmed.identity.files import KeyRefused
from fedmed.identity.member import Identity
from fedmed.identity.pins import PinRefused, Pins, word_list, words
from fedmed.wire.canonical import canonical, digest
from tests.identity.parties import identity, keys

MEMBERS = [identity(number) for number in range(5)]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(MEMBERS), unique_by=lambda member: member.name), st.data())
def test_what_is_pinned_is_read_back_whatever_the_order(members, data):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "pins.json"
        kept = Pins(path)
        for member in members:
            kept.add(member)
        gone = data.draw(st.lists(st.sampled_from(members), unique_by=lambda m: m.name)) if members else []
        for member in gone:
            kept.remove(member.fingerprint)
        wanted = {member.fingerprint: member for member in members if member not in gone}
        assert dict(kept) == dict(Pins(path)) == wanted
        assert kept.signing_keys() == {fingerprint: member.signing_public for fingerprint, member in wanted.items()}


def test_nobody_is_pinned_to_begin_with(tmp_path):
    empty = Pins(tmp_path / "pins.json")
    assert len(empty) == 0
    assert keys(1).fingerprint not in empty
    with pytest.raises(PinRefused, match="no member with the fingerprint"):
        empty.remove(keys(1).fingerprint)


def test_a_second_pin_for_a_name_or_for_keys_is_refused(tmp_path):
    kept = Pins(tmp_path / "pins.json")
    kept.add(identity(1, "north"))
    kept.add(identity(1, "north"))
    with pytest.raises(PinRefused, match="with other keys"):
        kept.add(identity(2, "north"))
    with pytest.raises(PinRefused, match="those of 'north'"):
        kept.add(identity(1, "south"))
    assert len(Pins(kept.path)) == 1


def test_two_who_pin_do_not_lose_each_others_pins(tmp_path):
    one, other = Pins(tmp_path / "pins.json"), Pins(tmp_path / "pins.json")
    one.add(MEMBERS[0])
    other.add(MEMBERS[1])
    assert len(Pins(one.path)) == 2


def test_there_is_a_most(tmp_path, monkeypatch):
    monkeypatch.setattr(pins, "MOST_MEMBERS", 2)
    kept = Pins(tmp_path / "pins.json")
    for member in MEMBERS[:2]:
        kept.add(member)
    with pytest.raises(PinRefused, match="all that there may be"):
        kept.add(MEMBERS[2])


@pytest.mark.parametrize(
    "member",
    [
        Identity("North", keys(1).transport_public, keys(1).signing_public),
        Identity("north", keys(1).transport_public, bytes(31)),
        Identity("north", keys(1).transport_public[:-1], keys(1).signing_public),
        Identity("north", b"", keys(1).signing_public),
    ],
)
def test_what_is_no_member_is_not_pinned(tmp_path, member):
    kept = Pins(tmp_path / "pins.json")
    with pytest.raises(PinRefused, match="cannot be pinned"):
        kept.add(member)
    assert not kept.path.exists()


def test_a_byte_changed_anywhere_is_found(tmp_path):
    path = tmp_path / "pins.json"
    kept = Pins(path)
    for member in MEMBERS[:2]:
        kept.add(member)
    whole = path.read_bytes()
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1
        path.write_bytes(bytes(changed))
        with pytest.raises(PinRefused):
            Pins(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda row: row.update(signing=keys(9).signing_public.hex()), "do not have the fingerprint"),
        (lambda row: row.update(name="Not A Name"), "cannot be pinned"),
        (lambda row: row.update(extra=1), "changed by hand"),
        (lambda row: row.pop("name"), "cannot be read"),
    ],
)
def test_rows_that_say_what_they_may_not(tmp_path, change, said):
    path = tmp_path / "pins.json"
    Pins(path).add(MEMBERS[0])
    body = json.loads(path.read_bytes())["pins"]
    change(body["members"][0])
    path.write_bytes(canonical({"pins": body, "sha256": digest(body)}) + b"\n")
    with pytest.raises(PinRefused, match=said):
        Pins(path)


def test_two_rows_with_one_name(tmp_path):
    path = tmp_path / "pins.json"
    kept = Pins(path)
    for member in MEMBERS[:2]:
        kept.add(member)
    body = json.loads(path.read_bytes())["pins"]
    for row in body["members"]:
        row["name"] = "clinic-0"
    path.write_bytes(canonical({"pins": body, "sha256": digest(body)}) + b"\n")
    with pytest.raises(PinRefused, match="two members have one name"):
        Pins(path)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b"[" * 100_000, b"x" * (pins.MAX_BYTES + 1), b"\xff", b'{"pins":{"members":1}}']
)
def test_what_is_no_file_of_pins(tmp_path, content):
    path = tmp_path / "pins.json"
    path.write_bytes(content)
    with pytest.raises(PinRefused):
        Pins(path)


def test_a_file_that_others_can_change_pins_nobody(tmp_path):
    path = tmp_path / "pins.json"
    Pins(path).add(MEMBERS[0])
    path.chmod(0o644)
    assert len(Pins(path)) == 1
    path.chmod(0o662)
    with pytest.raises(KeyRefused, match="chmod 600"):
        Pins(path)
    with pytest.raises(KeyRefused, match="is no file"):
        Pins(tmp_path)


def test_a_full_disk_leaves_the_pins_before(tmp_path, monkeypatch):
    path = tmp_path / "pins.json"
    kept = Pins(path)
    kept.add(MEMBERS[0])

    def full(path, content, how):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "_write", full)
    with pytest.raises(PinRefused, match="No space left"):
        kept.add(MEMBERS[1])
    assert len(kept) == len(Pins(path)) == 1


def test_six_words_are_the_first_66_bits():
    listed = word_list()
    assert len(set(listed)) == len({word[:4] for word in listed}) == 2048
    assert words(bytes(32)) == " ".join(["abandon"] * 6)
    assert words(b"\xff" * 32) == " ".join(["zoo"] * 6)
    number = (1 << 255) | (3 << 190)  # bit 0 of the first word's 11, and the last bits of the sixth's
    assert words(number.to_bytes(32, "big")) == " ".join([listed[1024], *["abandon"] * 4, listed[3]])


@given(st.binary(min_size=32, max_size=32), st.integers(0, 65))
def test_each_of_the_66_bits_changes_a_word(fingerprint, bit):
    other = int.from_bytes(fingerprint, "big") ^ 1 << (255 - bit)
    one, two = words(fingerprint).split(), words(other.to_bytes(32, "big")).split()
    assert [place for place in range(6) if one[place] != two[place]] == [bit // 11]
