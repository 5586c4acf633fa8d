from __future__ import annotations

import math
import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import UpdateRefused
from fedmed.privacy.secagg.fields import Fixed, Whole, base_of, digits_of, gathered, spread

bits = st.sampled_from([16, 32])


def added(field, clinics, bits, most_clients):
    """What the sum of the clinics' lanes says, the lanes added modulo 2^bits as masks are."""
    base = base_of(bits, most_clients)
    total = np.zeros((digits_of(field.top, base), field.count), f"u{bits // 8}")
    for values in clinics:
        lanes = np.empty_like(total)
        spread(field.codes(values), base, lanes)
        total += lanes
    return field.summed(gathered(total, base), len(clinics))


@given(bits, st.integers(1, 5000), st.integers(0, 2**127), st.data())
@settings(max_examples=200)
def test_whole_numbers_are_summed_exactly(bits, most_clients, most, data):
    count = data.draw(st.integers(1, 4))
    numbers = st.lists(st.sampled_from([0, most]) | st.integers(0, most), min_size=count, max_size=count)
    clinics = data.draw(st.lists(numbers, min_size=1, max_size=min(most_clients, 6)))
    found = added(Whole("a", most, count), [np.array(each, object) for each in clinics], bits, most_clients)
    wanted = [sum(column) for column in zip(*clinics, strict=True)]
    assert (found == wanted[0] and isinstance(found, int)) if count == 1 else found.tolist() == wanted


@given(bits, st.integers(1, 3000), st.integers(1, 2**100))
def test_every_clinic_at_its_most_overflows_no_lane(bits, clients, most):
    base = base_of(bits, clients)
    assert clients * (base - 1) < 2**bits <= clients * base
    assert base ** (digits_of(most, base) - 1) <= most < base ** digits_of(most, base)
    lanes = np.empty((digits_of(most, base), 1), f"u{bits // 8}")
    spread(Whole("a", most).codes(most), base, lanes)
    assert max(int(lane) * clients for lane in lanes.flat) < 2**bits
    assert int(gathered(lanes * np.array(clients, lanes.dtype), base)[0]) == clients * most


@given(bits, st.integers(1, 3000), st.floats(1e-3, 1e12), st.integers(0, 50), st.data())
def test_real_numbers_are_summed_exactly_once_rounded(bits, most_clients, bound, fineness, data):
    field = Fixed("a", bound, bound / 3.7**fineness, data.draw(st.integers(1, 3)))
    number = st.sampled_from([bound, -bound, 0.0]) | st.floats(-bound, bound)
    one = st.lists(number, min_size=field.count, max_size=field.count)
    clinics = data.draw(st.lists(one, min_size=1, max_size=min(most_clients, 6)))
    found = np.atleast_1d(added(field, [np.array(each) for each in clinics], bits, most_clients)).tolist()
    step = Fraction(field.resolution)
    for place, value in enumerate(found):
        numbers = [Fraction(each[place]) for each in clinics]
        assert value == float(sum(math.floor(number / step + Fraction(1, 2)) for number in numbers) * step)
        assert abs(Fraction(value) - sum(numbers)) <= len(numbers) * step / 2 + abs(Fraction(value)) / 2**52


def test_moments_of_ninety_six_bits():
    field = Fixed("squares", 2.0**64, 2.0**-32, 2)
    assert field.top == 2**97
    found = added(field, [np.array([2.0**64, 2.0**-32]), np.array([2.0**-32, -(2.0**-32)])], 16, 10)
    assert found.tolist() == [2.0**64, 0.0]  # rounded once, to float64
    assert [int(code) for code in field.codes([2.0**-32, -(2.0**64)])] == [2**96 + 1, 0]


def test_a_fixed_field_of_resolution_one_sums_signed_whole_numbers():
    assert added(Fixed("a", 1000, 1), [-1000, 999, -5], 32, 3) == -6.0


@pytest.mark.parametrize("values", [-1, 11, [11], 2**200, -(2**80)])
def test_whole_numbers_out_of_range_are_refused_by_name(values):
    with pytest.raises(UpdateRefused, match=r"field 'cases' holds -?[0-9]+; allowed is 0 to 10"):
        Whole("cases", 10).codes(values)


@pytest.mark.parametrize("values", [1.0, np.float32(2), "3", [None]])
def test_what_is_not_a_whole_number_is_refused(values):
    with pytest.raises(UpdateRefused, match=r"'cases' is .*whole numbers are summed"):
        Whole("cases", 10).codes(values)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2.5000001, -3])
def test_real_numbers_out_of_range_are_refused_by_name(value):
    with pytest.raises(UpdateRefused, match=r"field 'loss' holds .*; allowed is -2.5 to 2.5"):
        Fixed("loss", 2.5, 1e-6).codes(value)


def test_what_is_not_a_real_number_is_refused():
    with pytest.raises(UpdateRefused, match=r"'loss' is .*real numbers are summed"):
        Fixed("loss", 2.5, 1e-6).codes("2")


@pytest.mark.parametrize("field", [Whole("a", 3, 4), Fixed("a", 3, 1, 4)])
def test_as_many_numbers_as_were_agreed_on_in_any_shape(field):
    assert field.codes(np.ones((2, 2), int)).shape == (4,)
    for values in (1, np.ones(3, int), np.ones((4, 2), int)):
        with pytest.raises(UpdateRefused, match=r"'a' has . numbers; 4 were agreed on"):
            field.codes(values)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        (Whole("a", 3, 0), "has 0 numbers"),
        (Whole("a", 3, 2**24 + 1), "allowed is 1 to 2\\^24"),
        (Whole("a", -1), "goes to -1; allowed is 0 to 2\\^127"),
        (Whole("a", 2**127 + 1), "allowed is 0 to 2\\^127"),
        (Fixed("a", 1.0, 0.0), "resolution 0.0; allowed is 0 < resolution <= bound"),
        (Fixed("a", 1.0, 2.0), "allowed is 0 < resolution <= bound"),
        (Fixed("a", math.inf, 2.0), "bound inf"),
        (Fixed("a", math.nan, 2.0), "bound nan"),
        (Fixed("a", 1.0, 1e-40), "more than 2\\^127 steps"),
    ],
)
def test_fields_that_cannot_work_say_why(field, text):
    [fault] = field.faults()
    assert re.search(text, fault)


@pytest.mark.parametrize("field", [Whole("a", 0), Whole("a", 2**127, 2**24), Fixed("a", 1e100, 1e70), Fixed("a", 1, 1)])
def test_fields_at_the_limits_work(field):
    assert not list(field.faults())
