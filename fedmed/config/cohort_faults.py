"""Whether a topology has as many as its rounds ask: too many altogether, more asked than are ever there, too few to hide."""

from __future__ import annotations

import math
import re
from typing import Any

from fedmed.config.online import DAY, Group, Online, best, minutes
from fedmed.config.privacy import Privacy
from fedmed.config.topology import HOURS, MOST_MEMBERS
from fedmed.config.written import Found, Written


def count_of(part: Written) -> int | None:
    """How many a group stands for; None where what is written is no such number."""
    count = part.at("count").whole(1)
    return count if count is not None and 1 <= count <= MOST_MEMBERS else None


def size_faults(topology: Written) -> Found:
    """More members altogether than a run can hold."""
    members = 0
    for group in topology.at("clinics").each():
        devices = sum(count_of(each) or 0 for each in group.at("devices").each())
        members += (count_of(group) or 0) * (1 + devices)
    if members > MOST_MEMBERS:
        told = f"got {members} clinics and devices altogether, allowed: at most {MOST_MEMBERS}"
        yield topology.at("clinics").path, f"{told}; devices count at each clinic of their group"


def hours_faults(topology: Written) -> Found:
    """Hours that end when they begin."""
    for group in topology.at("clinics").each():
        for part in (group, *group.at("devices").each()):
            hours = part.at("presence").at("hours")
            if (span := _hours(hours)) is not None and span[0] == span[1]:
                yield hours.path, f"got {hours.value}, hours without length; leave hours out for the whole day"


def cohort_faults(topology: Written) -> Found:
    """More clinics asked in a round than there are, or than are ever there at one time."""
    cohort, over = topology.at("cohort").whole(), topology.at("over").number(1.0)
    groups = _groups(topology)
    if cohort is None or over is None or not groups or not math.isfinite(cohort * over):
        return  # of what is no number of clinics another rule speaks
    asked = math.ceil(cohort * over - 1e-9)  # over is a fraction as people write it: 1.1 times 10 is 11
    online = best(groups)
    if asked > online.hardly_more:
        key = topology.at("cohort" if cohort > online.hardly_more else "over")
        told = f"asks {asked} clinics in a round" + ("" if over == 1 else f", {over:g} times the cohort")
        yield key.path, f"{told}, {_told(online, sum(group.count for group in groups))}"


def _told(online: Online, total: int) -> str:
    if online.most == total == online.hardly_more:
        return f"and there are {total}; ask fewer"
    if online.hardly_more == online.most:
        return (
            f"and of the {total} at most {online.most} are ever there at one time (from {online.time}); ask fewer, or widen "
            "their presence.hours"
        )
    return (
        f"and of the {total} on average {online.mean:.4g} are there at the best of times (from {online.time}), hardly ever "
        f"more than {online.hardly_more}; ask fewer, or raise their presence.share"
    )


def _groups(topology: Written) -> list[Group]:
    """The clinics as they come and go; none where they cannot be counted for another fault."""
    parts = list(topology.at("clinics").each())
    groups = [_group(part) for part in parts]
    return [group for group in groups if group is not None] if None not in groups else []


def _group(part: Written) -> Group | None:
    presence = part.at("presence")
    count, share, hours = count_of(part), presence.at("share").number(1.0), _hours(presence.at("hours"))
    if count is None or share is None or hours is None or not 0 < share <= 1:
        return None
    return Group(count, share, hours)


def _hours(hours: Written) -> tuple[int, int] | None:
    if not hours.is_there:
        return 0, DAY
    text = hours.text()
    return minutes(text) if text and re.fullmatch(HOURS, text) else None


def faults_beside(scenario: Any) -> Found:
    """What the topology of a scenario, in a file's plain values, and its other sections say against each other."""
    whole = Written(scenario)
    by = whole.at("data").at("partition").at("by")
    if whole.at("topology").is_there:
        yield from _few(whole)
        yield from _dealt(whole)
    elif by.text() == "topology":
        yield by.path, "got topology, and the scenario has none; write the section topology, or deal by another rule"


def _few(scenario: Written) -> Found:
    """Fewer clinics in a round than a sum has to be over."""
    privacy, cohort = scenario.at("privacy"), scenario.at("topology").at("cohort")
    groups = _groups(scenario.at("topology"))
    least = privacy.at("least_sum").whole(Privacy.model_fields["least_sum"].default)
    asked = cohort.whole() if cohort.is_there else sum(group.count for group in groups) if groups else None
    is_masked = privacy.at("secure_aggregation").text("malicious") in ("malicious", "hbc")
    if is_masked and least is not None and asked is not None and 0 < asked < least:
        key = cohort if cohort.is_there else scenario.at("topology").at("clinics")
        yield key.path, f"got {asked} clinics in a round, and a sum is over {least} at least (privacy.least_sum); have more"


def _dealt(scenario: Written) -> Found:
    """Cases dealt to another number of sites than there are members that train."""
    topology, partition = scenario.at("topology"), scenario.at("data").at("partition")
    is_dealt = partition.at("by").text("natural") in ("iid", "dirichlet", "shards")
    sites, trainers = partition.at("sites").whole(4), _trainers(topology)
    if is_dealt and topology.at("learning").text("real") == "real" and None not in (sites, trainers) and sites != trainers:
        yield (
            partition.at("sites").path,
            f"got {sites} sites, and {trainers} members of the topology train; write {trainers}, or by: topology, which "
            "deals to each its share",
        )


def _trainers(topology: Written) -> int | None:
    """How many members train; None where that cannot be said for another fault."""
    found = 0
    for group in topology.at("clinics").each():
        count, trains = count_of(group), group.at("trains").truth(True)
        devices = [count_of(each) for each in group.at("devices").each()]
        if count is None or trains is None or None in devices:
            return None
        found += count * (trains + sum(each or 0 for each in devices))
    return found
