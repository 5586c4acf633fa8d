from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fedmed.dicom.geometry import TOLERANCE, arrange, picture
from fedmed.dicom.header import Plane
from fedmed.dicom.reasons import Reason, Untrusted

Refusal = tuple[Reason, str]
axial = np.eye(3)


def rotation(angles: tuple[float, float, float]) -> np.ndarray:
    """Columns: row, column, normal."""
    a, b, c = angles
    x = np.array([[1, 0, 0], [0, math.cos(a), -math.sin(a)], [0, math.sin(a), math.cos(a)]])
    y = np.array([[math.cos(b), 0, math.sin(b)], [0, 1, 0], [-math.sin(b), 0, math.cos(b)]])
    z = np.array([[math.cos(c), -math.sin(c), 0], [math.sin(c), math.cos(c), 0], [0, 0, 1]])
    return x @ y @ z


def stack(
    count: int,
    gap: float = 2.5,
    directions: np.ndarray = axial,
    shear: tuple[float, float] = (0, 0),
    decimals: int | None = None,
) -> list[Plane]:
    """`count` slices `gap` mm apart along the normal, each shifted by `shear` mm along row and column to the one before."""
    row, column, normal = directions.T
    first = np.array([-200.0, -180.0, 33.0])
    step = normal * gap + row * shear[0] + column * shear[1]
    planes = []
    for k in range(count):
        place = first + k * step
        place = place if decimals is None else np.round(place, decimals)
        planes.append(Plane(tuple(place.tolist()), tuple(row.tolist()), tuple(column.tolist()), (0.7, 0.8), 3.0))
    return planes


def moved(plane: Plane, by: np.ndarray) -> Plane:
    return dataclasses.replace(plane, position_mm=tuple((np.array(plane.position_mm) + by).tolist()))


def refused(planes: list[Plane]) -> Refusal:
    with pytest.raises(Untrusted) as caught:
        arrange(planes)
    return caught.value.reason, caught.value.detail


angles = st.tuples(*[st.floats(-math.pi, math.pi) for _ in range(3)])
shears = st.tuples(st.floats(-0.6, 0.6), st.floats(-0.6, 0.6))


@st.composite
def stacks(draw: st.DrawFn, least: int = 2) -> tuple[list[Plane], np.ndarray]:
    """Slices in order, and the affine that they were made from."""
    directions, gap = rotation(draw(angles)), draw(st.floats(0.3, 8))
    shear = tuple(share * gap for share in draw(shears))
    planes = stack(draw(st.integers(least, 24)), gap, directions, shear)
    row, column, normal = directions.T
    affine = np.eye(4)
    step = normal * gap + row * shear[0] + column * shear[1]
    affine[:3] = np.column_stack([step, column * 0.7, row * 0.8, np.array(planes[0].position_mm)])
    return planes, affine


