"""Quantities as people write them, `10 Mbit/s` or `20 ms`, into plain numbers of one unit each; a bare number is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

_WRITTEN = re.compile(r"([-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?)\s*([A-Za-z/%]*)")
_THOUSANDS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}

BITS = {f"{letter}bit/s": by / 8 for letter, by in _THOUSANDS.items()}
"""Rates of a line, in bytes a second."""
BYTES = {f"{letter}B": by for letter, by in _THOUSANDS.items()} | {
    f"{letter}iB": 2.0**power for letter, power in (("K", 10), ("M", 20), ("G", 30), ("T", 40))
}
BYTE_RATES = {f"{unit}/s": by for unit, by in BYTES.items()}
TIMES = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
OPERATIONS = {f"{letter}FLOPS": by for letter, by in _THOUSANDS.items()} | {
    f"{letter}OPS": by for letter, by in _THOUSANDS.items()
}
"""Operations a second, in floating point or not."""
WATTS = {"mW": 1e-3, "W": 1.0, "kW": 1e3}
MONEY = {"USD": 1.0, "EUR": 1.0, "CNY": 1.0}
"""One currency throughout a file: nothing is exchanged."""


def read(text: str, units: Mapping[str, float]) -> float:
    """The number that `text` states, in the base unit of `units`. Raises ValueError that says what is allowed."""
    found = _WRITTEN.fullmatch(text.strip())
    some = ", ".join(units)
    if found is None:
        raise ValueError(f"got {text[:40]!r}; allowed: a number and one of {some}")
    number, unit = found.groups()
    if not unit:
        raise ValueError(f"got {text[:40]!r}, a number without a unit; write one of {some} behind it")
    if unit not in units:
        raise ValueError(f"got the unit {unit[:20]!r}; allowed: {some}")
    return float(number) * units[unit]


def _reader(units: Mapping[str, float]) -> Callable[[Any], float]:
    def quantity(value: Any) -> float:
        if isinstance(value, str):
            return read(value, units)
        some = ", ".join(units)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            raise ValueError(f"got {value}, a number without a unit; write one of {some} behind it")
        raise ValueError(f"a number and a unit, one of {some}")

    return quantity


def _some(value: float) -> float:
    if value <= 0:
        raise ValueError("it must be more than 0")
    return value


def _none_or_more(value: float) -> float:
    if value < 0:
        raise ValueError("it must not be below 0")
    return value


def _schema(example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "description": f"a number with its unit, such as {example}"}, mode="validation")


Rate = Annotated[float, BeforeValidator(_reader(BITS)), AfterValidator(_some), _schema("10 Mbit/s")]
"""Bytes a second, of a line."""
Seconds = Annotated[float, BeforeValidator(_reader(TIMES)), AfterValidator(_none_or_more), _schema("20 ms")]
Span = Annotated[float, BeforeValidator(_reader(TIMES)), AfterValidator(_some), _schema("8 h")]
"""Seconds, more than none."""
Skew = Annotated[float, BeforeValidator(_reader(TIMES)), _schema("-90 s")]
"""Seconds, ahead or behind."""
Bytes = Annotated[float, BeforeValidator(_reader(BYTES)), AfterValidator(_some), _schema("16 GB")]
ByteRate = Annotated[float, BeforeValidator(_reader(BYTE_RATES)), AfterValidator(_some), _schema("320 GB/s")]
Operations = Annotated[float, BeforeValidator(_reader(OPERATIONS)), AfterValidator(_some), _schema("65 TFLOPS")]
Watts = Annotated[float, BeforeValidator(_reader(WATTS)), AfterValidator(_some), _schema("70 W")]
Money = Annotated[float, BeforeValidator(_reader(MONEY)), AfterValidator(_none_or_more), _schema("12000 USD")]
Share = Annotated[float, Field(ge=0, le=1)]
