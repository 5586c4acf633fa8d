from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.dicom.deid.dates import shifted, shifted_date, shifted_datetime, valid_offset, valid_time

days = st.dates(date(1911, 1, 1), date(2099, 12, 31))
shifts = st.integers(-3652, -366)


def dicom(day: date) -> str:
    return f"{day:%Y%m%d}"


def day_of(text: str) -> date:
    return date(int(text[:4]), int(text[4:6]), int(text[6:8]))


@given(days, days, shifts)
def test_intervals_between_dates_stay(first, second, shift):
    moved = [day_of(shifted_date(dicom(day), shift)) for day in (first, second)]
    assert moved[1] - moved[0] == second - first
    assert (moved[0] - first).days == shift


@given(
    days,
    shifts,
    st.sampled_from(["", "07", "0730", "073015", "073015.123456", "235960"]),
    st.sampled_from(["", "+0100", "-0930"]),
)
def test_a_datetime_keeps_its_time_and_offset(day, shift, time, offset):
    offset = offset if time else ""
    assert shifted_datetime(dicom(day) + time + offset, shift) == shifted_date(dicom(day), shift) + time + offset


@pytest.mark.parametrize(
    "text",
    ["20210229", "20211301", "2021", "202103", "ZZTOPPHI", "2021030", "202103045", "2021-03-04", "00010101", "٢٠٢١٠٣٠٤"],
)
def test_what_is_no_date_is_refused(text):
    assert shifted_date(text, -400) is None
    assert shifted_datetime(text, -400) is None


@pytest.mark.parametrize(
    "text", ["20210304250000", "20210304SMITH", "20210304+2500", "2021030412345", "20210304120000.1234567"]
)
def test_what_is_no_datetime_is_refused(text):
    assert shifted_datetime(text, -400) is None


def test_dates_of_the_old_standard_are_read():
    assert shifted_date("2021.03.04", -1) == "20210303"


@pytest.mark.parametrize("text", ["12", "1230", "123059", "123059.5", "12:30:59", "235960"])
def test_times_stay(text):
    assert valid_time(f"{text} ") == text


@pytest.mark.parametrize("text", ["24", "1260", "SMITH", "123059.1234567", "123059 J"])
def test_what_is_no_time_is_refused(text):
    assert valid_time(text) is None


def test_of_several_values_all_must_be_dates():
    assert shifted("DA", "20210304\\20210305", -1) == "20210303\\20210304"
    assert shifted("DA", "20210304\\", -1) == "20210303\\"
    assert shifted("DA", "20210304\\SMITH", -1) is None
    assert shifted("DT", "20210304", -1) == "20210303"
    assert shifted("TM", "12\\13", -1) == "12\\13"


def test_offsets_from_utc():
    assert valid_offset("+0100")
    assert not valid_offset("Oslo")
