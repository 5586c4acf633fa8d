"""Bars of a Gantt chart: what each member of a round did when, no two of them at once."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

DOWN, WORK, UP, WAIT, GONE = "down", "work", "up", "wait", "gone"
"""`wait`: its answer is there, and the round is not over; `gone`: no more was heard of it."""
FIRST = (WORK, UP, DOWN, WAIT, GONE)
"""Of two at once, which is shown."""
MOST_ROWS, MOST_ALIKE = 40, 4
Bar = tuple[float, float, str]


def parted(bars: Iterable[Bar]) -> list[Bar]:
    """The same time, by one bar at a time: of several at once the first of `FIRST`."""
    given = [bar for bar in bars if bar[1] > bar[0]]
    edges = sorted({edge for start, end, _ in given for edge in (start, end)})
    found = list[Bar]()
    for start, end in itertools.pairwise(edges):
        here = [part for low, high, part in given if low <= start and end <= high]
        if not here:
            continue
        part = min(here, key=FIRST.index)
        if found and found[-1][1] == start and found[-1][2] == part:
            start = found.pop()[0]
        found.append((start, end, part))
    return found


def row(
    who: str, bars: Sequence[Bar], answered: float | None, lost: str, closed: float, since: float | None = None
) -> dict[str, Any]:
    """A member in a round that was over at `closed`: `lost` says why nothing came of it, from `since` or its last bar on,
    and `answered` when its answer came."""
    last = max((end for _, end, _ in bars), default=None) if since is None else since
    rest = list[Bar]()
    if lost and last is not None:
        rest = [(last, closed, GONE)]
    elif answered is not None:
        rest = [(answered, closed, WAIT)]
    ends = closed if lost else max(answered or 0.0, last or 0.0)
    return {"who": who, "bars": parted([*bars, *rest]), "lost": lost, "ends": ends}


def chart(
    number: int | None, began: float, closed: float, ended: float, deadline_s: float | None, rows: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """The round for the report; who made it wait is on top."""
    ordered = sorted(_told_apart(rows), key=lambda each: (-each["ends"], each["who"]))
    return {
        "round": number,
        "began": began,
        "closed": closed,
        "deadline": None if deadline_s is None else began + deadline_s,
        "ended": ended,
        "rows": ordered[:MOST_ROWS],
        "more": len(rows) - min(len(ordered), MOST_ROWS),
    }


def _told_apart(rows: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """Of many rows the latest of each group and fate, so that two hundred that fared alike hide nobody."""
    if len(rows) <= MOST_ROWS:
        return rows
    kept, alike = list[dict[str, Any]](), Counter[tuple[str, bool]]()
    for each in sorted(rows, key=lambda each: (-each["ends"], each["who"])):
        fate = each["who"].rsplit("/", 1)[0], bool(each["lost"])
        alike[fate] += 1
        if alike[fate] <= MOST_ALIKE:
            kept.append(each)
    return kept


@dataclass
class _Member:
    sent: float
    heard: float | None = None
    done: float | None = None
    answered: float | None = None
    lost: str = ""

    def bars(self) -> list[Bar]:
        marks = (self.sent, self.heard, self.done, self.answered)
        pairs = zip((DOWN, WORK, UP), marks, marks[1:], strict=False)
        return [(start, end, part) for part, start, end in pairs if start is not None and end is not None and end > start]


def of_attempt(
    lines: Iterable[bytes], number: int, attempt: int, began: float, closed: float, deadline_s: float | None
) -> dict[str, Any]:
    """One attempt of a round whose learning was modelled, from the lines of its trace."""
    members, missing = dict[str, _Member](), dict[str, str]()
    wanted = (f'"round":{number},'.encode(), f'"round":{number}}}'.encode())
    for line in lines:
        if not any(each in line for each in wanted):
            continue
        told = json.loads(line)
        if told["round"] != number or told["attempt"] != attempt:
            continue
        if told["event"] == "closed":
            missing = told["missing"]
        elif told["event"] == "asked":
            _asked(members, told)
        elif (found := members.get(told["who"])) is not None:
            _befell(found, told)
    rows = [_shown(who, found, missing.get(who, ""), began, closed) for who, found in members.items()]
    return chart(number, began, closed, max([closed, *(each["ends"] for each in rows)]), deadline_s, rows)


def _asked(members: dict[str, _Member], told: dict[str, Any]) -> None:
    if (holder := members.get(told["by"])) is not None:
        holder.heard = told["at"]
    members |= {who: _Member(told["at"]) for who in told["members"]}


def _befell(found: _Member, told: dict[str, Any]) -> None:
    event, at = told["event"], float(told["at"])
    if event == "heard":
        found.heard = at
    elif event in ("done", "folded"):
        found.done = at
    elif event in ("answered", "late"):
        found.answered = at
        found.lost = "too late" if event == "late" else ""
    elif event == "failed":
        found.lost = told["reason"]


def _shown(who: str, found: _Member, missing: str, began: float, closed: float) -> dict[str, Any]:
    bars = [(start, min(end, closed), part) for start, end, part in found.bars() if start < closed]
    if not bars:
        bars = [(began, closed, DOWN)]
    came = found.answered if found.answered is not None and found.answered <= closed else None
    lost = missing or (found.lost if came is None else "")
    return row(who, bars, came, lost or ("" if came is not None else "no answer in its time"), closed)