@settings(max_examples=150, deadline=None)
@given(made=stacks(), random=st.randoms(use_true_random=False))
def test_any_affine_with_shear_is_recovered_from_slices_in_any_order(made, random):
    planes, affine = made
    shuffled = random.sample(range(len(planes)), len(planes))
    grid = arrange([planes[k] for k in shuffled])
    np.testing.assert_allclose(grid.affine, affine, atol=1e-9)
    assert [shuffled[k] for k in grid.order] == list(range(len(planes)))
    assert grid.located
    normal = np.cross(planes[0].row, planes[0].column)
    np.testing.assert_allclose(grid.spacing_mm, (affine[:3, 0] @ normal, 0.7, 0.8), atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(made=stacks(), random=st.randoms(use_true_random=False))
def test_every_pixel_lies_where_its_own_header_says(made, random):
    planes, _ = made
    grid = arrange(planes)
    for _ in range(5):
        d, h, w = random.randrange(len(planes)), random.randrange(512), random.randrange(512)
        own = planes[int(grid.order[d])]
        # PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1.
        place = np.array(own.position_mm) + np.array(own.row) * 0.8 * w + np.array(own.column) * 0.7 * h
        np.testing.assert_allclose((grid.affine @ [d, h, w, 1])[:3], place, atol=1e-8)


@settings(max_examples=150, deadline=None)
@given(made=stacks(least=3), random=st.randoms(use_true_random=False), share=st.floats(0, 1), data=st.data())
def test_one_slice_moved_beyond_the_tolerance_is_refused(made, random, share, data):
    planes, _ = made
    gap = arrange(planes).spacing_mm[0]
    direction = np.array(data.draw(st.tuples(*[st.floats(-1, 1) for _ in range(3)])))
    assume(np.linalg.norm(direction) > 0.1)
    # Moving an end moves the line as well: half of it is left at its neighbour. Of a move of 1 at least n lies along the
    # normal or off the line, where n^2 + (n (1 + |shear|))^2 = 1; |shear| is at most 0.6 * sqrt(2), so n is 0.475. Beyond
    # half a gap slices change places. Of three slices, a middle one that is moved by a third of a gap leaves one gap twice
    # as wide as the other, which looks like a missing slice.
    least, most = 2 / 0.475 * 1.03 * TOLERANCE.place(gap), 0.45 * gap
    k = random.randrange(len(planes))
    planes[k] = moved(planes[k], direction / np.linalg.norm(direction) * (least + share * (most - least)))
    reasons = {Reason.IRREGULAR_SPACING, Reason.SHIFTED_SLICES} | ({Reason.MISSING_SLICES} if len(planes) == 3 else set())
    assert refused(planes)[0] in reasons


@settings(max_examples=60, deadline=None)
@given(made=stacks(), keep=st.integers(2, 5))
def test_slices_missing_inside_are_counted(made, keep):
    planes, _ = made
    assume(len(planes) >= keep + 4)
    reason, detail = refused(planes[:keep] + planes[keep + 2 :])
    assert reason is Reason.MISSING_SLICES
    assert detail.startswith("2 slices missing")


@settings(max_examples=60, deadline=None)
@given(count=st.integers(2, 300), gap=st.floats(0.5, 10), turn=angles)
def test_positions_rounded_as_decimal_strings_are_no_fault(count, gap, turn):
    planes = stack(count, gap, rotation(turn), decimals=3)
    assert arrange(planes).spacing_mm[0] == pytest.approx(gap, abs=2e-3)


def test_a_missing_slice_is_named_by_its_place():
    reason, detail = refused(stack(12)[:4] + stack(12)[5:])
    assert reason is Reason.MISSING_SLICES
    assert detail == "1 slice missing along the normal at 40.50 to 45.50 mm; usual gap 2.500 mm."


def test_the_usual_gap_is_the_smallest_that_fits_them_all():
    every_second = stack(21)[:3] + stack(21)[3::2]
    assert refused(every_second)[0] is Reason.MISSING_SLICES


def test_a_slice_twice_is_refused_and_named():
    planes = stack(6)
    assert refused([*planes, planes[3]]) == (Reason.DUPLICATE_SLICES, "1 slice too many; the first at 40.50 mm.")
    assert refused([planes[0], planes[0]])[0] is Reason.DUPLICATE_SLICES


numbers = st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from([0.0, 1.0, -1.0, 5e-324, 0.005, 2.5])
triples = st.none() | st.tuples(numbers, numbers, numbers) | st.sampled_from([(1.0, 0.0, 0.0), (0.0, 1.0, 0.0)])


@settings(max_examples=300, deadline=None)
@given(
    planes=st.lists(
        st.builds(Plane, triples, triples, triples, st.none() | st.tuples(numbers, numbers), st.just(1.0)), max_size=5
    ),
    places=st.lists(numbers, min_size=1, max_size=6),
)
def test_whatever_headers_say_the_answer_is_a_grid_or_a_reason(planes, places):
    line = [Plane((0.0, 0.0, place), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1.0, 1.0)) for place in places]
    for given_planes in (planes, line):
        try:
            grid = arrange(given_planes)
        except Untrusted:
            continue
        assert np.isfinite(grid.affine).all()
        assert abs(np.linalg.det(grid.affine)) > 0
        assert sorted(grid.order.tolist()) == list(range(len(given_planes)))


