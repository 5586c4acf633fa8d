"""What a twin was recorded from: the part of a real federation's records that has no other place in a topology.

`fedmed twin record` writes it, `fedmed twin replay` goes by it; a run that learns takes no notice of it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fedmed.config.part import Part
from fedmed.config.quantities import Bytes, Seconds, Span, standing

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]


class Recorded(Part):
    """Rounds as they were."""

    form: Literal[1]
    """Of this section."""
    run: Name
    """Whose records these are."""
    rounds: tuple[Span, ...] = Field(min_length=1, max_length=100_000)
    """What each took, from its first message until its commit was on the disk."""
    down: Bytes
    """Model, to each site once a round, as it is on the line: with the heads of TLS, TCP, IP and Ethernet."""
    up: Bytes
    """A trained answer, from each site, on the line."""
    validates: dict[Name, Seconds] = Field(default_factory=dict)
    """What a site needs to answer validation, the line left out; rounds without validation where empty."""
    words: Annotated[int, Field(ge=0, le=1000)] = 0
    """Exchanges of masks' words in a round (confirm, reveal), each there and back after the answers."""
    center: Seconds = standing("0 s")
    """Of a round, what neither a site nor a line takes: words as they were handled, opening, averaging, the commit."""
    unknown: tuple[str, ...] = Field(default=(), max_length=1000)
    """What the records do not say, in words."""
