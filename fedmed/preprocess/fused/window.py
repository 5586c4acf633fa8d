"""The map from modality units to the values that a network sees."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Function = Literal["linear", "sigmoid"]


@dataclass(frozen=True)
class Window:
    """Modality units `low`..`high` (HU for CT) become `out_low`..`out_high`; out_low > out_high inverts.

    With x in modality units and u = (x - low) / (high - low):
    "linear" gives out_low + clamp(u, 0, 1) * (out_high - out_low);
    "sigmoid" gives out_low + (out_high - out_low) / (1 + exp(-4 (u - 1/2))), PS3.3 C.11.2.1.3.1.
    To normalise by a mean and a deviation, let out_low be (0 - mean) / deviation and out_high (1 - mean) / deviation.
    """

    low: float
    high: float
    out_low: float = 0.0
    out_high: float = 1.0
    function: Function = "linear"

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) for value in (self.low, self.high, self.out_low, self.out_high)):
            raise ValueError(f"got {self}; all four ends must be finite")
        if not self.high > self.low:
            raise ValueError(f"got a window from {self.low} to {self.high}; high must lie above low")
        if self.function not in ("linear", "sigmoid"):
            raise ValueError(f"got the function {self.function!r}; allowed: linear, sigmoid")


def from_centre(centre: float, width: float, function: str = "LINEAR", out: tuple[float, float] = (0.0, 1.0)) -> Window:
    """The Window of a DICOM Window Center (0028,1050), Width (0028,1051) and VOI LUT Function (0028,1056).

    LINEAR is PS3.3 C.11.2.1.2.1 (half a unit off, and a unit narrower), LINEAR_EXACT C.11.2.1.3.2, SIGMOID C.11.2.1.3.1.
    Raises ValueError for another function, and for a width that leaves nothing between black and white.
    """
    if function == "LINEAR":
        centre, width = centre - 0.5, width - 1
    elif function not in ("LINEAR_EXACT", "SIGMOID"):
        raise ValueError(f"got the VOI LUT function {function!r}; allowed: LINEAR, LINEAR_EXACT, SIGMOID")
    if not width > 0:
        raise ValueError(f"got a window of no width ({function}); it must be above {1 if function == 'LINEAR' else 0}")
    return Window(centre - width / 2, centre + width / 2, *out, "sigmoid" if function == "SIGMOID" else "linear")
