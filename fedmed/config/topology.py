"""Where everybody is: center, regions, clinics, devices, their machines and lines, and what befalls them.

A scenario with a `topology` runs in virtual time (`fedmed.twin`). Groups stand for many of the same kind: `count: 40` makes
forty clinics whose cases, speed and hours are drawn by the scenario's seed. Each quantity has its unit beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from fedmed.config.part import Part
from fedmed.config.quantities import ByteRate, Bytes, Money, Operations, Rate, Seconds, Share, Skew, Span, Watts

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
Count = Annotated[int, Field(ge=1, le=10_000_000)]
Hours = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$")]
Precision = Literal["fp32", "tf32", "fp16", "bf16", "int8"]
CENTER = "center"


class Machine(Part):
    """What a machine can do; what is not stated is that of the profile it is `like`."""

    like: Name | None = None
    """A profile that is built in (`fedmed plan --profiles`), which the keys below change."""
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
    used: Share | None = None
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
    latency: Seconds = 0.0
    """One way."""
    jitter: Seconds = 0.0
    """Standard deviation of the latency."""
    loss: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of packets that are lost; what is lost is sent again and slows the rest (Mathis et al. 1997)."""
    cap: Bytes | None = None
    """Most that it carries in 30 days, both ways together; nothing after that until the month is over."""


class Presence(Part):
    """When somebody takes part."""

    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Of the time; spells of presence and absence have exponential lengths."""
    spell: Span = 8 * 3600.0
    """Mean length of a spell of presence."""
    hours: Hours | None = None
    """Local hours in which it takes part, such as 07:00-19:00."""


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
    skew: Skew = 0.0
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
    who: str = Field(min_length=1, max_length=130)
    """A name of a group, `group/3` for one member, `group/3/device/2` for a device, `center`, or a region."""
    at: Seconds | None = None
    """Since the run began; or give `every`."""
    every: Span | None = None
    """Mean time between two, for each member; drawn by the seed."""
    lasts: Seconds = 0.0
    share: Share = 1.0
    """Of the members named that it befalls."""
    by: Skew = 0.0
    times: Annotated[float, Field(ge=1, le=1000)] = 1.0

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
    begins: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = "08:00"
    """Local time at which the run begins."""
    cohort: Count | None = None
    """Clinics asked in each round, drawn by the seed from those that are there; all where null."""
    over: Annotated[float, Field(ge=1, le=10)] = 1.0
    """So many times as many are asked as `cohort` says, and the first ones count."""
    learning: Literal["real", "modelled"] = "real"
    """`modelled`: nothing is learned, all steps take the time that they would take."""
    masks: Literal["real", "timed", "none"] = "real"
    """`timed`: not made, their time is counted; a report says so wherever they are not real."""

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    @model_validator(mode="after")
    def _all_names_lead_somewhere(self) -> Topology:
        if faults := list(faults_of(self)):
            raise ValueError("; ".join(faults))
        return self


def faults_of(topology: Topology) -> Iterator[str]:
    """What no key shows alone: names that are twice, or of nobody, and regions in a circle."""
    yield from _twice("a region", [each.name for each in topology.regions])
    yield from _twice("a group of clinics", [each.name for each in topology.clinics])
    for clinics in topology.clinics:
        yield from _twice(f"devices of {clinics.name}", [each.name for each in clinics.devices])
    yield from _unknown_lines(topology)
    yield from _circles({each.name: each.under for each in topology.regions})
    regions = {each.name for each in topology.regions}
    for clinics in topology.clinics:
        if clinics.region is not None and clinics.region not in regions:
            yield f"clinics {clinics.name}: region {clinics.region!r} is none of {_listed(regions)}"
    total = sum(each.count for each in topology.clinics)
    if topology.cohort is not None and topology.cohort * topology.over > total:
        yield f"cohort {topology.cohort} times over {topology.over:g} is more than the {total} clinics there are"
    yield from _strangers(topology, regions)


def _twice(what: str, names: list[str]) -> Iterator[str]:
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"{name!r} names {what} twice"


def _unknown_lines(topology: Topology) -> Iterator[str]:
    known = topology.lines
    for where, name in _lines(topology):
        if name not in known:
            yield f"{where}: line {name!r} is none of {_listed(known)}"


def _lines(topology: Topology) -> Iterator[tuple[str, str]]:
    yield CENTER, topology.center.line
    for region in topology.regions:
        yield f"region {region.name}", region.line
    for clinics in topology.clinics:
        yield f"clinics {clinics.name}", clinics.line
        for devices in clinics.devices:
            yield f"devices {clinics.name}/{devices.name}", devices.line


def _circles(under: Mapping[str, str]) -> Iterator[str]:
    for name, above in under.items():
        if above != CENTER and above not in under:
            yield f"region {name}: under {above!r}, which is neither {CENTER} nor a region"
        seen = [name]
        while above in under and above not in seen:
            seen.append(above)
            above = under[above]
        if above == name and min(seen) == name:  # each circle once
            yield f"regions in a circle: {' under '.join([*seen, name])}"


def _strangers(topology: Topology, regions: set[str]) -> Iterator[str]:
    groups = {each.name: each for each in topology.clinics}
    for fault in topology.faults:
        group, *rest = fault.who.split("/")
        if not rest and (group == CENTER or group in regions):
            continue
        if group not in groups:
            yield f"a fault of {fault.who!r}: {group!r} is neither {CENTER}, a region nor one of {_listed(groups)}"
        elif rest and not (rest[0].isdigit() and 1 <= int(rest[0]) <= groups[group].count):
            yield f"a fault of {fault.who!r}: {group} has the members 1 to {groups[group].count}"


def _listed(names: Mapping[str, object] | set[str]) -> str:
    return ", ".join(sorted(names)) or "none"
