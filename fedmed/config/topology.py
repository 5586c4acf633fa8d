"""Where everybody is: center, regions, clinics, devices, their machines and lines, and what befalls them.

A scenario with a `topology` runs in virtual time (`fedmed.twin`). Groups stand for many of the same kind: `count: 40` makes
forty clinics whose cases, speed and hours are drawn by the scenario's seed. Each quantity has its unit beside it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from fedmed.config.part import Part
from fedmed.config.quantities import (
    ByteRate,
    Bytes,
    Delay,
    Money,
    Operations,
    Rate,
    Seconds,
    Share,
    Skew,
    Span,
    Watts,
    standing,
)
from fedmed.config.recorded import Recorded
from fedmed.config.written import BetweenKeys

MOST_MEMBERS = 10_000_000
"""Clinics and devices, all together."""
CENTER = "center"
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]"
HOURS = f"^{_TIME}-{_TIME}$"


def _like(pattern: str, what: str, example: str) -> Any:
    return Field(pattern=pattern, examples=[example], json_schema_extra={"$comment": what})


Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
Count = Annotated[int, Field(ge=1, le=MOST_MEMBERS)]
Hours = Annotated[str, _like(HOURS, "hours of a day", "07:00-19:00")]
Time = Annotated[str, _like(f"^{_TIME}$", "a time of day", "08:00")]
Precision = Literal["fp32", "tf32", "fp16", "bf16", "int8"]


class Machine(Part):
    """What a machine can do; what is not stated is that of the profile it is `like`."""

    like: Name | None = None
    """A profile that is built in (`fedmed plan --profiles`), which the keys below change; a machine of
    this file may have its name."""
    speed: dict[Precision, Operations] = Field(default_factory=dict)
    """Peak operations a second by precision, dense."""
    memory: Bytes | None = None
    """Of the accelerator; of the processor where it has none."""
    bandwidth: ByteRate | None = None
    """Between its memory and what computes."""
    power: Watts | None = None
    """While it works."""
    idle: Watts | None = None
    """While it does not."""
    used: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of the peak that training of a network reaches."""
    price: Money | None = None
    """Of buying one."""
    step: Span | None = None
    """Measured: seconds for one optimiser step of this scenario, in place of what `speed` says."""

    def __hash__(self) -> int:
        return hash(self.model_dump_json())  # `speed` has no hash of its own


class Line(Part):
    """What a line carries."""

    up: Rate
    """Away from the one that the line belongs to."""
    down: Rate
    """Towards it."""
    latency: Delay = standing("0 s")
    """One way."""
    jitter: Delay = standing("0 s")
    """Standard deviation of the latency."""
    loss: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Share of packets that are lost; what is lost is sent again and slows the rest (Mathis et al. 1997). A line that loses
    more than half is none: that is a fault, `cut`."""
    cap: Bytes | None = None
    """Most that it carries in 30 days, both ways together; nothing after that until the month is over."""


class Presence(Part):
    """When somebody takes part."""

    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Of the time, or of its `hours`; spells of presence and absence have exponential lengths."""
    spell: Span = standing("8 h")
    """Mean length of a spell of presence."""
    hours: Hours | None = None
    """Local hours in which it takes part, one time for all; over midnight where the end comes first; always where null."""


class Cases(Part):
    """How many training cases the members of a group have: log-normal."""

    median: Annotated[float, Field(gt=0, le=1e9)] = 500.0
    spread: Annotated[float, Field(ge=0, le=5)] = 0.0
    """Standard deviation of the logarithm; 0: all have the median."""


class Slower(Part):
    """Members that are slower than their machine says, each round anew."""

    share: Share = 0.0
    """Of the rounds."""
    times: Annotated[float, Field(ge=1, le=1000)] = 4.0
    """So many times as long."""


