"""What the center may learn of a single site: the scenario's section `privacy`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fedmed.config.part import Part

BOUNDS = {16: 1.0, 32: 64.0}


class Privacy(Part):
    """Secure aggregation is on unless it is written off."""

    secure_aggregation: Literal["malicious", "hbc", "off"] = "malicious"
    """`malicious`: the center learns sums over sites, also where it lies; `hbc`: weaker, it is trusted to name everybody the
    same survivors, which saves a message; `off`: the center sees every site's update, counts and metrics."""
    lanes: Literal[16, 32] = 32
    """Bits of a number on the wire; 16 halves the upload and is coarser."""
    bound: float | None = Field(None, gt=0, le=1e6)
    """Changes of a weight in one round lie within ± this, or the site sends nothing; 64, or 1 of 16 bits, when absent."""
    colluders: int | None = Field(None, ge=0, le=1365)
    """Sites that may work with the center without any other's update being learned; one, or a tenth, when absent."""
    least_sum: int = Field(3, ge=3, le=4096)
    """Sites that every sum is over, at least."""

    @property
    def is_masked(self) -> bool:
        """Whether the center sees sums only."""
        return self.secure_aggregation != "off"

    @property
    def value_bound(self) -> float:
        """The bound in force."""
        return self.bound if self.bound is not None else BOUNDS[self.lanes]
