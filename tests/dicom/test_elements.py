from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from fedmed.dicom import tags
from fedmed.dicom.attributes import Attributes
from fedmed.dicom.elements import BIG_ENDIAN, skim
from fedmed.dicom.limits import Limits
from fedmed.dicom.reasons import NoImage, Reason, Status, Untrusted
from fedmed.dicom.sources import Source, of_bytes, of_file
from tests.dicom.files import UNDEFINED, by_hand, dataset, element, encoded, item

PIXELS = element(0x7FE00010, "OW", bytes(8))
SYNTAXES = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)


def plain(attributes: Attributes, wanted=tags.WANTED) -> dict:
    """Values as pydicom would give them: numbers, texts, nested dicts."""
    found = {}
    for tag, (vr, value, _) in attributes.elements.items():
        inner = wanted[tag]
        if isinstance(inner, Mapping):
            found[tag] = [plain(item, inner) for item in attributes.items(tag)]
        elif tag in (*tags.PALETTE_DATA, *tags.SEGMENTED_DATA, tags.LUT_DATA):
            found[tag] = len(value)
        elif vr in NUMERIC:
            found[tag] = list(attributes.numbers(tag))
        else:
            found[tag] = [text for text in attributes.texts(tag) if text]
        if found[tag] == [] and not isinstance(inner, Mapping):
            del found[tag]
    return found


NUMERIC = ("US", "SS", "UL", "FD", "DS", "IS", "OV")


def peers(found: Dataset, wanted=tags.WANTED) -> dict:
    values = {}
    for tag in [tag for tag in found.keys() if int(tag) in wanted]:  # noqa: SIM118 -- iterating parses everything
        one, inner = found[tag], wanted[int(tag)]
        if isinstance(inner, Mapping):
            values[int(one.tag)] = [peers(inside, inner) for inside in one.value]
        elif one.tag in (*tags.PALETTE_DATA, *tags.SEGMENTED_DATA, tags.LUT_DATA):
            many = 1 if isinstance(one.value, int) else len(one.value)
            values[int(one.tag)] = many if isinstance(one.value, bytes) else 2 * many
        elif one.value not in (None, "", b""):
            many = one.value if one.VM > 1 else [one.value]
            values[int(one.tag)] = [float(v) if one.VR in NUMERIC else str(v).strip() for v in many if str(v).strip()]
        if values.get(int(one.tag)) == [] and not isinstance(inner, Mapping):
            del values[int(one.tag)]
    return values


def test_equals_pydicom_on_every_file_of_the_zoo(shared_data: Path) -> None:
    compared = 0
    for path in sorted((shared_data / "dicom_zoo").rglob("*")):
        if not path.is_file() or path.suffix in (".zst", ".tsv", ".txt", ".md"):
            continue
        try:
            skimmed = skim(of_file(path, path.name), tags.WANTED)
        except Untrusted:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            peer = pydicom.dcmread(path, force=True)
            if path.name == "badVR.dcm":
                del peer.NumberOfFrames
                del skimmed.elements[tags.FRAMES]
            expected = peers(peer)
        assert plain(Attributes(skimmed.elements, skimmed.transfer_syntax == BIG_ENDIAN)) == expected, path
        assert (skimmed.pixels is not None) == any(word in peer for word in ("PixelData", "FloatPixelData")), path
        compared += 1
    assert compared > 150


def test_equals_pydicom_on_real_series(shared_data: Path) -> None:
    for path in sorted((shared_data / "ct").rglob("*"))[::9]:
        if path.is_file() and not path.name.startswith("LICENSE"):
            skimmed = skim(of_file(path, path.name), tags.WANTED)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                assert plain(Attributes(skimmed.elements)) == peers(pydicom.dcmread(path)), path


numbers = st.floats(-1e4, 1e4).map(lambda value: f"{value:.8g}")
groups = st.fixed_dictionaries(
    {},
    optional={
        "PlanePositionSequence": st.lists(numbers, min_size=3, max_size=3).map(lambda v: {"ImagePositionPatient": v}),
        "PixelMeasuresSequence": st.lists(numbers, min_size=2, max_size=2).map(lambda v: {"PixelSpacing": v}),
        "FrameContentSequence": st.integers(1, 9).map(lambda v: {"TemporalPositionIndex": v, "StackID": str(v)}),
    },
)


