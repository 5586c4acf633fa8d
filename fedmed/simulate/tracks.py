"""What every site did when, from the trace of a run in virtual time: its longest round, and how its time was spent."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedmed.simulate.traces import NAME

TRAIN = "train"
DOWN, WORK, UP = "down", "work", "up"
MOST_ROWS = 40
NEVER = "not in this round"
Span = tuple[float, float]


@dataclass
class Errand:
    """A message to a site and its answer, in virtual seconds; None for what never came about."""

    who: str
    kind: str
    sent: float
    down_bytes: int = 0
    heard: float | None = None
    done: float | None = None
    ended: float | None = None
    up_bytes: int = 0
    why: str = ""
    """Why there is no answer; empty where there is one."""

    def bars(self) -> list[tuple[float, float, str]]:
        """When it went down, was worked on and came up, as far as it got."""
        marks = (self.sent, self.heard, self.done, None if self.why else self.ended)
        return [
            (start, end, part)
            for part, start, end in zip((DOWN, WORK, UP), marks, marks[1:], strict=False)
            if start is not None and end is not None and end > start
        ]


def errands(lines: Iterable[bytes]) -> list[Errand]:
    """All messages in the order of sending. A line that a kill left half written ends them."""
    found, open_ = list[Errand](), defaultdict[tuple[str, str], list[Errand]](list)
    for line in lines:
        if not line.endswith(b"\n"):
            break
        told = json.loads(line)
        of = open_[told["who"], told["kind"]]
        if told["event"] == "sent":
            found.append(Errand(told["who"], told["kind"], told["at"], told.get("bytes", 0)))
            of.append(found[-1])
        elif of:
            _happened(of, told)
    return found


def _happened(of: list[Errand], told: Mapping[str, Any]) -> None:
    """One site answers messages of one kind in their order."""
    event, at = told["event"], float(told["at"])
    if event in ("heard", "done"):
        waiting = next((each for each in of if getattr(each, event) is None), None)
        if waiting is not None:
            setattr(waiting, event, at)
        return
    errand = of.pop(0) if event != "withdrawn" else of.pop()
    errand.ended = at
    if event == "there":
        errand.up_bytes = told.get("bytes", 0)
    else:
        errand.why = told.get("why") or event


def tracks(folder: Path, rounds: Sequence[Mapping[str, Any]], seconds: float) -> dict[str, Any]:
    """Of a run in `folder` that took so many virtual seconds: its longest round, and what each site's time went into."""
    with (folder / NAME).open("rb") as file:
        all_ = errands(file)
    return {"gantt": gantt(all_, [int(each["attempt"]) for each in rounds], seconds), "use": use(all_, seconds)}


def gantt(all_: Sequence[Errand], attempts: Sequence[int], seconds: float) -> dict[str, Any] | None:
    """The longest attempt at a round, from when it was asked until the next one was; None where nobody trained."""
    starts = sorted({each.sent for each in all_ if each.kind == TRAIN})
    if not starts:
        return None
    ends = [*starts[1:], max(seconds, starts[-1])]
    place = max(range(len(starts)), key=lambda at: ends[at] - starts[at])
    began, ended = starts[place], ends[place]
    numbers = [number for number, tried in enumerate(attempts, 1) for _ in range(tried)]
    mine = defaultdict[str, list[Errand]](list)
    for each in all_:
        if began <= each.sent < ended:
            mine[each.who].append(each)
    rows = sorted((_row(who, each, ended) for who, each in mine.items()), key=lambda row: (-row["ends"], row["who"]))
    return {
        "round": numbers[place] if len(numbers) == len(starts) else None,
        "began": began,
        "ended": ended,
        "rows": rows[:MOST_ROWS],
        "more": max(0, len(rows) - MOST_ROWS),
    }


def _row(who: str, mine: Sequence[Errand], ended: float) -> dict[str, Any]:
    bars = [(start, min(end, ended), part) for each in mine for start, end, part in each.bars() if start < ended]
    training = (each for each in mine if each.kind == TRAIN)
    lost = next((each.why or NEVER for each in training if each.why or each.ended is None or each.ended > ended), "")
    return {"who": who, "bars": bars, "lost": lost, "ends": max((end for _, end, _ in bars), default=0.0)}


def use(all_: Sequence[Errand], seconds: float) -> dict[str, dict[str, float]]:
    """By site: seconds of work, seconds of its line without work, seconds of neither; bytes. The three are the whole run."""
    spans = defaultdict[str, dict[str, list[Span]]](lambda: {WORK: [], "line": []})
    moved = defaultdict[str, list[int]](lambda: [0, 0])
    for each in all_:
        moved[each.who][0] += each.down_bytes
        moved[each.who][1] += each.up_bytes
        for start, end, part in each.bars():
            spans[each.who][WORK if part == WORK else "line"].append((min(start, seconds), min(end, seconds)))
    told = {}
    for who, (down, up) in moved.items():
        work = covered(spans[who][WORK])
        either = covered([*spans[who][WORK], *spans[who]["line"]])
        told[who] = {
            "work_s": work,
            "line_s": either - work,
            "idle_s": seconds - either,
            "down_bytes": float(down),
            "up_bytes": float(up),
        }
    return told


def covered(spans: Iterable[Span]) -> float:
    """Seconds that at least one of the spans covers."""
    total, until = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total
