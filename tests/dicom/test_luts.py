from __future__ import annotations

import io
import warnings

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi, apply_windowing
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

from fedmed.dicom.inspection import inspect_file
from fedmed.dicom.luts import (
    Table,
    Window,
    bright_values,
    display_values,
    modality_table,
    modality_values,
    stored_range,
    voi_tables,
    windows,
)
from fedmed.dicom.palettes import palette_colours
from fedmed.dicom.pixels import decode
from fedmed.dicom.reasons import Status, Untrusted
from fedmed.dicom.sources import of_bytes
from tests.dicom.files import dataset, encoded, opened

RAMP = np.arange(-2048, 2048, dtype="<i2").reshape(64, 64)


def instance_of(stored=RAMP, bits=12, **attributes):
    return opened(encoded(dataset(stored, bits, **attributes)))


def table_item(first: int, entries: np.ndarray, bits: int, signed: bool = False) -> Dataset:
    found = Dataset()
    found.add_new(0x00283002, "SS" if signed else "US", [len(entries) % 65_536, first, bits])
    found.add_new(0x00283006, "OW", entries.astype("<u2").tobytes())
    return found


slopes = st.floats(0.01, 50).map(lambda value: f"{value:.6g}")
intercepts = st.floats(-3000, 3000).map(lambda value: f"{value:.6g}")


@settings(max_examples=20, deadline=None)
@given(slopes, intercepts)
def test_rescale_equals_pydicom(slope: str, intercept: str) -> None:
    found = dataset(RAMP, 12, RescaleSlope=slope, RescaleIntercept=intercept)
    data = encoded(found)
    instance = opened(data)
    peer = apply_modality_lut(RAMP, pydicom.dcmread(io.BytesIO(data)))
    np.testing.assert_array_equal(modality_values(instance, decode(instance)), peer.astype(np.float32))


@settings(max_examples=30, deadline=None)
@given(
    slopes, intercepts, st.floats(-2000, 2000), st.floats(1.5, 4000), st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"])
)
def test_windows_equal_pydicom(slope: str, intercept: str, center: float, width: float, function: str) -> None:
    found = dataset(RAMP, 12, RescaleSlope=slope, RescaleIntercept=intercept, VOILUTFunction=function)
    found.WindowCenter, found.WindowWidth = f"{center:.6g}", f"{width:.6g}"
    instance = opened(encoded(found))
    values = modality_values(instance, RAMP)
    low, high = (float(end) * float(slope) + float(intercept) for end in stored_range(instance))
    with np.errstate(over="ignore"):
        peer = (apply_windowing(values, found) - low) / (high - low)
    np.testing.assert_allclose(windows(instance)[0](values), peer, atol=1e-9)


def test_the_three_functions_at_their_marks() -> None:
    """PS3.3 C.11.2.1.2.1 with the standard's own example of width 100 at centre 50, C.11.2.1.3.1 and C.11.2.1.3.2."""
    linear, exact, sigmoid = (Window(50, 100, name) for name in ("LINEAR", "LINEAR_EXACT", "SIGMOID"))
    np.testing.assert_allclose(linear(np.array([-1, 0, 49.5, 99, 100])), [0, 0, 0.5, 1, 1])
    np.testing.assert_allclose(exact(np.array([-1, 0, 50, 100, 101])), [0, 0, 0.5, 1, 1])
    np.testing.assert_allclose(sigmoid(np.array([50, 75, -1e9, 1e9])), [0.5, 1 / (1 + np.exp(-1)), 0, 1])
    assert Window(10, 1)(np.array([9, 9.5, 9.6, 10])).tolist() == [0, 0, 1, 1]


def test_slopes_per_frame() -> None:
    stored = np.stack([np.full((2, 2), 10, "<u2")] * 3)
    found = dataset(stored, frames=3)
    found.PerFrameFunctionalGroupsSequence = []
    for slope in (1, 2, 3):
        transformation, group = Dataset(), Dataset()
        transformation.RescaleSlope, transformation.RescaleIntercept = slope, -slope
        group.PixelValueTransformationSequence = [transformation]
        found.PerFrameFunctionalGroupsSequence.append(group)
    instance = opened(encoded(found))
    assert modality_values(instance, decode(instance))[:, 0, 0].tolist() == [9, 18, 27]


