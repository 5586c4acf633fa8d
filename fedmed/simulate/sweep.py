"""A design of experiments: every combination of some keys' values, each a run of its own, and what came of all of them."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedmed.errors import ConfigError

MOST_POINTS = 1000
REPORT = "report.json"
OPENING, CLOSING = "[{", "]}"


@dataclass(frozen=True)
class Factor:
    """A key and the values that it takes."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Point:
    """One combination."""

    name: str
    values: Mapping[str, str]

    @property
    def overrides(self) -> tuple[str, ...]:
        """As `--set` takes them."""
        return tuple(f"{key}={value}" for key, value in self.values.items())


def factor(text: str) -> Factor:
    """`key=a,b,c`; commas within brackets are part of a value. Raises ConfigError with what is allowed."""
    key, equals, rest = text.partition("=")
    values, depth, start = list[str](), 0, 0
    for place, letter in enumerate(rest):
        depth += (letter in OPENING) - (letter in CLOSING)
        if letter == "," and depth == 0:
            values.append(rest[start:place].strip())
            start = place + 1
    values.append(rest[start:].strip())
    if not equals or not key.strip() or not all(values):
        raise ConfigError(f"--sweep: got {text!r}; allowed: KEY=A,B,... such as training.learning_rate=0.1,0.01")
    if len(set(values)) < len(values):
        raise ConfigError(f"--sweep: {key.strip()} has a value twice ({', '.join(values)}); name each once")
    return Factor(key.strip(), tuple(values))


def points(factors: Sequence[Factor]) -> list[Point]:
    """Every combination, the last key changing fastest. Raises ConfigError for a key twice, and for too many."""
    keys = [each.key for each in factors]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise ConfigError(f"--sweep: {', '.join(twice)} more than once; give all values of a key in one --sweep")
    combinations = list(itertools.product(*(each.values for each in factors)))
    if len(combinations) > MOST_POINTS:
        raise ConfigError(f"--sweep: {len(combinations):,} runs; allowed: {MOST_POINTS:,} at most, so name fewer values")
    width = len(str(len(combinations)))
    return [
        Point(f"{number:0{width}}", dict(zip(keys, values, strict=True))) for number, values in enumerate(combinations, 1)
    ]


def answer(point: Point, folder: Path, fault: str | None, target: tuple[str, float] | None) -> dict[str, Any]:
    """What a run told, in one row; `fault` where it did not come to its end."""
    row: dict[str, Any] = {"point": point.name, **point.values, "status": fault or "not run"}
    told = read(folder)
    if told is None:
        return row
    rounds = told["rounds"]
    row |= {"status": fault or told["status"], "rounds": len({each.get("round", each.get("number")) for each in rounds})}
    row |= _modelled(told) if told.get("learning") == "modelled" else _learned(told, target)
    return row


def read(folder: Path) -> dict[str, Any] | None:
    """The report of a run; None where there is none, or no whole one."""
    try:
        told: dict[str, Any] = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return told


def _learned(told: dict[str, Any], target: tuple[str, float] | None) -> dict[str, Any]:
    row = {name: figure["value"] for name, figure in told["overall"]["metrics"].items()}
    seconds = sum(each["seconds"] for each in told["rounds"])
    row |= {"seconds": seconds, "time": "virtual" if told.get("virtual") else "of this machine"}
    row |= {f"{way}_bytes": sum(each["bytes"][way] for each in told["rounds"]) for way in ("down", "up")}
    row["missing"] = sum(len(each["missing"]) for each in told["rounds"])
    if target is not None:
        row[f"seconds to {target[0]} {target[1]:g}"] = reached(told["rounds"], *target)
    return row


def _modelled(told: dict[str, Any]) -> dict[str, Any]:
    rounds = told["rounds"]
    return {
        "seconds": told["seconds"],
        "time": "virtual",
        "down_bytes": sum(each["down_bytes"] for each in rounds),
        "up_bytes": sum(each["up_bytes"] for each in rounds),
        "missing": sum(len(each["missing"]) for each in rounds),
        "attempts in vain": sum(each["is_short"] for each in rounds),
    }


def reached(rounds: Sequence[Mapping[str, Any]], metric: str, least: float) -> float | None:
    """Seconds until a round's validation has at least so much of a metric; None where none had."""
    passed = 0.0
    for each in rounds:
        passed += float(each["seconds"])
        value = (each["validation"] or {}).get(metric)
        if value is not None and value >= least:
            return passed
    return None


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
