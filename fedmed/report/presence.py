"""Who took part, and when: the matrix, and every absence in words."""

from __future__ import annotations

from collections import defaultdict

from fedmed.report import formats, protection
from fedmed.report.markup import Markup, tag
from fedmed.report.matrix import MARKS, matrix
from fedmed.report.record import Report
from fedmed.report.verdict import absences

MANY = 12
_KEY = (
    ("joined", "joined"),
    ("late", "late"),
    ("missing", "missing"),
    ("refused", "update refused"),
    ("unasked", "not asked"),
)


def section(report: Report) -> Markup:
    """The matrix with its key, and the list of absences with their reasons."""
    if not report.rounds:
        return Markup("")
    found = report.presence()
    gone = absences(report)
    if len(found) > MANY:
        found = {site: found[site] for site in [*gone, *(site for site in found if site not in gone)]}
    order = " Sites with the most absences stand first." if gone and len(found) > MANY else ""
    note = f"One row a site, one column a round; at the right, rounds joined of rounds asked.{order}"
    key = [tag("li", _swatch(state), text) for state, text in _KEY if _occurs(report, state)]
    return tag(
        "section",
        tag("h2", "Who took part, and when?"),
        tag("p", note, class_="lead"),
        tag("ul", *key, class_="key"),
        tag("div", matrix(found, [each.round for each in report.rounds]), class_="tall" if len(found) > 40 else None),
        _reasons(report),
        *_remarks(report),
    )


def _occurs(report: Report, state: str) -> bool:
    rounds = report.presence().values()
    if state == "unasked":
        return any(len(found) < len(report.rounds) for found in rounds)
    return any(here == state for found in rounds for here, _ in found.values())


def _swatch(state: str) -> Markup:
    square = tag("rect", width=16, height=16, rx=2, class_=f"cell {state}")
    mark = tag("text", MARKS[state], x=8, y=12.5, class_=f"mark {state}") if state in MARKS else None
    return tag("svg", square, mark, class_="cells", aria_hidden="true")


def _reasons(report: Report) -> Markup:
    """Every absence, by site, state and reason."""
    grouped: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    presence = report.presence()
    for site in absences(report):
        for number, (state, reason) in presence[site].items():
            if state != "joined":
                grouped[site, state, reason].append(number)
    if not grouped:
        return tag("p", "No site was missing, late or refused in any round.", class_="note")
    rows = [_reason(*key, rounds) for key, rounds in grouped.items()]
    head = tag("tr", *(tag("th", text, scope="col") for text in ("Site", "State", "Rounds", "Reason")))
    table = tag("div", tag("table", tag("thead", head), tag("tbody", *rows), class_="words"), class_="scroll", tabindex=0)
    summary = tag("summary", f"Every absence and its reason ({len(rows)})")
    return tag("details", summary, table, open="" if len(rows) <= MANY else None)


def _reason(site: str, state: str, reason: str, rounds: list[int]) -> Markup:
    shown = {"refused": "update refused"}.get(state, state)
    cells = (tag("td", shown), tag("td", formats.ranges(rounds)), tag("td", reason))
    return tag("tr", tag("th", site, scope="row"), *cells)


def _remarks(report: Report) -> list[Markup]:
    """What the matrix does not show: rounds tried again, sums that were lost, and validations without some site."""
    found = []
    if again := [each.round for each in report.rounds if each.attempt > 1]:
        rounds = f"Round{'s' if len(again) > 1 else ''} {formats.ranges(again)}"
        found.append(f"{rounds} needed more than one attempt to reach the quorum.")
    for each in report.rounds:
        for site, number in each.folded.items():
            found.append(
                f"{site}'s update of round {number} came too late for it and is in round {each.round}, at less weight."
            )
        if lacks := each.validation.lacks if each.validation else []:
            found.append(f"No validation in round {each.round}: {'; '.join(lacks)}.")
    found += _buffered(report)
    found += protection.remarks(report)
    without: dict[tuple[str, str], list[int]] = defaultdict(list)
    for each in report.rounds:
        for site, reason in (each.validation.missing if each.validation else {}).items():
            without[site, reason].append(each.round)
    for (site, reason), numbers in without.items():
        found.append(f"Validation without {site} in round {formats.ranges(numbers)}: {reason}.")
    return [tag("p", text, class_="note") for text in found]


def _buffered(report: Report) -> list[str]:
    """What it means that a site was in no list of a buffer, and how old updates were."""
    buffers = {each.round: each.buffer for each in report.rounds if each.buffer is not None}
    if not buffers:
        return []
    ages = [(age, site, number) for number, each in buffers.items() for site, age in each.staleness.items()]
    size, (oldest, site, number) = max(each.size for each in buffers.values()), max(ages, default=(0, "", 0))
    said = [
        f"A round was over with {size} updates. Whoever is shown as not asked trained on for a later one, or had no place."
    ]
    if oldest:
        mean = sum(age for age, _, _ in ages) / len(ages)
        whose = f"{site}'s in round {number}"
        said.append(f"Updates went in {mean:.2g} models after their own on average; the oldest, {whose}, {oldest}.")
    if left := buffers[max(buffers)].under_way:
        said.append(f"Still training when the run ended, and in no model with that: {', '.join(left)}.")
    return said