def filled(values: Mapping) -> Dataset:
    found = Dataset()
    for keyword, value in values.items():
        setattr(found, keyword, [filled(value)] if isinstance(value, Mapping) else value)
    return found


@settings(max_examples=40, deadline=None)
@given(
    frames=st.lists(groups, max_size=4),
    shared=groups,
    syntax=st.sampled_from(SYNTAXES),
    open_ended=st.booleans(),
    texts=st.lists(st.text("AZ09_ ", max_size=12), max_size=4),
)
def test_equals_pydicom_on_what_pydicom_writes(frames, shared, syntax, open_ended, texts) -> None:
    found = dataset(np.zeros((2, 2), "<u2"), ImageType=texts, RescaleSlope="2.5", InstanceNumber=7)
    found.PerFrameFunctionalGroupsSequence = [filled(frame) for frame in frames]
    found.SharedFunctionalGroupsSequence = [filled(shared)]
    for sequence in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        found[sequence].is_undefined_length = open_ended
        for inner in found[sequence].value:
            inner.is_undefined_length_sequence_item = open_ended
    data = encoded(found, syntax)
    skimmed = skim(of_bytes("x", data), tags.WANTED)
    assert plain(Attributes(skimmed.elements, syntax == ExplicitVRBigEndian)) == peers(pydicom.dcmread(io.BytesIO(data)))
    assert skimmed.transfer_syntax == syntax
    assert skimmed.pixels is not None
    assert skimmed.pixels.length == 8


@pytest.mark.parametrize("cut", range(0, 420, 7))
def test_a_file_that_ends_anywhere_is_refused_or_has_no_pixels(cut: int) -> None:
    source = of_bytes("x", encoded(dataset(np.zeros((2, 2), "<u2"), RescaleSlope=2))[:cut])
    if cut < 132:
        with pytest.raises(NoImage) as none:
            skim(source, tags.WANTED)
        assert none.value.status is Status.NOT_DICOM
        return
    try:
        pixels = skim(source, tags.WANTED).pixels
    except Untrusted as error:
        pixels = None
        reason = error.reason
        assert reason is Reason.UNREADABLE
    assert pixels is None


def reason_of(data: bytes, limits: Limits | None = None) -> Reason:
    with pytest.raises(Untrusted) as refused:
        skim(of_bytes("x", data), tags.WANTED, limits or Limits())
    return refused.value.reason


def test_lengths_beyond_what_encloses_them_are_refused() -> None:
    long = element(0x00080060, "CS", b"CT", length=60_000)
    assert reason_of(by_hand(long, PIXELS)) is Reason.UNREADABLE
    assert reason_of(by_hand(element(0x00091001, "UN", b"", length=0xFFFFFFF0))) is Reason.UNREADABLE
    position = element(0x00200032, "DS", b"0\\0\\0 ", length=200)
    group = element(0x00209113, "SQ", item(position))
    assert reason_of(by_hand(element(0x52009229, "SQ", item(group)), PIXELS)) is Reason.UNREADABLE
    assert reason_of(by_hand(element(0x52009229, "SQ", item(b"", length=400)), PIXELS)) is Reason.UNREADABLE


def test_what_is_never_closed_is_refused() -> None:
    assert reason_of(by_hand(element(0x00091001, "SQ", item(b""), length=UNDEFINED))) is Reason.UNREADABLE
    open_item = b"\xfe\xff\0\xe0\xff\xff\xff\xff" + element(0x00080060, "CS", b"CT")
    assert reason_of(by_hand(element(0x00091001, "SQ", open_item, length=UNDEFINED))) is Reason.UNREADABLE


def test_a_sequence_must_hold_items() -> None:
    assert reason_of(by_hand(element(0x52009229, "SQ", bytes(16)), PIXELS)) is Reason.UNREADABLE


