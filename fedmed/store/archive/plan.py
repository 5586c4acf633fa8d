"""Which studies go to the archive. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from fedmed.store.archive.holding import Kept
from fedmed.store.archive.pack import MOST_BYTES, MOST_OBJECTS

DAY_S = 86_400.0


@dataclass(frozen=True)
class Rule:
    """When a study goes; None for no limit."""

    after_s: float | None = None
    """After its last object came."""
    keep_bytes: int | None = None
    """What stays at most."""


@dataclass(frozen=True)
class Group:
    """All objects of one study that are here."""

    study: str
    objects: tuple[Kept, ...]
    """In the order of names."""

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return sum(each.size for each in self.objects)

    @property
    def came(self) -> float:
        """When the last of it came."""
        return max(each.unix for each in self.objects)

    def packs(self) -> Iterator[tuple[Kept, ...]]:
        """As few as can be, none of more than a pack may hold, and the same ones again."""
        taken: list[Kept] = []
        for each in self.objects:
            if taken and (len(taken) == MOST_OBJECTS or sum(one.size for one in taken) + each.size > MOST_BYTES):
                yield tuple(taken)
                taken = []
            taken.append(each)
        yield tuple(taken)


@dataclass(frozen=True)
class Due:
    """What is to go."""

    go: tuple[Group, ...]
    """The oldest first."""
    held: tuple[Group, ...]
    """Those that would go, and stay since a data set reads them."""


def groups_of(kept: Iterable[Kept]) -> list[Group]:
    """By study, the oldest first."""
    found: dict[str, list[Kept]] = {}
    for each in kept:
        found.setdefault(each.study, []).append(each)
    made = [Group(study, tuple(sorted(objects, key=lambda one: one.name))) for study, objects in found.items()]
    return sorted(made, key=lambda group: (group.came, group.study))


def due(groups: Sequence[Group], rule: Rule, is_used: Callable[[Kept], bool], now: float) -> Due:
    """What is to go at `now` (seconds since 1970). What is dated later than now is young: a clock set back moves nothing."""
    beyond = sum(each.size for each in groups) - rule.keep_bytes if rule.keep_bytes is not None else 0
    go: list[Group] = []
    held: list[Group] = []
    for group in groups:
        is_old = rule.after_s is not None and now - group.came > rule.after_s
        if not is_old and beyond <= 0:
            continue
        if any(map(is_used, group.objects)):
            held.append(group)
            continue
        go.append(group)
        beyond -= group.size
    return Due(tuple(go), tuple(held))
