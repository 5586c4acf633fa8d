"""What a run in virtual time came to, tier by tier: work and idle time, bytes, energy, money, and what those rest on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fedmed.config.topology import CENTER, Topology
from fedmed.twin.planning import money
from fedmed.twin.planning.energy import JOULES_A_KWH, joules
from fedmed.twin.profiles import Profile, profiles_of
from fedmed.twin.roster import Group, groups_of
from fedmed.twin.use import Spent

USED = ("power", "idle", "price")
KNOWN = ("measured", "scenario")
"""Of the ways in which a number is known, those that are of these very machines."""


@dataclass(frozen=True)
class Tier:
    """Members of one kind; shares of their time, which are 1 together, and sums over all of them."""

    who: str
    tier: str
    """`clinics`, `devices`, `region` or `center`."""
    members: int
    machine: str
    work: float
    line: float
    """With a message under way, or waiting to be heard, and not at work."""
    idle: float
    down_bytes: float
    up_bytes: float
    kwh: float
    cost: float
    """Power, its cooling, and wear over three years, in the currency of the profiles."""


def answers(topology: Topology, spent: Mapping[str, Spent], seconds: float) -> dict[str, Any]:
    """For machines: a tier for each kind in a run of so many virtual seconds, all of them together, and the priors.

    `work` and `idle` at the top are of clinics and devices. Raises ConfigError for machines that nobody knows.
    """
    known = profiles_of(topology)
    tiers = [_tier(group, spent.get(group.name, Spent()), known[group.machine], seconds) for group in groups_of(topology)]
    own = [each for each in tiers if each.tier in ("clinics", "devices")]
    many = sum(each.members for each in own)
    return {
        "tiers": [asdict(each) for each in tiers],
        "kwh": sum(each.kwh for each in tiers),
        "cost": sum(each.cost for each in tiers),
        "work": sum(each.work * each.members for each in own) / many,
        "idle": sum(each.idle * each.members for each in own) / many,
        "priors": priors(known[name] for name in dict.fromkeys(each.machine for each in tiers)),
    }


def _tier(group: Group, spent: Spent, profile: Profile, seconds: float) -> Tier:
    whole = group.count * seconds
    work, line = (part / whole if whole else 0.0 for part in (spent.work_s, spent.line_s))
    kwh = joules(profile, spent.work_s, whole) / JOULES_A_KWH
    return Tier(
        who=group.name,
        tier=_kind(group),
        members=group.count,
        machine=group.machine,
        work=work,
        line=line,
        idle=1.0 - work - line,
        down_bytes=spent.down_bytes,
        up_bytes=spent.up_bytes,
        kwh=kwh,
        cost=money.of_run(kwh, group.count * profile.price, seconds),
    )


def _kind(group: Group) -> str:
    if group.members is None:
        return "center" if group.name == CENTER else "region"
    return "devices" if "/" in group.name else "clinics"


def priors(profiles: Iterable[Profile]) -> list[str]:
    """Which numbers of energy and money are not of these very machines, and what they are instead."""
    found = []
    for profile in profiles:
        kinds = [(key, profile.sources[key][0]) for key in USED if key in profile.sources]
        doubted = [f"{key} is {kind}" for key, kind in kinds if kind not in KNOWN]
        if doubted:
            found.append(f"{profile.name}: {', '.join(doubted)}")
    return found


def by_group(members: Mapping[str, str], use: Mapping[str, Mapping[str, float]]) -> dict[str, Spent]:
    """What sites used, by the group of the topology's member that each of them is: `ward/3` is of `ward`, `ward/3/us/1` of
    `ward/us`."""
    found = dict[str, Spent]()
    for site, each in use.items():
        group = "/".join(members[site].split("/")[::2])
        spent = Spent(each["work_s"], each["line_s"], each["down_bytes"], each["up_bytes"])
        found[group] = found.get(group, Spent()) + spent
    return found


def waited_for(last: Sequence[str]) -> dict[str, int]:
    """Rounds that waited for a member of each group, of whom the last answer was: `ward/3` is of `ward`."""
    found = dict[str, int]()
    for who in last:
        group = who.rsplit("/", 1)[0] if "/" in who else who
        found[group] = found.get(group, 0) + 1
    return dict(sorted(found.items(), key=lambda each: -each[1]))