@pytest.mark.parametrize(("first", "signed"), [(-2048, True), (0, False), (-100, True), (100, False)])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_modality_and_voi_tables_equal_pydicom(first: int, signed: bool, syntax) -> None:
    entries = (np.arange(1000) * 3 + 5).astype("u2")
    stored = RAMP if signed else RAMP.view("<u2") & 0x0FFF
    found = dataset(stored.astype("<i2" if signed else "<u2"), 12)
    found.ModalityLUTSequence = [table_item(first, entries, 16, signed)]
    found.VOILUTSequence = [table_item(10, entries, 12, signed), table_item(0, entries[::-1], 16, signed)]
    data = encoded(found, ExplicitVRLittleEndian)
    peer = pydicom.dcmread(io.BytesIO(data))
    instance = opened(data)
    pixels = decode(instance)
    np.testing.assert_array_equal(modality_table(instance)(pixels), apply_modality_lut(peer.pixel_array, peer))
    np.testing.assert_array_equal(modality_values(instance, pixels), apply_modality_lut(peer.pixel_array, peer))
    for index, table in enumerate(voi_tables(instance)):
        values = np.arange(0, 3000, dtype=np.int32)
        np.testing.assert_array_equal(table(values), apply_voi(values, peer, index))
    del found.ModalityLUTSequence, found.VOILUTSequence
    if syntax == ExplicitVRBigEndian:
        found.VOILUTSequence = [table_item(10, entries.byteswap(), 12, signed)]
        np.testing.assert_array_equal(voi_tables(opened(encoded(found, syntax)))[0].entries, entries)


def test_monochrome1_is_turned_within_what_the_bits_hold() -> None:
    plain = instance_of(RescaleSlope=2, RescaleIntercept=7)
    turned = instance_of(photometric="MONOCHROME1", RescaleSlope=2, RescaleIntercept=7)
    np.testing.assert_array_equal(bright_values(turned, RAMP), modality_values(plain, RAMP[::-1, ::-1]))


