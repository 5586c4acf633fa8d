from __future__ import annotations

from collections import Counter

from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c as peer
from pydicom.datadict import keyword_for_tag

from fedmed.dicom.deid.table import row_of, rows

CODES = {
    "D": peer.D_TAGS,
    "Z": peer.Z_TAGS,
    "X": peer.X_TAGS,
    "U": peer.U_TAGS,
    "Z/D": peer.Z_D_TAGS,
    "X/Z": peer.X_Z_TAGS,
    "X/D": peer.X_D_TAGS,
    "X/Z/D": peer.X_Z_D_TAGS,
    "X/Z/U*": peer.X_Z_U_STAR_TAGS,
}


def tag_name(tag: tuple[int, ...]) -> str:
    """`ggggeeee`; the peer writes a repeating group as group, element and their masks."""
    if len(tag) == 2:
        return f"{tag[0]:04x}{tag[1]:04x}"
    return f"{tag[0] >> 8:02x}xx{'xxxx' if tag[3] == 0 else f'{tag[1]:04x}'}"


def test_every_basic_action_is_that_of_another_transcription_of_2026c():
    theirs = {tag_name(tag): code for code, tags in CODES.items() for tag in tags}
    ours = {row.tag: row.basic for row in rows() if row.tag != "private"}
    assert len(theirs) == 655
    assert ours == theirs


def test_rows_are_unique_and_named_as_the_dictionary_names_them():
    assert len({row.tag for row in rows()}) == len(rows()) == 656
    for row in rows():
        if "x" not in row.tag and row.tag != "private":
            assert row.keyword == (keyword_for_tag(int(row.tag, 16)) or "")


def test_options_say_keep_or_clean_or_nothing():
    assert Counter(row.dates for row in rows()) == {"": 487, "C": 169}
    assert Counter(row.device for row in rows()) == {"": 599, "K": 46, "C": 11}
    assert Counter(row.descriptors for row in rows()) == {"": 522, "C": 134}


def test_a_tag_finds_its_row_also_in_repeating_and_private_groups():
    assert row_of(0x00100010).keyword == "PatientName"
    assert row_of(0x50060022).tag == "50xxxxxx"
    assert row_of(0x60023000).tag == "60xx3000"
    assert row_of(0x60020010) is None
    assert row_of(0x00091001).tag == "private"
    assert row_of(0x00280010) is None