def test_two_phases_at_the_same_places_are_refused():
    assert refused(stack(6) + stack(6)) == (Reason.DUPLICATE_SLICES, "6 slices too many; the first at 33.00 mm.")


def test_irregular_gaps_are_refused():
    planes = stack(9)
    planes[4] = moved(planes[4], np.array([0, 0, 0.6]))
    reason, detail = refused(planes)
    assert reason is Reason.IRREGULAR_SPACING
    assert "1.900 to 3.100" in detail


def test_a_person_may_overrule_what_is_uneven_and_nothing_else():
    uneven = stack(9)
    uneven[4] = moved(uneven[4], np.array([0, 0, 0.6]))
    grid = arrange(uneven, overruled={Reason.IRREGULAR_SPACING})
    np.testing.assert_array_equal(grid.affine, arrange(stack(9)).affine)
    shifted = stack(9)
    shifted[4] = moved(shifted[4], np.array([0.6, 0, 0]))
    assert arrange(shifted, overruled={Reason.SHIFTED_SLICES}).spacing_mm[0] == pytest.approx(2.5)
    for planes, overruled in ((uneven, Reason.SHIFTED_SLICES), (shifted, Reason.IRREGULAR_SPACING)):
        with pytest.raises(Untrusted):
            arrange(planes, overruled={overruled})
    with pytest.raises(Untrusted):
        arrange(stack(9)[:3] + stack(9)[4:], overruled=set(Reason))


def test_a_slice_moved_in_its_own_plane_is_refused():
    planes = stack(9)
    planes[4] = moved(planes[4], np.array([0.6, 0, 0]))
    assert refused(planes)[0] is Reason.SHIFTED_SLICES


def test_a_line_that_leans_more_than_any_gantry_is_refused():
    assert arrange(stack(5, shear=(0, 2.4))).spacing_mm[0] == pytest.approx(2.5)
    assert refused(stack(5, shear=(0, 2.6)))[0] is Reason.SHIFTED_SLICES


def test_jitter_within_the_tolerance_is_borne_and_beyond_it_is_not():
    for size, borne in ((0.049, True), (0.051, False)):
        planes = stack(9)
        planes[4] = moved(planes[4], np.array([0, 0, size]))
        if borne:
            assert arrange(planes).spacing_mm[0] == pytest.approx(2.5)
        else:
            assert refused(planes)[0] is Reason.IRREGULAR_SPACING
    thin = stack(9, gap=0.2)
    thin[4] = moved(thin[4], np.array([0, 0, 0.03]))
    assert refused(thin)[0] is Reason.IRREGULAR_SPACING, "a tenth of the distance is the most, however thin"


def test_a_tilted_gantry_keeps_its_shear():
    """A gantry tilted by 15 degrees: the table moves along z, so the slices are shifted along their own columns."""
    tilt = math.radians(15)
    column = (0.0, math.cos(tilt), -math.sin(tilt))
    planes = [Plane((-100.0, -100.0, 2.5 * k), (1.0, 0.0, 0.0), column, (0.7, 0.7)) for k in range(10)]
    grid = arrange(planes)
    np.testing.assert_allclose(grid.affine[:3, 0], [0, 0, 2.5], atol=1e-12)
    assert grid.spacing_mm[0] == pytest.approx(2.5 * math.cos(tilt))
    between = math.degrees(math.acos(grid.affine[:3, 0] @ grid.affine[:3, 1] / 2.5 / 0.7))
    assert between == pytest.approx(105)


def test_descending_acquisition_is_turned_so_that_the_grid_is_right_handed():
    planes = stack(7)[::-1]
    grid = arrange(planes)
    assert grid.order.tolist() == [6, 5, 4, 3, 2, 1, 0]
    # d, h, w against normal, column, row: z, y, x of the patient.
    assert np.linalg.det(grid.affine[:3, :3]) < 0
    assert np.linalg.det(grid.affine[:3, [2, 1, 0]]) > 0


