"""Sites of a simulation that attack the federation, so that rules which withstand them can be compared.

What each does is in `fedmed.learning.attacks`, a file for each with its paper. Clinics and centers refuse the section.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fedmed.config.part import Part
from fedmed.config.written import Found, Written

Kind = Literal["label-flip", "backdoor", "scaled", "sign-flip"]
OF_KIND: dict[str, tuple[str, ...]] = {
    "label-flip": ("source", "target", "cases"),
    "backdoor": ("target", "cases", "trigger"),
    "scaled": ("factor",),
    "sign-flip": ("factor",),
}
"""The keys that each kind reads, beside those of all kinds."""
_OWN = tuple(dict.fromkeys(key for keys in OF_KIND.values() for key in keys))
_NEEDED = {"scaled": ("factor",), "backdoor": ("target",)}


class Trigger(Part):
    """What a backdoored case has in it: a square or cube in the last corner of an image, the last columns of a table."""

    size: int = Field(3, ge=1, le=1024)
    """Voxels of its sides, or columns."""
    value: float | None = Field(None, ge=-1e6, le=1e6)
    """Intensity as the site stores it; the largest of each case itself when absent."""


class Attacker(Part):
    """Sites that attack in one way. A site may attack in several: a backdoor that is scaled as well has two entries."""

    who: str = Field(min_length=1, max_length=200)
    """A site's name; `*` stands for any text, so that `small#*` are the members of a topology's group `small`."""
    count: int | None = Field(None, ge=0, le=1_000_000)
    """So many of those named, drawn by the run's seed; fewer are always among more. All where neither is given."""
    share: Annotated[float, Field(ge=0, le=1)] | None = None
    """Such a share of those named, rounded, drawn in the same way."""
    kind: Kind
    since: int = Field(1, ge=1, le=100_000)
    """The first round in which they attack; before it they are honest."""
    factor: float | None = Field(None, gt=0, le=1e6)
    """`scaled`: times the site's true change, has to be given. `sign-flip`: times its opposite, 1 when absent."""
    source: str | None = Field(None, min_length=1, max_length=200)
    """`label-flip`: the class whose cases are called `target`; without both the order of the classes is turned round."""
    target: str | None = Field(None, min_length=1, max_length=200)
    """`label-flip` and `backdoor`: the class that the attacker wants."""
    cases: float = Field(1.0, gt=0, le=1)
    """`label-flip` and `backdoor`: share of the site's training cases that are changed, drawn by the run's seed."""
    trigger: Trigger = Trigger()
    """`backdoor`: what is put into the cases."""


def attacker_faults(scenario: Written) -> Found:
    """What no key of the section shows alone, key by key: what has no effect, what lacks, and where nobody could attack."""
    attackers = scenario.at("attackers")
    for part in attackers.each():
        yield from _idle(part)
        yield from _lacking(part)
        yield from _late(part, scenario.at("rounds").whole())
    if not list(attackers.each()):
        return
    if scenario.at("topology").at("learning").text("real") == "modelled":
        yield attackers.path, "nobody trains where topology.learning is modelled; write learning: real, or leave them out"


def _idle(part: Written) -> Found:
    kind = part.at("kind").text()
    for key in _OWN if kind in OF_KIND else ():
        if part.at(key).is_there and key not in OF_KIND[str(kind)] and not _is_default(part.at(key)):
            yield part.at(key).path, f"of no effect on {kind}, which reads {', '.join(OF_KIND[str(kind)])}; leave it out"
    if part.at("count").is_there and part.at("share").is_there:
        yield part.at("share").path, "given beside count; say either how many, or which share"


def _is_default(key: Written) -> bool:
    """Whether it is what is written out for a key that was left out."""
    field = Attacker.model_fields[str(key.path[-1])].default
    default = field.model_dump() if isinstance(field, Part) else field
    return bool(key.value == default)


def _lacking(part: Written) -> Found:
    kind = part.at("kind").text()
    for key in _NEEDED.get(str(kind), ()):
        if not part.at(key).is_there:
            yield part.path, f"lacks {key}, without which {kind} has nothing to do; write {key}"
    if kind == "label-flip" and part.at("source").is_there != part.at("target").is_there:
        yield part.path, "has one of source and target; give both, or none to turn the order of the classes round"
    elif kind == "label-flip" and part.at("source").is_there and part.at("source").value == part.at("target").value:
        yield part.at("target").path, "the same class as source, so that nothing would be flipped; name another class"


def _late(part: Written, rounds: int | None) -> Found:
    since = part.at("since").whole(1)
    if rounds is not None and since is not None and since > rounds >= 1:
        yield part.at("since").path, f"got {since}, and the run has {rounds} rounds, so that nobody would attack"
