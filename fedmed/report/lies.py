"""What a record tells of a simulation's center that lied, as frozen models."""

from __future__ import annotations

from pydantic import BaseModel

from fedmed.report.parts import LENIENT


class Lie(BaseModel):
    """All lies of one kind."""

    model_config = LENIENT

    kind: str = ""
    """What it would be if a site answered (`privacy.secagg.attacks`)."""
    how: str = ""
    """In plain words."""
    told: int = 0
    refused: dict[str, int] = {}
    """How often, by what the refusal names."""
    answered: list[str] = []
    """Who answered, and in which round."""
    example: str = ""
    """The first refusal."""


class Lies(BaseModel):
    """What the center of one run asked that it must not ask."""

    model_config = LENIENT

    told: int = 0
    answered: int = 0
    kinds: list[Lie] = []
    sums: int = 0
    """That the honest rounds asked for."""
    least: int = 0
    """Sites that a sum has to be over."""
    fewest: int | None = None
    """Sites that the smallest of them was over."""
