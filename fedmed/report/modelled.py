"""A run whose learning was modelled, on a page: how long rounds took, who was in them, and why the others were not."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fedmed.report import formats, gantt, tiers
from fedmed.report.axes import figure
from fedmed.report.bars import Layer, columns, totals
from fedmed.report.document import document
from fedmed.report.markup import Markup, join, tag
from fedmed.report.tables import plain
from fedmed.report.timed import Answers, Gantt

HEAD = "Learning was modelled: nothing was trained, and every time is virtual."
MASKS = {
    "timed": "Masks were not made: their bytes and a site's seconds for them are reckoned and in the figures.",
    "none": "No update was masked.",
}
MOST_REASONS = 12
HEADS = ("round", "began", "took", "asked", "in the sum", "devices in it", "down", "up", "verdict")
COLUMNS = ("number", "attempt", "began", "closed", "verdict", "asked", "joined", "devices", "down_bytes", "up_bytes")


def read(path: Path) -> dict[str, Any] | None:
    """What `report.json` tells of such a run; None where it is of another kind, or none."""
    try:
        told = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) and told.get("learning") == "modelled" else None


def page(told: dict[str, Any]) -> str:
    """The page as text, of what `fedmed simulate --json` tells of such a run."""
    body = join(
        tag("h1", told["scenario"]["title"]),
        tag("p", f"{HEAD} {MASKS[told['masks']]}"),
        tag("p", summary(told)),
        _pictures(told["rounds"]),
        *_answers(told),
        tag("section", tag("h2", "Why clinics were missing"), _reasons(told)),
        tag("section", tag("h2", "Rounds"), tag("div", plain(HEADS, rounds_of(told)), class_="scroll", tabindex=0)),
    )
    return document(told["scenario"]["title"], body, "page.css")


def _answers(told: dict[str, Any]) -> list[Markup]:
    """Its longest round, and what each tier did; nothing of a run of a version that told neither."""
    if not told.get("answers"):
        return []
    longest = gantt.picture(Gantt.model_validate(told["gantt"]) if told.get("gantt") else None)
    return [tag("section", longest) if longest else longest, tiers.of_answers(Answers.model_validate(told["answers"]))]


def _reasons(told: dict[str, Any]) -> Markup:
    rows = reasons_of(told)
    return plain(("times", "why"), rows, "words") if rows else tag("p", "No clinic was missing in any round.")


def summary(told: dict[str, Any]) -> str:
    """What came of it, in a sentence or two."""
    done = len({each["number"] for each in told["rounds"] if not each["is_short"]})
    lost = sum(each["is_short"] for each in told["rounds"])
    tried = f", {formats.count(lost, 'attempt')} came to nothing" if lost else ""
    took = f"{done} of {told['scenario']['rounds']} rounds in {formats.duration(told['seconds'])}{tried}"
    down, up = (formats.data_size(sum(each[way] for each in told["rounds"])) for way in ("down_bytes", "up_bytes"))
    return (
        f"{took}; a round took {formats.duration(told['median_s'])} (median). "
        f"{down} went down to clinics, and the updates in the sums were {up}."
    )


def table(told: dict[str, Any]) -> str:
    """Attempts as CSV."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow((*COLUMNS, "missing"))
    for each in told["rounds"]:
        gone = "; ".join(f"{name}: {reason}" for name, reason in each["missing"].items())
        writer.writerow((*(each[column] for column in COLUMNS), gone))
    return out.getvalue()


def reasons_of(told: dict[str, Any]) -> list[tuple[str, str]]:
    """The most frequent reasons over all rounds, with the number of clinics."""
    found: Counter[str] = Counter()
    for each in told["rounds"]:
        found.update(formats.kind_of(reason) for reason in each["missing"].values())
    most = found.most_common(MOST_REASONS)
    rows, rest = [(f"{count:,}", reason) for reason, count in most], found.total() - sum(count for _, count in most)
    return [*rows, (f"{rest:,}", "other reasons; see report.json")] if rest else rows


def rounds_of(told: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows of the table of rounds."""
    return [
        (
            str(each["number"]) if each["attempt"] == 1 else f"{each['number']}, attempt {each['attempt']}",
            formats.duration(each["began"]),
            formats.duration(each["closed"] - each["began"]),
            str(each["asked"]),
            str(each["joined"]),
            str(each["devices"]),
            formats.data_size(each["down_bytes"]),
            formats.data_size(each["up_bytes"]),
            each["verdict"],
        )
        for each in told["rounds"]
    ]


def _pictures(attempts: Sequence[dict[str, Any]]) -> Markup:
    last = {each["number"]: each for each in attempts}
    if not last:
        return tag("p", "No round came to an end.")
    joined = [each["joined"] for each in last.values()]
    missing = [each["asked"] - each["joined"] for each in last.values()]
    who = [Layer("in the sum", "p1", joined, f"{sum(joined):,}"), Layer("missing", "p3", missing, f"{sum(missing):,}")]
    took = [each["closed"] - each["began"] for each in last.values()]
    time = [Layer("a round", "p2", took, formats.duration(sum(took)))]
    numbers = list(last)
    return tag(
        "div",
        figure("Clinics asked", "by round", columns("Clinics asked, by round", numbers, who), totals("Clinics", who)),
        figure("Time of a round", "virtual seconds", columns("Virtual seconds of a round", numbers, time)),
        class_="charts",
    )
