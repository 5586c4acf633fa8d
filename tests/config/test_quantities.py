from __future__ import annotations

import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from fedmed.config import quantities
from fedmed.config.allowed import describe
from fedmed.config.quantities import BITS, BYTE_RATES, BYTES, MONEY, OPERATIONS, TIMES, WATTS, read, written

ALL = (BITS, BYTES, BYTE_RATES, TIMES, OPERATIONS, WATTS, MONEY)
KINDS = {
    name: kind
    for name, kind in vars(quantities).items()
    if isinstance(getattr(kind, "__metadata__", [None])[0], quantities.Quantity)
}
UNITS = [(units, unit) for units in ALL for unit in units]


def taken(kind, text):
    return TypeAdapter(kind).validate_json(json.dumps(text))


def refusal(kind, value):
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_json(json.dumps(value))
    return str(caught.value.errors()[0]["ctx"]["error"])


@pytest.mark.parametrize(
    ("text", "units", "number"),
    [
        ("10 Mbit/s", BITS, 1.25e6),
        ("8bit/s", BITS, 1.0),
        ("16 GB", BYTES, 16e9),
        ("1 KiB", BYTES, 1024.0),
        ("320 GB/s", BYTE_RATES, 320e9),
        ("20 ms", TIMES, 0.02),
        ("5 us", TIMES, 5e-6),
        ("5 \u00b5s", TIMES, 5e-6),
        ("5 \u03bcs", TIMES, 5e-6),
        ("1.5 h", TIMES, 5400.0),
        ("-90 s", TIMES, -90.0),
        (".5 d", TIMES, 43_200.0),
        ("1e3 s", TIMES, 1000.0),
        (" 3.\u00a0min ", TIMES, 180.0),
        ("65 TFLOPS", OPERATIONS, 65e12),
        ("67 TOPS", OPERATIONS, 67e12),
        ("12.5 W", WATTS, 12.5),
        ("12000 USD", MONEY, 12_000.0),
    ],
)
def test_a_number_and_its_unit_are_read(text, units, number):
    assert read(text, units) == pytest.approx(number, rel=1e-15)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "s", "ms 20", "20 m s", "2 0 ms", "1,5 s", "1_000 s", "--1 s", "1e s", "1e1000 s", "0x10 s", "nan s"),
        *("inf s", "\u0661\u0660 s", "\uff11\uff10 s", "\u00b2 s", "20\nms", "20 ms\x00", "20 ms; 3 s", "1" * 39 + " s"),
        "20 %",
    ],
)
def test_what_is_no_number_with_a_unit_is_refused(text):
    with pytest.raises(ValueError, match=r"^got .*, allowed: a number and one of us, ms, s, min, h, d$"):
        read(text, TIMES)


@pytest.mark.parametrize("text", ["20", "-1e3", " 20 "])
def test_a_number_alone_is_asked_for_its_unit(text):
    with pytest.raises(ValueError, match="a number without a unit; write one of us, ms, s, min, h, d behind it"):
        read(text, TIMES)


@pytest.mark.parametrize(
    ("text", "units", "meant"),
    [
        ("10 mbit/s", BITS, "Mbit/s"),
        ("10 Mbps", BITS, "Mbit/s"),
        ("10 MBit/s", BITS, "Mbit/s"),
        ("10 Mb/s", BITS, "Mbit/s"),
        ("16 gb", BYTES, "GB"),
        ("3 H", TIMES, "h"),
        ("10 MB/s", BITS, None),  # eight times as much: nobody is to take it for Mbit/s
        ("16 Gbit", BYTES, None),
        ("3 weeks", TIMES, None),
        ("100 EUR", MONEY, None),
    ],
)
def test_another_unit_is_refused_with_those_allowed(text, units, meant):
    with pytest.raises(ValueError, match=r"^got the unit ") as caught:
        read(text, units)
    assert str(caught.value).endswith(f", allowed: {', '.join(units)}")
    assert ("did you mean" in str(caught.value)) == (meant is not None)
    assert meant is None or f"(did you mean {meant}?)" in str(caught.value)


@given(st.sampled_from(UNITS), st.floats(0, 1e6) | st.integers(0, 10**6).map(float))
def test_every_unit_is_a_factor(unit, number):
    units, name = unit
    assert read(f"{number!r} {name}", units) == number * units[name]


