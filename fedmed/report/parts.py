"""What parts of a record have in common."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import AfterValidator, ConfigDict

LENIENT = ConfigDict(frozen=True, extra="ignore")
"""Immutable; keys of a later version are passed over."""


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


Number = Annotated["float | None", AfterValidator(_finite)]
