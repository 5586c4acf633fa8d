"""What came of the runs of a sweep: a row for each, of several seeds their mean and spread, and those that none beats."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from fedmed.simulate.sweep import SEED, Point
from fedmed.simulate.targets import Target, reached

REPORT = "report.json"
PARTS = ("status", "rounds")
SPREAD = "± "
Row = dict[str, Any]


def answer(point: Point, folder: Path, fault: str | None, target: Target | None) -> Row:
    """What a run told, in one row; `fault` where it did not come to its end."""
    row: Row = {"point": point.name, **point.values, "status": fault or "not run"}
    told = read(folder)
    if told is None:
        return row
    done = {each.get("round", each.get("number")) for each in told["rounds"] if not each.get("is_short")}
    row |= {"status": fault or told["status"], "rounds_done": len(done)}
    row |= _modelled(told) if told.get("learning") == "modelled" else _learned(told, target)
    row["bytes"] = row["down_bytes"] + row["up_bytes"]
    return row | _spent(told.get("answers") or {})


def read(folder: Path) -> dict[str, Any] | None:
    """The report of a run; None where there is none, or no whole one."""
    try:
        told = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) and all(part in told for part in PARTS) else None


def _learned(told: dict[str, Any], target: Target | None) -> Row:
    row = {name: figure["value"] for name, figure in told["overall"]["metrics"].items()}
    seconds = sum(each["seconds"] for each in told["rounds"])
    row |= {f"success of {aim['kind']}": aim["federated"]["value"] for aim in (told.get("attacks") or {}).get("aims", [])}
    row |= {"seconds": seconds, "time": "virtual" if told.get("virtual") else "of this machine"}
    row |= {f"{way}_bytes": sum(each["bytes"][way] for each in told["rounds"]) for way in ("down", "up")}
    row["missing"] = sum(len(each["missing"]) for each in told["rounds"])
    row["attempts in vain"] = sum(each.get("attempt", 1) - 1 for each in told["rounds"])
    if target is not None:
        found = reached(told["rounds"], target)
        row[f"seconds to {target[0]} {target[1]:g}"] = found["seconds"] if found else None
    return row


def _modelled(told: dict[str, Any]) -> Row:
    rounds = told["rounds"]
    return {
        "seconds": told["seconds"],
        "time": "virtual",
        "down_bytes": sum(each["down_bytes"] for each in rounds),
        "up_bytes": sum(each["up_bytes"] for each in rounds),
        "missing": sum(len(each["missing"]) for each in rounds),
        "attempts in vain": sum(each["is_short"] for each in rounds),
    }


def _spent(answers: Mapping[str, Any]) -> Row:
    """What machines took, where somebody knows them."""
    return {name: answers[name] for name in ("kwh", "cost", "work", "idle") if answers.get(name) is not None}


def together(rows: Sequence[Row], keys: Sequence[str]) -> list[Row]:
    """A row for each combination of `keys` but the seed: of each number the mean over seeds and, named `± `, its standard
    deviation. A number that some seed lacks has no mean: that would be one of the others alone."""
    same = defaultdict[tuple[str, ...], list[Row]](list)
    named = [key for key in keys if key != SEED]
    for row in rows:
        same[tuple(row[key] for key in named)].append(row)
    found = []
    for values, those in same.items():
        told: Row = {"point": those[0]["point"], **dict(zip(named, values, strict=True))}
        ended = [row for row in those if "seconds" in row]
        told |= {"status": f"{len(ended)} of {len(those)} seeds", "seeds": len(ended)}
        told |= {"time": ended[0]["time"]} if ended else {}
        for name in (name for name in (ended[0] if ended else {}) if name not in told and name != SEED):
            values_ = [row.get(name) for row in ended]
            numbers = [float(value) for value in values_ if isinstance(value, int | float)]
            whole = len(numbers) == len(values_)
            told[name] = fmean(numbers) if whole else None
            told[SPREAD + name] = stdev(numbers) if whole and len(numbers) > 1 else None
        found.append(told)
    return found


def best(rows: Sequence[Mapping[str, Any]], more: str, less: str) -> list[int]:
    """Rows that no other beats (Pareto): with no less of `more` and no more of `less`, and better in one of them."""
    known = [(place, row[more], row[less]) for place, row in enumerate(rows) if None not in (row.get(more), row.get(less))]
    return [
        place
        for place, value, cost in known
        if not any(v >= value and c <= cost and (v > value or c < cost) for _, v, c in known)
    ]


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """All rows as CSV, a column for everything that any of them has."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