@given(st.sampled_from(ALL), st.floats(-1e18, 1e18) | st.integers(-(10**9), 10**9).map(float))
def test_what_is_written_is_read_back_to_the_last_bit(units, number):
    assert read(written(number, units), units) == number


@given(st.sampled_from(UNITS), st.integers(1, 999))
def test_what_people_write_is_not_written_with_more_digits(unit, number):
    units, name = unit
    back, unit = written(read(f"{number} {name}", units), units).split()
    assert len(back) <= len(str(number))
    assert unit in units


@pytest.mark.parametrize(
    ("number", "units", "text"),
    [
        (0.0, TIMES, "0 s"),
        (1200.0, TIMES, "20 min"),
        (90.0, TIMES, "90 s"),
        (0.02, TIMES, "20 ms"),
        (86_400.0, TIMES, "1 d"),
        (1.25e6, BITS, "10 Mbit/s"),
        (0.125, BITS, "1 bit/s"),
        (16e9, BYTES, "16 GB"),
        (1024.0, BYTES, "1 KiB"),
        (-90.0, TIMES, "-90 s"),
    ],
)
def test_a_number_is_written_as_people_would(number, units, text):
    assert written(number, units) == text


@pytest.mark.parametrize("units", ALL)
def test_one_unit_has_a_factor_that_loses_no_bit(units):
    assert any(math.frexp(factor)[0] == 0.5 for factor in units.values())


@given(st.text(max_size=50), st.sampled_from(ALL))
def test_any_text_is_read_or_refused(text, units):
    said = ""
    try:
        assert isinstance(read(text, units), float)
    except ValueError as error:
        said = str(error)
    assert said == "" or said.startswith("got ")


@pytest.mark.parametrize("name", sorted(KINDS))
def test_each_kind_takes_its_example_and_its_bounds_and_says_them(name):
    kind = KINDS[name]
    quantity = kind.__metadata__[0]
    for text in (quantity.example, quantity.least, quantity.most):
        assert TypeAdapter(kind).dump_python(taken(kind, text), mode="json") == written(taken(kind, text), quantity.units)
    most = read(quantity.most, quantity.units)
    beyond = f"{most * 1.01:.6e} {next(unit for unit, by in quantity.units.items() if math.frexp(by)[0] == 0.5)}"
    if quantity.units is BITS:
        beyond = "101 Tbit/s"
    assert refusal(kind, beyond) == f'got "{beyond}", allowed: at least {quantity.least} and at most {quantity.most}'
    assert "allowed: at least" in refusal(kind, f"1e999 {next(iter(quantity.units))}")
    assert "allowed: at least" in refusal(kind, f"-1e999 {next(iter(quantity.units))}")


def test_the_kinds_are_all_there():
    assert set(KINDS) == {"Rate", "Delay", "Seconds", "Span", "Skew", "Bytes", "ByteRate", "Operations", "Watts", "Money"}


@pytest.mark.parametrize("name", sorted(KINDS))
def test_the_schema_shows_how_it_is_written(name):
    kind = KINDS[name]
    schema, example = TypeAdapter(kind).json_schema(), kind.__metadata__[0].example
    assert describe(schema) == f"a number with its unit, such as {example}"
    assert re.search(schema["pattern"], example)
    assert not re.search(schema["pattern"], "10")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (10, "got 10, a number without a unit; write one of bit/s, "),
        (1.5, "got 1.5, a number without a unit"),
        (True, "got true, allowed: a number with its unit, such as 10 Mbit/s"),
        (None, "got null, allowed: a number with its unit, such as 10 Mbit/s"),
        (["10 Mbit/s"], 'got ["10 Mbit/s"], allowed: a number with its unit'),
        ({"up": 1}, "got a section of keys, allowed: a number with its unit"),
        ("0 bit/s", 'got "0 bit/s", allowed: at least 1 bit/s and at most 100 Tbit/s'),
        ("-10 Mbit/s", 'got "-10 Mbit/s", allowed: at least 1 bit/s'),
        ("1e-999 Mbit/s", "allowed: at least 1 bit/s"),
        ("x" * 1000, 'got "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx..., allowed: a number and one of'),
    ],
)
def test_what_is_no_rate_is_refused_with_what_is(value, told):
    assert refusal(quantities.Rate, value).startswith(told) or told in refusal(quantities.Rate, value)


def test_a_line_of_more_than_a_minute_is_none():
    assert "at most 60 s" in refusal(quantities.Delay, "61 s")
    assert taken(quantities.Delay, "60000 ms") == 60.0