@pytest.mark.parametrize(("column", "along"), [((0, 0, -1), 1), ((0, 1, 0), 2)])
def test_coronal_and_axial_stacks_go_along_their_own_axis(column, along):
    planes = []
    for k in range(5):
        place = [-100.0, -90.0, 80.0]
        place[along] += 3 * k
        planes.append(Plane(tuple(place), (1.0, 0.0, 0.0), tuple(map(float, column)), (1.0, 1.0)))
    step = arrange(planes).affine[:3, 0]
    assert step[along] == 3
    assert np.count_nonzero(step) == 1


def test_one_slice_is_as_thick_as_its_header_says():
    grid = arrange(stack(1))
    assert grid.spacing_mm == (3.0, 0.7, 0.8)
    assert np.linalg.norm(grid.affine[:3, 0]) == pytest.approx(3)
    unknown = arrange([dataclasses.replace(stack(1)[0], thickness_mm=None)])
    assert math.isnan(unknown.spacing_mm[0])
    assert np.linalg.norm(unknown.affine[:3, 0]) == pytest.approx(1)


def test_two_slices_cannot_be_uneven():
    assert arrange(stack(2, gap=7.3)).spacing_mm[0] == pytest.approx(7.3)


@pytest.mark.parametrize("lost", ["position_mm", "row", "column", "spacing_mm"])
def test_a_slice_without_a_place_is_refused(lost):
    planes = stack(4)
    planes[2] = dataclasses.replace(planes[2], **{lost: None})
    reason, detail = refused(planes)
    assert reason is Reason.NO_GEOMETRY
    assert detail.startswith("1 of 4 slices")
    assert refused([])[0] is Reason.NO_GEOMETRY


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 1e300, 1e6])
@pytest.mark.parametrize("field", ["position_mm", "row", "column"])
def test_numbers_that_are_no_place_are_refused_without_a_warning(field, number):
    planes = stack(4)
    planes[1] = dataclasses.replace(planes[1], **{field: (0.0, number, 1.0)})
    assert refused(planes)[0] is Reason.NO_GEOMETRY


@pytest.mark.parametrize("spacing", [(0.0, 1.0), (1.0, -1.0), (math.nan, 1.0)])
def test_spacing_must_be_above_zero(spacing):
    planes = [dataclasses.replace(plane, spacing_mm=spacing) for plane in stack(4)]
    assert refused(planes)[0] is Reason.NO_GEOMETRY


def test_orientation_and_spacing_that_differ_are_refused():
    for size, borne in ((5e-5, True), (2e-4, False)):
        planes = stack(4)
        planes[1] = dataclasses.replace(planes[1], row=(math.cos(size), math.sin(size), 0.0))
        if borne:
            arrange(planes)
        else:
            assert refused(planes)[0] is Reason.MIXED_ORIENTATION
    planes = stack(4)
    planes[1] = dataclasses.replace(planes[1], spacing_mm=(0.7, 0.801))
    assert refused(planes)[0] is Reason.MIXED_SPACING


def test_directions_must_be_perpendicular_and_of_unit_length():
    rounded = [dataclasses.replace(plane, column=(0.0, 0.948, -0.317)) for plane in stack(4)]
    arrange(rounded)
    for column in ((0.0, 0.99, 0.0), (0.1, 0.995, 0.0), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0)):
        planes = [dataclasses.replace(plane, column=column) for plane in stack(4)]
        assert refused(planes)[0] is Reason.BAD_ORIENTATION


def test_a_picture_without_a_place_is_only_scaled():
    nowhere = Plane(None, None, None, (0.2, 0.3))
    grid = picture(nowhere)
    assert not grid.located
    np.testing.assert_allclose(grid.affine @ [0, 10, 100, 1], [30, 2, 0, 1])
    assert math.isnan(grid.spacing_mm[0])
    bare = picture(Plane(None, None, None, None))
    np.testing.assert_allclose(bare.affine @ [0, 10, 100, 1], [100, 10, 0, 1])
    assert all(map(math.isnan, bare.spacing_mm))