def test_display_takes_table_before_window_and_turns_once() -> None:
    entries = np.linspace(0, 4095, 4096).astype("u2")
    by_window = instance_of(WindowCenter=0, WindowWidth=4096)
    by_table = instance_of(WindowCenter=0, WindowWidth=1)
    found = dataset(RAMP, 12, WindowCenter=0, WindowWidth=1)
    found.VOILUTSequence = [table_item(-2048, entries, 12, signed=True)]
    by_table = opened(encoded(found))
    np.testing.assert_allclose(display_values(by_table, RAMP), display_values(by_window, RAMP), atol=1e-3)
    np.testing.assert_allclose(display_values(instance_of(), RAMP), display_values(by_window, RAMP), atol=1e-3)
    for attributes in (
        {"photometric": "MONOCHROME1"},
        {"PresentationLUTShape": "INVERSE"},
        {"photometric": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
    ):
        turned = instance_of(WindowCenter=0, WindowWidth=4096, **attributes)
        np.testing.assert_allclose(display_values(turned, RAMP), 1 - display_values(by_window, RAMP))


def test_windows_of_enhanced_frames() -> None:
    found = dataset(np.zeros((2, 2, 2), "<u2"), frames=2)
    found.PerFrameFunctionalGroupsSequence = []
    for center in (10, 20):
        voi, group = Dataset(), Dataset()
        voi.WindowCenter, voi.WindowWidth, voi.VOILUTFunction = center, 5, "LINEAR_EXACT"
        group.FrameVOILUTSequence = [voi]
        found.PerFrameFunctionalGroupsSequence.append(group)
    instance = opened(encoded(found))
    assert [windows(instance, frame) for frame in range(2)] == [(Window(c, 5.0, "LINEAR_EXACT"),) for c in (10, 20)]
    pixels = np.full((2, 2, 2), 20, "<u2")
    assert display_values(instance, pixels)[:, 0, 0].tolist() == [1, 0.5]


@pytest.mark.parametrize(
    ("attributes", "complaint"),
    [
        ({"WindowCenter": 1, "WindowWidth": "0.5"}, "wide"),
        ({"WindowCenter": 1, "WindowWidth": 0, "VOILUTFunction": "SIGMOID"}, "wide"),
        ({"WindowCenter": [1, 2], "WindowWidth": 3}, "2 centres"),
        ({"WindowCenter": 1, "WindowWidth": 3, "VOILUTFunction": "CUBIC"}, "CUBIC"),
    ],
)
def test_windows_that_make_no_sense_are_refused(attributes, complaint: str) -> None:
    with pytest.raises(Untrusted, match=complaint):
        windows(instance_of(**attributes))


def test_a_table_that_is_too_short_is_refused() -> None:
    found = dataset(RAMP, 12)
    found.VOILUTSequence = [table_item(0, np.arange(10), 16)]
    found.VOILUTSequence[0].LUTDescriptor = [4000, 0, 16]
    with pytest.raises(Untrusted, match="20 bytes for 4000 entries"):
        voi_tables(opened(encoded(found)))
    found.VOILUTSequence[0].LUTDescriptor = [4000, 0]
    with pytest.raises(Untrusted, match="describes no lookup table"):
        voi_tables(opened(encoded(found)))


def palette(words: list[int] | None = None, count: int = 4, bits: int = 16, first: int = 0) -> Dataset:
    found = dataset(np.arange(8, dtype="u1").reshape(2, 4), photometric="PALETTE COLOR")
    for colour in ("Red", "Green", "Blue"):
        setattr(found, f"{colour}PaletteColorLookupTableDescriptor", [count, first, bits])
        data = np.array(words, "u1" if bits == 8 else "<u2").tobytes()
        setattr(found, f"Segmented{colour}PaletteColorLookupTableData", data + b"\0" * (len(data) % 2))
    return found


# Discrete 10 20, linear in 4 steps to 60, then (indirect) the two segments once more from byte 0.
SEGMENTS = [0, 2, 10, 20, 1, 4, 60]


@pytest.mark.parametrize("bits", [8, 16])
def test_segmented_palettes_equal_pydicom(bits: int) -> None:
    back = [2, 2, 0, 0, 0, 0] if bits == 8 else [2, 2, 0, 0]
    for words, count in ((SEGMENTS, 6), ([*SEGMENTS, *back], 12), ([*SEGMENTS, *back, 0, 1, 7], 13)):
        data = encoded(palette(words, count, bits))
        instance = opened(data)
        peer = pydicom.dcmread(io.BytesIO(data))
        np.testing.assert_array_equal(
            palette_colours(instance, decode(instance)), apply_color_lut(peer.pixel_array.astype("i4"), peer)
        )


@pytest.mark.parametrize("words", [[1, 3, 9], [0, 0], [3, 1, 1], [0, 2, 1, 2], [0, 9, 1, 2, 3], [2, 1, 4, 0]])
def test_segments_that_do_not_make_the_table_are_refused(words: list[int]) -> None:
    instance = opened(encoded(palette(words)))
    with pytest.raises(Untrusted, match="segmented palette"):
        palette_colours(instance, decode(instance))


def test_palettes_of_the_zoo_equal_pydicom(shared_data) -> None:
    zoo = shared_data / "dicom_zoo"
    for name in ("pydicom/examples_palette.dcm", "pydicom-data/OBXXXX1A.dcm", "fo-dicom/TestPattern_Palette_16.dcm"):
        data = (zoo / name).read_bytes()
        instance = opened(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            peer = pydicom.dcmread(io.BytesIO(data))
            expected = apply_color_lut(peer.pixel_array.astype("i4"), peer)
        np.testing.assert_array_equal(palette_colours(instance, decode(instance)), expected, err_msg=name)


def test_a_palette_of_more_entries_than_bytes_can_count() -> None:
    """pydicom's index wraps at 256 where entries are bytes; the table has 1000."""
    entries = (np.arange(1000) // 4).astype("u1")
    found = dataset(np.array([[0, 999], [500, 5000]], "<u2"), photometric="PALETTE COLOR")
    for colour in ("Red", "Green", "Blue"):
        setattr(found, f"{colour}PaletteColorLookupTableDescriptor", [1000, 0, 8])
        setattr(found, f"{colour}PaletteColorLookupTableData", entries.tobytes())
    instance = opened(encoded(found))
    assert palette_colours(instance, decode(instance))[..., 0].tolist() == [[0, 249], [125, 249]]


def test_tables_take_any_values() -> None:
    table = Table(-5, np.array([1, 2, 3], np.uint16), 12)
    assert table(np.array([-9e9, -5, -4.4, -3, 7e9])).tolist() == [1, 1, 2, 3, 3]
    assert table(np.array([0, 255], np.uint8)).tolist() == [3, 3]


def test_a_modality_table_is_said_in_the_header() -> None:
    found = dataset(RAMP, 12)
    found.ModalityLUTSequence = [table_item(0, np.arange(5), 16)]
    assert opened(encoded(found)).header.modality_table
    assert not instance_of().header.modality_table
    assert inspect_file(of_bytes("x", encoded(found))).status is Status.OK
