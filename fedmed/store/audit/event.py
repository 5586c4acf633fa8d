"""One thing that happened: who did what to what, and how it ended. No patient's data: a fixed list of keys, and caps."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from fedmed.wire.visible import visible

ROLES = ("center", "site", "operator", "researcher", "auditor")
"""The nodes themselves, and people."""
OUTCOMES = ("done", "refused", "failed")
_KINDS = """
    access alert approve archive backup config data enrol epoch export invite join login model prune refuse release renew
    restore revoke round run start stop withdraw
"""
KINDS = tuple(_KINDS.split())
"""First words of an action; more may follow after dots, such as `round.commit`."""
_DETAILS = """
    bytes cases certificate code cohort dataset delta digest epoch epsilon expires fab federation fingerprint layout limit
    log_size members mode model number peer policy purpose quorum seconds segment sites version wheel words
"""
DETAILS = frozenset(_DETAILS.split())
"""All keys that details may have."""
MOST = {"who": 128, "resource": 256, "reason": 1024}
MOST_DETAIL, MOST_NUMBER = 256, 1 << 53
"""Letters of a text, and the largest whole number that every reader of JSON keeps exactly."""
_ACTION = re.compile(r"[a-z][a-z0-9_]{0,31}(\.[a-z][a-z0-9_]{0,31}){0,3}")
Detail = str | int | float | bool | None


@dataclass(frozen=True)
class Event:
    """One line of an audit log."""

    unix: float
    """Seconds since 1970."""
    who: str
    """A person's or a node's name."""
    role: str
    """One of `ROLES`."""
    action: str
    """Begins with one of `KINDS`."""
    resource: str
    """What it was done to: a data set, a run, a member, a file's digest; never a patient."""
    outcome: str
    """One of `OUTCOMES`."""
    reason: str = ""
    round: int | None = None
    details: Mapping[str, Detail] = field(default_factory=dict)
    """Keys of `DETAILS` alone."""

    def as_json(self) -> dict[str, Any]:
        """For a line, and for programs."""
        return asdict(self)


FIELDS = tuple(each.name for each in fields(Event))


def fitted(text: str, most: int) -> str:
    """`text` from elsewhere as an event takes it: what steers a terminal spelled out, and cut to `most` letters."""
    shown = visible(text)
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def event(
    unix: float,
    who: str,
    role: str,
    action: str,
    resource: str,
    outcome: str = "done",
    *,
    reason: str = "",
    round: int | None = None,
    **details: Detail,
) -> Event:
    """An event whose texts are made to fit, so that a hostile name or a long reason does not keep it out of the log."""
    told = {key: fitted(each, MOST_DETAIL) if isinstance(each, str) else each for key, each in details.items()}
    texts = (fitted(text, MOST[name]) for name, text in (("who", who), ("resource", resource), ("reason", reason)))
    who, resource, reason = texts
    return Event(unix, who, role, action, resource, outcome, reason, round, told)


def read(body: dict[str, Any]) -> Event:
    """The event of a line. Raises ValueError, TypeError for what is none."""
    if set(body) != set(FIELDS):
        raise ValueError(f"the fields {', '.join(sorted(body))[:200]}; allowed are just {', '.join(FIELDS)}")
    found = Event(**body)
    if faults := list(faults_of(found)):
        raise ValueError("; ".join(faults))
    return found


def faults_of(said: Event) -> Iterator[str]:
    """What no event has, what is allowed instead."""
    if not _is_number(said.unix) or not 0 <= said.unix < MOST_NUMBER:
        yield f"unix is {said.unix!r}; it is seconds since 1970"
    for name, most in MOST.items():
        yield from _text_faults(name, getattr(said, name), most)
    if said.role not in ROLES:
        yield f"role is {said.role!r}; allowed are {', '.join(ROLES)}"
    if said.outcome not in OUTCOMES:
        yield f"outcome is {said.outcome!r}; allowed are {', '.join(OUTCOMES)}"
    action = said.action if isinstance(said.action, str) else ""
    if not _ACTION.fullmatch(action) or action.split(".")[0] not in KINDS:
        yield f"action is {said.action!r}; it begins with one of {', '.join(KINDS)}"
    if said.round is not None and (type(said.round) is not int or not 0 <= said.round < MOST_NUMBER):
        yield f"round is {said.round!r}; it is a whole number from 0, or nothing"
    if not isinstance(said.details, Mapping):
        yield f"details are a {type(said.details).__name__}; they are names and values"
        return
    for key, value in said.details.items():
        yield from _detail_faults(key, value)


def _detail_faults(key: str, value: Any) -> Iterator[str]:
    if key not in DETAILS:
        yield f"detail {key!r}; allowed are {', '.join(sorted(DETAILS))}"
    elif isinstance(value, str):
        yield from _text_faults(f"detail {key}", value, MOST_DETAIL)
    elif value is not None and not isinstance(value, bool) and not _is_number(value):
        yield f"detail {key} is {value!r:.80}; allowed are a text, a number below 2^53, true, false, nothing"


def _text_faults(name: str, value: Any, most: int) -> Iterator[str]:
    if not isinstance(value, str):
        yield f"{name} is a {type(value).__name__}; it is a text"
    elif len(value) > most:
        yield f"{name} has {len(value)} letters; allowed are {most}"
    elif visible(value) != value:
        yield f"{name} is {value!r}; control characters are spelled out first (`event` does)"


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) < MOST_NUMBER if isinstance(value, int) else math.isfinite(value)
