"""Quantities as people write them, `10 Mbit/s` or `20 ms`, into plain numbers of one unit each; a bare number is refused.

Written back they have a unit again: the one with the fewest digits in which they are the same number to the last bit.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

MAX_LENGTH = 40
"""Characters of a quantity."""
_NUMBER = r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?"
_SPACE = "[ \u00a0\u202f]*"  # also those that typesetters keep a number and its unit together with
_WRITTEN = re.compile(f"({_NUMBER}){_SPACE}([A-Za-z/\u00b5\u03bc]*)")
_MICRO = str.maketrans("\u00b5\u03bc", "uu")
_THOUSANDS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}

BITS = {f"{letter}bit/s": by / 8 for letter, by in _THOUSANDS.items()}
"""Rates of a line, in bytes a second."""
BYTES = {f"{letter}B": by for letter, by in (_THOUSANDS | {"P": 1e15}).items()} | {
    f"{letter}iB": 2.0**power for letter, power in (("K", 10), ("M", 20), ("G", 30), ("T", 40))
}
BYTE_RATES = {f"{unit}/s": by for unit, by in BYTES.items()}
TIMES = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
OPERATIONS = {f"{letter}{what}": by for what in ("FLOPS", "OPS") for letter, by in (_THOUSANDS | {"P": 1e15}).items()}
"""Operations a second, in floating point or not."""
WATTS = {"mW": 1e-3, "W": 1.0, "kW": 1e3}
MONEY = {"USD": 1.0}
"""Prices of built-in profiles are in it, and nothing is exchanged."""


def read(text: str, units: Mapping[str, float]) -> float:
    """The number that `text` states, in the base unit of `units`: that whose factor is 1, or bytes of bits.

    Raises ValueError that says what was got and what is allowed. Infinite where it is too large for a float.
    """
    found = _WRITTEN.fullmatch(text.strip()) if len(text) <= MAX_LENGTH else None
    some = ", ".join(units)
    if found is None:
        raise ValueError(f"got {_shown(text)}, allowed: a number and one of {some}")
    number, unit = found[1], found[2].translate(_MICRO)
    if not unit:
        raise ValueError(f"got {_shown(text)}, a number without a unit; write one of {some} behind it")
    if unit not in units:
        raise ValueError(f"got the unit {unit!r}{_meant(unit, units)}, allowed: {some}")
    return float(number) * units[unit]


def written(value: float, units: Mapping[str, float]) -> str:
    """The text with the fewest digits that `read` makes exactly `value` of; of equal ones that nearest to the base unit."""
    exact = [(_bare(value / by), unit) for unit, by in units.items() if value / by * by == value]
    number, unit = min(exact, key=lambda each: (len(each[0]), abs(math.log(units[each[1]]))))
    return f"{number} {unit}"


def _bare(number: float) -> str:
    return str(int(number)) if number == int(number) and abs(number) < 1e6 else repr(number)


def _meant(unit: str, units: Mapping[str, float]) -> str:
    """` (did you mean X?)` of what differs in upper and lower case alone, or says `bps`."""
    spelt = unit.replace("bps", "bit/s").replace("b/s", "bit/s").casefold()
    meant = next((each for each in units if each.casefold() in (spelt, unit.casefold())), None)
    return f" (did you mean {meant}?)" if meant else ""


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= MAX_LENGTH else f"{text[: MAX_LENGTH - 3]}..."


@dataclass(frozen=True, eq=False)  # by identity, for typing wants a hash
class Quantity:
    """A kind of quantity: a float in a model, text with a unit in a file. For `Annotated[float, Quantity(...)]`."""

    example: str
    units: Mapping[str, float]
    least: str
    most: str

    @property
    def allowed(self) -> str:
        """In words, as `fedmed.config.allowed` says it."""
        return f"a number with its unit, such as {self.example}"

    def number(self, value: Any) -> float:
        """What `value`, text from a file, states. Raises ValueError."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            raise ValueError(f"got {value}, a number without a unit; write one of {', '.join(self.units)} behind it")
        if not isinstance(value, str):
            raise ValueError(
                f"got {'a section of keys' if isinstance(value, dict) else _shown(value)}, allowed: {self.allowed}"
            )
        number = read(value, self.units)
        if not read(self.least, self.units) <= number <= read(self.most, self.units):
            raise ValueError(f"got {_shown(value)}, allowed: at least {self.least} and at most {self.most}")
        return number

    def text(self, value: float) -> str:
        """As `number` reads it."""
        return written(value, self.units)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Read from text, written as text in JSON."""
        text = core_schema.plain_serializer_function_ser_schema(
            self.text, return_schema=core_schema.str_schema(), when_used="json"
        )
        return core_schema.no_info_before_validator_function(self.number, handler(source), serialization=text)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Text of a number and one of the units, for editors."""
        units = "|".join(map(re.escape, self.units))
        return {
            "type": "string",
            "pattern": f"^{_NUMBER} *({units})$",
            "examples": [self.example],
            "$comment": "a number with its unit",
        }


def standing(text: str) -> Any:
    """Default of a field, as people write it."""
    return Field(text, validate_default=True)


Rate = Annotated[float, Quantity("10 Mbit/s", BITS, "1 bit/s", "100 Tbit/s")]
"""Bytes a second, of a line."""
Delay = Annotated[float, Quantity("20 ms", TIMES, "0 s", "60 s")]
"""Seconds that a packet may need; more is no line."""
Seconds = Annotated[float, Quantity("90 s", TIMES, "0 s", "3650 d")]
Span = Annotated[float, Quantity("8 h", TIMES, "1 us", "3650 d")]
"""Seconds, more than none."""
Skew = Annotated[float, Quantity("-90 s", TIMES, "-3650 d", "3650 d")]
"""Seconds, ahead or behind."""
Bytes = Annotated[float, Quantity("16 GB", BYTES, "1 B", "1000 PB")]
ByteRate = Annotated[float, Quantity("320 GB/s", BYTE_RATES, "1 B/s", "1 PB/s")]
Operations = Annotated[float, Quantity("65 TFLOPS", OPERATIONS, "1 FLOPS", "1000 PFLOPS")]
Watts = Annotated[float, Quantity("70 W", WATTS, "0 W", "1000 kW")]
Money = Annotated[float, Quantity("12000 USD", MONEY, "0 USD", "1e12 USD")]
Share = Annotated[float, Field(ge=0, le=1)]