@pytest.mark.parametrize("length", [None, UNDEFINED])
def test_nesting_is_counted(length: int | None) -> None:
    nested = b""
    for _ in range(20):
        closing = b"\xfe\xff\xdd\xe0\0\0\0\0"
        body = item(nested, length)
        nested = element(0x52009229, "SQ", body + (closing if length else b""), length)
    wanted: dict = {}
    wanted[0x52009229] = wanted
    with pytest.raises(Untrusted, match="nested deeper than 16"):
        skim(of_bytes("x", by_hand(nested, PIXELS)), wanted)


def test_elements_are_counted() -> None:
    many = element(0x00091001, "SH", b"") * 5000
    assert reason_of(by_hand(many, PIXELS), Limits(elements=4000)) is Reason.TOO_LARGE
    assert skim(of_bytes("x", by_hand(many, PIXELS)), tags.WANTED).pixels is not None


def test_only_the_beginning_of_a_file_is_read(tmp_path: Path) -> None:
    data = by_hand(element(0x00080060, "CS", b"CT"), element(0x7FE00010, "OW", bytes(4_000_000)))
    reads: list[int] = []
    source = of_bytes("x", data)

    def head(length: int) -> bytes:
        reads.append(length)
        return data[:length]

    skimmed = skim(Source("x", len(data), head, source.read_into), tags.WANTED)
    assert reads == [16 * 1024]
    assert skimmed.pixels is not None
    assert skimmed.pixels.length == 4_000_000


def test_a_long_header_is_read_on_and_a_longer_one_refused() -> None:
    data = by_hand(element(0x00091001, "OB", bytes(300_000)), element(0x00280010, "US", b"\2\0"), PIXELS)
    assert skim(of_bytes("x", data), tags.WANTED).elements[0x00280010][1] == b"\2\0"
    assert reason_of(data, Limits(header_bytes=100_000)) is Reason.TOO_LARGE


def test_private_blocks_of_unknown_length_are_walked_over() -> None:
    """UN of undefined length holds implicit little endian, whatever the file is (PS3.5 section 6.2.2 note)."""
    inner = item(b"\x09\0\2\x10\2\0\0\0ab", UNDEFINED)
    unknown = element(0x00091001, "UN", inner + b"\xfe\xff\xdd\xe0\0\0\0\0", UNDEFINED)
    fragments = element(0x00091003, "OB", item(b"abcd") + b"\xfe\xff\xdd\xe0\0\0\0\0", UNDEFINED)
    skimmed = skim(of_bytes("x", by_hand(unknown, fragments, element(0x00280010, "US", b"\2\0"), PIXELS)), tags.WANTED)
    assert skimmed.elements[0x00280010][1] == b"\2\0"


def test_icons_are_no_pixels() -> None:
    icon = element(0x00880200, "SQ", item(PIXELS))
    assert skim(of_bytes("x", by_hand(icon)), tags.WANTED).pixels is None
    open_icon = element(0x00880200, "SQ", item(PIXELS, UNDEFINED) + b"\xfe\xff\xdd\xe0\0\0\0\0", UNDEFINED)
    assert skim(of_bytes("x", by_hand(open_icon)), tags.WANTED).pixels is None


@pytest.mark.parametrize(
    "content", [b"", b"\x08\0", b"hello world, this is text", bytes(200), b"\x08\0\x05\0XX\xff\xff" + bytes(50)]
)
def test_what_is_no_dicom(content: bytes) -> None:
    with pytest.raises(NoImage) as refused:
        skim(of_bytes("x", content), tags.WANTED)
    assert refused.value.status is Status.NOT_DICOM


def test_a_bomb_of_deflate_is_refused_before_it_is_unpacked() -> None:
    import zlib

    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(bytes(50_000_000)) + packer.flush()
    data = bytes(128) + b"DICM" + element(0x00020010, "UI", b"1.2.840.10008.1.2.1.99") + packed
    assert reason_of(data, Limits(file_bytes=1_000_000)) is Reason.TOO_LARGE
    assert reason_of(data[:-20]) in (Reason.TOO_LARGE, Reason.TRUNCATED, Reason.UNREADABLE)
