"""Faults of a topology that befall nobody, or would do nothing."""

from __future__ import annotations

from collections.abc import Mapping

from fedmed.config.allowed import nearest, shown
from fedmed.config.cohort_faults import count_of
from fedmed.config.quantities import TIMES, read
from fedmed.config.topology import CENTER
from fedmed.config.written import Found, Written

_LASTING = ("cut", "dark", "disk full", "slow")
_FORMS = f"{CENTER}, a region, GROUP, GROUP/3, GROUP/DEVICES or GROUP/3/DEVICES/2"


def mishap_faults(topology: Written) -> Found:
    """Of each entry of `faults`: whom it befalls, and that it does something."""
    regions, groups = topology.at("regions").named(), topology.at("clinics").named()
    for part in topology.at("faults").each():
        if part.at("kind").text() == "lies":
            yield from _liar(part.at("who"))
        else:
            yield from _whom(part.at("who"), regions, groups)
        yield from _what(part)


def _liar(who: Written) -> Found:
    if who.text(CENTER) not in (CENTER, None):
        yield who.path, f"got {shown(who.value)}, and lies are told by the {CENTER} alone"


def _whom(who: Written, regions: Mapping[str, Written], groups: Mapping[str, Written]) -> Found:
    text = who.text()
    if not text or text == CENTER or text in regions:
        return
    name, *rest = text.split("/")
    group = groups.get(name)
    if group is None:
        known = [CENTER, *regions, *groups]
        yield who.path, f"got {shown(text)}, who is nobody here{nearest(name, known[:300])}, allowed: {_FORMS}"
    elif len(rest) == 1 and rest[0] in group.at("devices").named():
        return
    elif len(rest) in (0, 1, 3):
        yield from _member(who, group, rest)
    else:
        yield who.path, f"got {shown(text)}, allowed: {_FORMS}"


def _member(who: Written, group: Written, rest: list[str]) -> Found:
    """`rest`: what follows the group: nothing, a number, or number, devices, number."""
    name, devices = group.at("name").value, group.at("devices").named()
    if rest and not _is_one_of(rest[0], count_of(group)):
        also = f" and the devices {', '.join(devices)}" if devices else ""
        yield who.path, f"got {shown(who.value)}, and {name} has the members 1 to {count_of(group)}{also}"
    elif rest[1:] and rest[1] not in devices:
        yield who.path, f"got {shown(who.value)}, and the devices of {name} are {', '.join(devices) or 'none'}"
    elif rest[1:] and not _is_one_of(rest[2], count_of(devices[rest[1]])):
        yield who.path, f"got {shown(who.value)}, and {rest[1]} are numbered 1 to {count_of(devices[rest[1]])}"


def _is_one_of(number: str, count: int | None) -> bool:
    if count is None:
        return True
    return number.isascii() and number.isdigit() and len(number) <= 8 and 1 <= int(number) <= count


def _what(part: Written) -> Found:
    kind, by, lasts = part.at("kind").text(), _seconds(part.at("by")), _seconds(part.at("lasts"))
    times = part.at("times").number(1.0)
    if kind in _LASTING and lasts == 0:
        yield part.at("lasts").path, f"0 s, so that {kind} would be over at once; say how long it lasts, such as 30 min"
    if kind == "clock" and by == 0:
        yield part.at("by").path, "0 s, so that the clock would stay right; say by how much it is wrong, such as 90 s"
    if kind == "slow" and times == 1:
        yield part.at("times").path, "1, so that nothing would be slower; say how many times as long it takes"
    for key, does_nothing in (("by", kind != "clock" and by), ("times", kind != "slow" and times not in (1, None))):
        if kind is not None and does_nothing:
            yield part.at(key).path, f"of no effect on {kind}; leave it out"


def _seconds(key: Written) -> float | None:
    """What is written, 0 where absent; None where it is no time."""
    try:
        text = key.text("0 s")
        return None if text is None else read(text, TIMES)
    except ValueError:
        return None
