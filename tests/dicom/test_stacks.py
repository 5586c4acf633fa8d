from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.dicom.header import Plane, Rescale
from fedmed.dicom.reasons import Reason, Untrusted
from fedmed.dicom.stacks import stacks
from tests.dicom.headers import AXIAL, NOWHERE, axial, slice_at


def reasons(headers, **options) -> list[Reason | None]:
    return [stack.refusal.reason if stack.refusal else None for stack in stacks(headers, **options)]


def test_one_sound_series_is_one_stack_in_order_of_place():
    headers = axial()
    (stack,) = stacks(headers[::-1])
    assert (stack.study, stack.series, stack.number, stack.subject) == ("1.1", "1.1.1", 0, "1.1.1")
    assert stack.refusal is None
    assert stack.grid.spacing_mm == (2.5, 0.7, 0.7)
    assert list(stack.frames) == [(5, 0), (4, 0), (3, 0), (2, 0), (1, 0), (0, 0)]


@settings(max_examples=40, deadline=None)
@given(random=st.randoms(use_true_random=False))
def test_series_are_kept_apart_and_their_order_on_disk_does_not_matter(random):
    headers = axial(5) + axial(4, series="1.1.2") + axial(3, series="1.1.3", rows=7)
    shuffled = random.sample(headers, len(headers))
    found = stacks(shuffled)
    assert [(stack.series, len(stack.frames), stack.refusal) for stack in found] == [
        ("1.1.1", 5, None),
        ("1.1.2", 4, None),
        ("1.1.3", 3, None),
    ]
    for stack in found:
        assert [shuffled[index].sop_instance for index, _ in stack.frames] == [
            f"1.1.1.{k}" for k in range(len(stack.frames))
        ]


def test_a_declared_localiser_is_parted_from_the_slices():
    scout = Plane((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (1.0, 1.0))
    headers = [*axial(), slice_at(0, kind=("image-type=LOCALIZER",), planes=(scout,), rows=5)]
    assert [len(stack.frames) for stack in stacks(headers)] == [6, 1]
    assert reasons(headers) == [None, None]
    assert [stack.subject for stack in stacks(headers)] == ["1.1.1", "1.1.1/1"]
    assert reasons([*axial(), slice_at(0, planes=(scout,))]) == [Reason.MIXED_ORIENTATION], (
        "undeclared, nothing says which is right"
    )


@pytest.mark.parametrize("kinds", [("echo-time=1", "echo-time=2"), ("temporal-position=1", "temporal-position=2")])
def test_echoes_and_phases_are_volumes_of_their_own(kinds):
    headers = [header for kind in kinds for header in axial(kind=(kind,))]
    found = stacks(headers)
    assert [(stack.kind[-1], len(stack.frames), stack.refusal) for stack in found] == [
        (kinds[0], 6, None),
        (kinds[1], 6, None),
    ]


def test_frames_of_reference_are_volumes_of_their_own():
    moved = axial(frame_of_reference="1.5") + axial(frame_of_reference="1.6")
    assert [(len(stack.frames), stack.refusal) for stack in stacks(moved)] == [(6, None), (6, None)]


def test_a_file_that_claims_the_series_in_another_study_is_no_part_of_it():
    assert [len(stack.frames) for stack in stacks([*axial(), slice_at(3, study="6.6")])] == [6, 1]


def test_a_segmentation_is_no_stack():
    sparse = axial(series="1.1.7", modality="SEG", sop_class="1.2.840.10008.5.1.4.1.1.66.4")
    assert [stack.series for stack in stacks([*axial(), *sparse[:2], *sparse[4:]])] == ["1.1.1"]


def test_no_patient_is_named_where_patients_are_mixed():
    headers = [*axial(patient="WANG-17"), slice_at(6, patient="LI-4")]
    (stack,) = stacks(headers)
    assert "WANG" not in str(stack.refusal)
    assert "LI-4" not in str(stack.refusal)


def test_acquisitions_part_a_series_only_where_they_lie_at_the_same_places():
    again = axial(acquisition="1") + axial(acquisition="2")
    assert reasons(again) == [None, None]
    moving = [slice_at(k, acquisition=str(k // 3)) for k in range(6)]
    assert [len(stack.frames) for stack in stacks(moving)] == [6]
    assert reasons(axial() + axial()) == [Reason.DUPLICATE_SLICES]


def test_frames_of_one_object_are_slices_and_may_be_of_several_kinds():
    planes = tuple(Plane((0.0, 0.0, 2.5 * (k % 4)), **AXIAL) for k in range(8))
    kinds = tuple((f"echo-time={k // 4}",) for k in range(8))
    whole = slice_at(0, frames=8, planes=planes, rescales=(Rescale(),) * 8, frame_kinds=kinds)
    found = stacks([whole])
    assert [stack.frames for stack in found] == [tuple((0, k) for k in range(4)), tuple((0, k) for k in range(4, 8))]
    assert reasons([dataclasses.replace(whole, frame_kinds=())]) == [Reason.DUPLICATE_SLICES]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"rows": 10}, Reason.MIXED_SHAPE),
        ({"columns": 8}, Reason.MIXED_SHAPE),
        ({"photometric": "MONOCHROME1"}, Reason.MIXED_MEANING),
        ({"signed": True}, Reason.MIXED_MEANING),
        ({"bits_allocated": 8, "bits_stored": 8}, Reason.MIXED_MEANING),
        ({"photometric": "RGB", "samples": 3}, Reason.COLOUR),
        ({"photometric": "PALETTE COLOR"}, Reason.COLOUR),
        ({"patient": "P2"}, Reason.MIXED_PATIENTS),
        ({"burned_in": "YES"}, Reason.BURNED_IN_TEXT),
        ({"planes": (NOWHERE,)}, Reason.NO_GEOMETRY),
        ({"padding": (5, 5)}, None),
        ({"bits_stored": 11}, None),
        ({"rescales": (Rescale(2.0, 0.0),)}, None),
        ({"instance_number": None}, None),
        ({"burned_in": "NO"}, None),
    ],
)
def test_one_slice_that_differs_refuses_its_series_and_no_other(change, reason):
    headers = axial() + axial(series="1.1.2")
    headers[2] = dataclasses.replace(headers[2], **change)
    assert reasons(headers) == [reason, None]


