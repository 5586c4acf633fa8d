"""What a run in virtual time wrote down of its time, its machines and its lines, as frozen models."""

from __future__ import annotations

from pydantic import BaseModel, Field

from fedmed.report.parts import LENIENT, Number


class Timed(BaseModel):
    """Base of them."""

    model_config = LENIENT


class GanttRow(Timed):
    """A site in a round."""

    who: str
    bars: list[tuple[float, float, str]] = []
    """Begin and end in virtual seconds, and `down`, `work`, `up`, `wait` or `gone`."""
    lost: str = ""
    """Why nothing came of its training."""


class Gantt(Timed):
    """A round, or an attempt at one."""

    round: int | None = None
    began: float
    closed: Number = None
    """When it was over: its sum was taken, or given up."""
    deadline: Number = None
    """The one of all, where there was one."""
    ended: float
    """When the next one began."""
    rows: list[GanttRow] = []
    more: int = 0
    """Sites that are left out."""


class Use(Timed):
    """What became of a site's time, in virtual seconds, and what its line carried."""

    work_s: float
    line_s: float
    """On the line and not at work."""
    idle_s: float
    down_bytes: float
    up_bytes: float
    kwh: float | None = None
    """By its machine's profile."""


class DevicePart(Timed):
    """What became of a device's training."""

    joined: int = 0
    """Updates of its clinic that it was in."""
    missing: dict[str, int] = {}
    """Why it was not in others, and how often."""


class Virtual(Timed):
    """The time that a run with a topology was in."""

    seconds: Number = None
    learning: str = "real"
    masks: str = ""
    members: dict[str, str] = {}
    """Which member of the topology each site was."""
    regions: list[str] = []
    devices: dict[str, DevicePart] = {}
    gantt: Gantt | None = None
    """The longest round."""
    use: dict[str, Use] = {}


class Tier(Timed):
    """Members of one kind: shares of their time, and sums over all of them."""

    who: str
    tier: str
    members: int = Field(ge=1)
    machine: str
    work: float
    line: float
    idle: float
    down_bytes: float
    up_bytes: float
    kwh: float
    cost: float


class Network(Timed):
    """Bytes on the clinics' lines, in spans of `step_s` virtual seconds from the beginning on."""

    step_s: float = Field(gt=0)
    down: list[float] = []
    up: list[float] = []


class Reached(Timed):
    """The first round whose validation had so much of a measure; None where none had."""

    metric: str
    least: float
    round: int | None = None
    seconds: Number = None
    asked: bool = False
    """Whether somebody asked for so much; else it is a little below the best that there was."""


class Lost(Timed):
    """An attempt at a round of which nothing came."""

    round: int
    attempt: int
    why: str = ""


class Answers(Timed):
    """What a run came to; what is of tiers is there in virtual time alone."""

    target: Reached | None = None
    lost: list[Lost] = []
    tiers: list[Tier] = []
    kwh: Number = None
    cost: Number = None
    work: Number = None
    idle: Number = None
    priors: list[str] = []
    waited_for: dict[str, int] = {}
    """Rounds whose last answer was of a member of the group."""
    network: Network | None = None
