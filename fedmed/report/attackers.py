"""What a record tells of a simulation's attackers, as frozen models."""

from __future__ import annotations

from pydantic import BaseModel

from fedmed.report.parts import LENIENT, Number


class Doer(BaseModel):
    """One attack of one site."""

    model_config = LENIENT

    site: str
    kind: str = ""
    since: int = 1
    factor: Number = None
    cases: Number = None
    """Share of its training cases that it changed; all when absent."""
    source: str | None = None
    target: str | None = None
    joined: int = 0
    """Rounds from `since` on that it took part in."""
    refused: int = 0
    """Rounds in which its update was refused."""
    reason: str = ""
    """Of the first one."""


class Rate(BaseModel):
    """A share of cases with its 95 % interval."""

    model_config = LENIENT

    value: Number = None
    low: Number = None
    high: Number = None


class Aim(BaseModel):
    """How often test cases were called what an attacker wants."""

    model_config = LENIENT

    kind: str = ""
    source: str | None = None
    target: str = ""
    cases: int = 0
    federated: Rate = Rate()
    pooled: Rate | None = None
    """Of the model that was trained honestly on all cases in one place."""
    without_trigger: Rate | None = None
    """Of the shared model, on the same cases as they are."""


class Attacks(BaseModel):
    """What the attackers of one run did."""

    model_config = LENIENT

    attackers: list[Doer] = []
    aims: list[Aim] = []

    @property
    def sites(self) -> list[str]:
        """Who attacked, each once."""
        return list(dict.fromkeys(each.site for each in self.attackers))
