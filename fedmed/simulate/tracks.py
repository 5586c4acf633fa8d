"""What every site did when, from the trace of a run in virtual time: its longest round, and how its time was spent."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedmed.simulate.traces import NAME
from fedmed.twin import bars
from fedmed.twin.bars import DOWN, UP, WORK
from fedmed.twin.flow import Flow

TRAIN, EVALUATE = "train", "evaluate"
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
    folded: float | None = None
    """When no device below was waited for any more; None where none was asked."""
    ended: float | None = None
    up_bytes: int = 0
    why: str = ""
    """Why there is no answer; empty where there is one."""

    def is_lost(self, until: float) -> bool:
        """Whether no answer was there by then."""
        return bool(self.why) or self.ended is None or self.ended > until

    def bars(self) -> list[tuple[float, float, str]]:
        """When it went down, was worked on and came up, as far as it got."""
        ended = None if self.why else self.ended
        spans = ((DOWN, self.sent, self.heard), (WORK, self.heard, self.done), (UP, self.left, ended))
        return [(start, end, part) for part, start, end in spans if start is not None and end is not None and end > start]

    @property
    def left(self) -> float | None:
        """When its answer went out, which waits for devices where there are any."""
        return self.done if self.folded is None else self.folded


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
    if event in ("heard", "done", "folded"):
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


@dataclass(frozen=True)
class Tracks:
    """Of a whole run."""

    gantt: dict[str, Any] | None
    """Its longest attempt at a round."""
    use: dict[str, dict[str, float]]
    """What each site's time went into."""
    network: dict[str, Any]
    """See `Flow.told`."""
    last: list[str]
    """Whose answer was the last in its round, round by round."""


def tracks(
    folder: Path,
    rounds: Sequence[Mapping[str, Any]],
    seconds: float,
    deadline_s: float | None = None,
    devices: Collection[str] = (),
) -> Tracks:
    """Of a run in `folder` that took so many virtual seconds. What `devices` did is in the use of time alone."""
    with (folder / NAME).open("rb") as file:
        all_ = errands(file)
    own = [each for each in all_ if each.who not in devices]
    return Tracks(gantt(own, rounds, seconds, deadline_s), use(all_, seconds), network(own, seconds), last(own))


def parts(folder: Path) -> dict[str, dict[str, Any]]:
    """Of each device of a run in `folder`: in how many updates of its clinic it was, and how often not for which reason."""
    found = defaultdict[str, dict[str, Any]](lambda: {"joined": 0, "missing": {}})
    with (folder / NAME).open("rb") as file:
        for line in file:
            if line.endswith(b"\n") and (told := json.loads(line))["event"] == "folded":
                for device in told["devices"]:
                    found[device]["joined"] += 1
                for device, why in told["missing"].items():
                    missing, reason = found[device]["missing"], why.split("; ")[0]  # what befell it differs each time
                    missing[reason] = missing.get(reason, 0) + 1
    return dict(found)


def network(all_: Sequence[Errand], seconds: float) -> dict[str, Any]:
    """Bytes on the sites' lines over time, of a run of so many seconds."""
    flow = Flow()
    for way, name, begins, ends in (("down", "down_bytes", "sent", "heard"), ("up", "up_bytes", "left", "ended")):
        moved = [each for each in all_ if getattr(each, name)]
        began, ended = (np.array([_or_never(getattr(each, mark)) for each in moved]) for mark in (begins, ends))
        flow.add(way, began, ended, np.array([float(getattr(each, name)) for each in moved]))
    return flow.told(seconds)


def _or_never(at: float | None) -> float:
    return float("inf") if at is None else at


def last(all_: Sequence[Errand]) -> list[str]:
    """Who answered last of those that were asked at one moment, and before others were; nobody where nobody did."""
    trained = [each for each in all_ if each.kind == TRAIN]
    starts = sorted({each.sent for each in trained})
    ends = dict(zip(starts, [*starts[1:], float("inf")], strict=True))
    found = dict[float, Errand]()
    for each in trained:
        if not each.why and each.ended is not None and each.ended <= ends[each.sent]:
            before = found.get(each.sent)
            if before is None or (before.ended or 0.0) <= each.ended:
                found[each.sent] = each
    return [found[start].who for start in starts if start in found]


def gantt(
    all_: Sequence[Errand], rounds: Sequence[Mapping[str, Any]], seconds: float, deadline_s: float | None = None
) -> dict[str, Any] | None:
    """The longest attempt at a round, from when it was asked until the next one was; None where nobody trained."""
    starts = sorted({each.sent for each in all_ if each.kind == TRAIN})
    if not starts:
        return None
    ends = [*starts[1:], max(seconds, starts[-1])]
    place = max(range(len(starts)), key=lambda at: ends[at] - starts[at])
    began, ended = starts[place], ends[place]
    tries = [(each, at) for each in rounds for at in range(1, int(each["attempt"]) + 1)]
    number, closed = None, ended
    if len(tries) == len(starts):
        which, attempt = tries[place]
        number = int(which["round"])
        if attempt == which["attempt"]:
            closed = min(ended, began + float(which.get("phases", {}).get(TRAIN, ended - began)))
    mine = defaultdict[str, list[Errand]](list)
    for each in all_:
        if began <= each.sent < ended:
            mine[each.who].append(each)
    rows = [_row(who, each, closed, ended) for who, each in mine.items()]
    return bars.chart(number, began, closed, ended, deadline_s, rows)


def _row(who: str, mine: Sequence[Errand], closed: float, ended: float) -> dict[str, Any]:
    drawn = [(start, min(end, ended), part) for each in mine for start, end, part in each.bars() if start < ended]
    training = [each for each in mine if each.kind == TRAIN]
    gone = next((each for each in training if each.is_lost(ended)), None)
    lost, came, since = "", next((each.ended for each in training if gone is None), None), None
    if gone is None and (gone := next((each for each in mine if each.kind == EVALUATE and each.is_lost(ended)), None)):
        lost, came, closed = "validation: ", None, ended
    if gone is not None:
        lost += gone.why or NEVER
        since = min(max([gone.sent, *(end for _, end, _ in gone.bars())]), ended)
    return bars.row(who, drawn or [(min(each.sent for each in mine), closed, DOWN)], came, lost, closed, since)


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