class Members(Part):
    """Many of one kind."""

    name: Name
    count: Count = 1
    machine: Name
    """A profile: built in, or of `machines`."""
    line: Name
    """Of `lines`: to the tier above."""
    presence: Presence = Presence()
    cases: Cases = Cases()
    slower: Slower = Slower()
    dropout: Share = 0.0
    """Chance that one that was asked never answers, each round anew."""
    skew: Seconds = standing("0 s")
    """Standard deviation of its clock's error."""


class Devices(Members):
    """Boxes beside scanners, so many at each clinic of the group."""


class Clinics(Members):
    """Hospitals and practices of one kind."""

    region: Name | None = None
    """The region that they belong to; directly under the center where null."""
    devices: tuple[Devices, ...] = ()
    """At each of them."""
    trains: bool = True
    """Whether the clinic itself has cases; where not, its devices alone do."""


class Region(Part):
    """A tier between clinics and center that folds what its clinics send into one sum."""

    name: Name
    under: Name = CENTER
    """The tier above: the center or another region."""
    machine: Name
    line: Name


class Center(Part):
    """The hospital in the middle."""

    machine: Name = "a100"
    line: Name


class Fault(Part):
    """Something that befalls somebody at a time, or by chance."""

    kind: Literal["cut", "dark", "crash", "disk full", "clock", "slow", "lies"]
    """`cut`: the line carries nothing; `dark`: it is away altogether; `crash`: what runs ends and begins anew; `disk full`:
    nothing can be kept; `clock`: its clock is wrong by `by`; `slow`: it takes `times` as long; `lies`: a center that asks
    for what it must not (crafted cohorts, stale heads), to see it refused."""
    who: str = Field(min_length=1, max_length=160)
    """`center`, a region, a group of clinics, `GROUP/3` for its third member, `GROUP/DEVICES` for these devices of all its
    members, `GROUP/3/DEVICES/2` for the second of them at the third."""
    at: Seconds | None = None
    """Since the run began; or give `every`."""
    every: Span | None = None
    """Mean time between two, for each member; drawn by the seed."""
    lasts: Seconds = standing("0 s")
    """How long; of `crash` until what runs begins anew. A `clock` and a center that lies stay so where it is 0 s."""
    share: Share = 1.0
    """Of the members named that it befalls."""
    by: Skew = standing("0 s")
    """Of `clock` alone: how far it goes ahead, or behind below 0 s."""
    times: Annotated[float, Field(ge=1, le=1000)] = 1.0
    """Of `slow` alone: so many times as long."""

    @model_validator(mode="after")
    def _once_or_often(self) -> Fault:
        if (self.at is None) == (self.every is None):
            raise ValueError("give exactly one of at and every")
        return self


class Topology(Part):
    """All tiers of a federation."""

    machines: dict[Name, Machine] = Field(default_factory=dict)
    """Profiles of this file's own."""
    lines: dict[Name, Line] = Field(min_length=1)
    center: Center
    regions: tuple[Region, ...] = ()
    clinics: tuple[Clinics, ...] = Field(min_length=1)
    faults: tuple[Fault, ...] = ()
    begins: Time = "08:00"
    """Local time at which the run begins."""
    cohort: Count | None = None
    """Clinics asked in each round, drawn by the seed from those that are there; all where null."""
    over: Annotated[float, Field(ge=1, le=10)] = 1.0
    """So many times as many are asked as `cohort` says, and the first ones count."""
    learning: Literal["real", "modelled"] = "real"
    """`modelled`: nothing is learned, all steps take the time that they would take."""
    masks: Literal["real", "timed", "none"] = "real"
    """`timed`: not made, their time is counted; a report says so wherever they are not real."""
    recorded: Recorded | None = None
    """Of a real federation that this is the twin of (`fedmed twin record`)."""

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    @model_validator(mode="after")
    def _all_names_lead_somewhere(self) -> Topology:
        from fedmed.config.topology_faults import faults_of  # which takes what is left out from the models above

        if faults := list(faults_of(self.model_dump(mode="json"))):
            raise BetweenKeys(faults)
        return self
