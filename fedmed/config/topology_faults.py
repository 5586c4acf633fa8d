"""What no key of a topology shows alone: names of nobody, regions in a circle, more asked than there ever are.

Works on what is written, key by key, so that it says what it can whatever else is wrong there. A path is that of the key to
mend.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from fedmed.config.allowed import nearest, shown
from fedmed.config.cohort_faults import cohort_faults, faults_beside, hours_faults, size_faults
from fedmed.config.document import dotted
from fedmed.config.mishap_faults import mishap_faults
from fedmed.config.topology import CENTER, Center
from fedmed.config.written import Found, Written

_WHOLE = ("memory", "bandwidth", "power", "idle", "used", "price")
"""What a machine has to state that is like no other."""
_MOST_SHOWN = 30
_MOST_LIKENED = 300  # names: to look for the nearest among more takes long


def faults_of(topology: Any, machines: Collection[str] | None = None) -> Found:
    """Path below `topology` of the key to mend and what to say, for each fault of a topology in a file's plain values.

    `machines`: names of the profiles that are built in. Where they are not given no machine's name is looked up.
    """
    whole = Written(topology)
    yield from _names(whole)
    yield from _lines(whole)
    yield from _machines(whole, machines)
    yield from _regions(whole)
    yield from _idle(whole)
    yield from size_faults(whole)
    yield from hours_faults(whole)
    yield from cohort_faults(whole)
    yield from mishap_faults(whole)


def faults_in(scenario: Any, machines: Collection[str] | None = None) -> Found:
    """As `faults_of`, of a whole scenario: also what its topology and its other sections say against each other."""
    topology = Written(scenario).at("topology")
    if isinstance(topology.value, dict):
        yield from (((*topology.path, *path), text) for path, text in faults_of(topology.value, machines))
    yield from faults_beside(scenario)


def _names(whole: Written) -> Found:
    taken: dict[str, Written] = {CENTER: whole.at(CENTER)}
    for part in (*whole.at("regions").each(), *whole.at("clinics").each()):
        yield from _taken(part, taken)
    for group in whole.at("clinics").each():
        own: dict[str, Written] = {}
        for devices in group.at("devices").each():
            yield from _taken(devices, own)
            if (name := devices.at("name").text("")) and name.isdigit():
                told = f"got {shown(name)}, which reads as a member's number in GROUP/{name}; begin with a letter"
                yield devices.at("name").path, told


def _taken(part: Written, taken: dict[str, Written]) -> Found:
    name = part.at("name").text()
    if name is not None and (first := taken.setdefault(name, part)) is not part:
        yield (
            part.at("name").path,
            f"got {shown(name)}, which is the name of {dotted(first.path)}; give each a name of its own",
        )


def _places(whole: Written) -> Iterator[Written]:
    """Everybody who has a machine and a line."""
    yield whole.at(CENTER)
    yield from whole.at("regions").each()
    for group in whole.at("clinics").each():
        yield group
        yield from group.at("devices").each()


def _lines(whole: Written) -> Found:
    lines = whole.at("lines").value
    if isinstance(lines, dict):
        for part in _places(whole):
            yield from _unknown(part.at("line"), part.at("line").text(), lines, "a line of the section lines")


def _machines(whole: Written, builtin: Collection[str] | None) -> Found:
    own = {part.path[-1]: part for part in whole.at("machines").each() if isinstance(part.value, dict)}
    for part in own.values():
        lacking = [key for key in _WHOLE if not part.at(key).is_there]
        lacking += [] if part.at("speed").at("fp32").is_there else ["speed.fp32"]
        if lacking and not part.at("like").is_there:
            yield part.path, f"lacks {', '.join(lacking)}; write them, or like: with a built-in profile that has the rest"
    if builtin is None:
        return
    for part in own.values():
        like = part.at("like")
        yield from _unknown(like, like.text(), builtin, "a built-in profile")
    known = [*map(str, own), *(name for name in builtin if name not in own)]
    for part in _places(whole):
        default = Center.model_fields["machine"].default if part.path == (CENTER,) else None
        yield from _unknown(part.at("machine"), part.at("machine").text(default), known, "a machine")


def _unknown(key: Written, name: str | None, known: Collection[str], what: str) -> Found:
    if name is not None and name not in known:
        near = nearest(name, list(known)) if len(known) <= _MOST_LIKENED else ""
        yield key.path, f"got {shown(name)}, which is not {what}{near}, allowed: {_listed(known)}"


def _listed(names: Collection[str]) -> str:
    some, rest = sorted(names)[:_MOST_SHOWN], len(names) - _MOST_SHOWN
    return (", ".join(some) or "none, for there is none") + (f" and {rest} more" if rest > 0 else "")


def _regions(whole: Written) -> Found:
    regions = {name: part for name, part in whole.at("regions").named().items() if name != CENTER}
    above = {name: part.at("under").text(CENTER) for name, part in regions.items()}
    for part in regions.values():
        yield from _unknown(part.at("under"), part.at("under").text(CENTER), [CENTER, *regions], "a tier above")
    for group in whole.at("clinics").each():
        yield from _unknown(group.at("region"), group.at("region").text(), regions.keys(), "a region")
    yield from _circles({name: under for name, under in above.items() if under is not None}, regions)
    used = {*above.values(), *(group.at("region").text() for group in whole.at("clinics").each())}
    for name, part in regions.items():
        if name not in used:
            yield part.path, f"nobody is under the region {shown(name)}; give it clinics (their key region), or take it out"


def _circles(above: Mapping[str, str], regions: Mapping[str, Written]) -> Found:
    """Each circle once, at the first of its regions in the file."""
    settled: set[str] = set()
    for name in above:
        way: dict[str, int] = {}
        while name in above and name not in settled and name not in way:
            way[name] = len(way)
            name = above[name]
        if name in way:
            circle = [*list(way)[way[name] :], name]
            told = " under ".join(circle if len(circle) <= _MOST_SHOWN else [*circle[:_MOST_SHOWN], "..."])
            yield regions[name].at("under").path, f"regions in a circle: {told}; let one of them be under {CENTER}"
        settled |= way.keys()


def _idle(whole: Written) -> Found:
    for group in whole.at("clinics").each():
        devices = group.at("devices")
        if group.at("trains").truth(True) is False and (not devices.is_there or devices.value == []):
            yield group.at("trains").path, "nobody there trains: the clinics do not, and they have no devices; take one back"
    over = whole.at("over")
    if over.number(1.0) not in (None, 1.0) and not whole.at("cohort").is_there:
        yield over.path, "of no effect without cohort, for all are asked; give cohort, or leave over out"
