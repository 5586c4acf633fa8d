"""What the center may learn of a single site: the scenario's section `privacy`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from fedmed.config.part import Part

BOUNDS = {16: 1.0, 32: 64.0}
Mode = Literal["record-local", "record-distributed", "clinic"]


class DifferentialPrivacy(Part):
    """How much any one patient may change what is opened, over the whole run. The unit is the patient, or the record where
    patient ids are missing; in mode `clinic` it is the clinic."""

    mode: Mode
    """`record-local`: every site trains with DP-SGD and noise of its own; `record-distributed`: one step a round, of which
    the sites add the noise together; `clinic`: a site's whole update is clipped, and the sites add the noise together."""
    epsilon: float = Field(gt=0, le=1000)
    """The most that the run may cost. A site's own limit, in its own file, holds beside it."""
    delta: float = Field(gt=0, le=0.01)
    """Probability that epsilon does not hold; below 1 / number of patients."""
    clip: float = Field(1.0, gt=0, le=1e6)
    """L2 norm to which a patient's gradient is clipped; in mode `clinic` a site's update."""
    rate: float | None = Field(None, gt=0, le=1)
    """Probability that a patient takes part in a step, by a coin of its own (Poisson sampling); the two record modes."""
    noise: float | None = Field(None, gt=0, le=2**20)
    """Standard deviation of the noise in clips; when absent, the least that keeps epsilon."""

    @model_validator(mode="after")
    def _rate_goes_with_mode(self) -> DifferentialPrivacy:
        if (self.rate is None) != (self.mode == "clinic"):
            raise ValueError("rate: give it in the two record modes, and leave it out of mode clinic, where all take part")
        return self


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
    """Sites that every sum is over, at least; under differential privacy, more of them mean less noise from each."""
    differential_privacy: DifferentialPrivacy | None = None
    """None when absent: what a model tells of the patients that it was trained on is then not bounded."""

    @model_validator(mode="after")
    def _noise_in_shares_needs_sums(self) -> Privacy:
        if self.differential_privacy is not None and not self.is_masked:
            raise ValueError(
                "differential_privacy bounds what sums tell, and secure_aggregation is off, which shows every site's own "
                "counts and measures without noise; switch it on"
            )
        return self

    @property
    def is_masked(self) -> bool:
        """Whether the center sees sums only."""
        return self.secure_aggregation != "off"

    @property
    def value_bound(self) -> float:
        """The bound in force."""
        return self.bound if self.bound is not None else BOUNDS[self.lanes]