def test_two_paddings_or_two_white_ends_have_no_one_meaning():
    headers = axial()
    headers[1] = dataclasses.replace(headers[1], padding=(5, 5))
    headers[2] = dataclasses.replace(headers[2], padding=(6, 6))
    assert reasons(headers) == [Reason.MIXED_MEANING]
    inverted = axial(photometric="MONOCHROME1")
    assert reasons(inverted) == [None]
    inverted[2] = dataclasses.replace(inverted[2], bits_stored=11)
    assert reasons(inverted) == [Reason.MIXED_MEANING]


def test_radiographs_are_pictures_each_for_itself_and_sections_without_a_place_are_refused():
    views = [slice_at(k, modality="DX", planes=(NOWHERE,), rows=8 + k) for k in range(3)]
    found = stacks(views)
    assert [(len(stack.frames), stack.refusal, stack.grid.located) for stack in found] == [(1, None, False)] * 3
    assert reasons(axial(planes=(NOWHERE,))) == [Reason.NO_GEOMETRY]
    assert reasons([slice_at(0, planes=(NOWHERE,))]) == [Reason.NO_GEOMETRY]
    cine = slice_at(0, modality="US", frames=4, planes=(NOWHERE,) * 4, rescales=(Rescale(),) * 4)
    assert reasons([cine]) == [Reason.NO_GEOMETRY]


def test_a_file_that_cannot_be_decoded_refuses_the_stack_it_is_in():
    headers = [*axial(), *axial(kind=("echo-time=2",)), *axial(series="1.1.2")]
    short = Untrusted(Reason.TRUNCATED, "Short.")
    # Kinds are sorted: AXIAL after the echo.
    assert reasons(headers, refusals={3: short}) == [None, Reason.TRUNCATED, None]


def test_a_file_without_a_header_refuses_every_stack_of_its_series():
    headers = [*axial(), *axial(kind=("echo-time=2",)), *axial(series="1.1.2")]
    huge = Untrusted(Reason.TOO_LARGE, "Huge.")
    assert reasons(headers, poisoned={("1.1", "1.1.1"): huge}) == [Reason.TOO_LARGE, Reason.TOO_LARGE, None]
    assert reasons([], poisoned={("1.1", "1.1.1"): huge}) == [Reason.TOO_LARGE]


def test_a_person_may_let_judgements_pass_by_series():
    headers = axial(burned_in="YES") + axial(series="1.1.2", burned_in="YES")
    assert reasons(headers, overruled={"1.1.2": {Reason.BURNED_IN_TEXT}}) == [Reason.BURNED_IN_TEXT, None]
    uneven = axial()
    uneven[3] = slice_at(3, planes=(Plane((0.0, 0.0, 8.1), **AXIAL),))
    assert reasons(uneven) == [Reason.IRREGULAR_SPACING]
    assert reasons(uneven, overruled={"1.1.1": {Reason.IRREGULAR_SPACING}}) == [None]
