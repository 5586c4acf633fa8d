"""What could the center learn of a single site? In red where everything, in amber where the promise is weaker."""

from __future__ import annotations

from fedmed.report import formats
from fedmed.report.markup import Markup, tag
from fedmed.report.record import Privacy, Report

OFF = "Secure aggregation is off: the center {sees} every site's update, counts and metrics."
WEAKER = (
    "Secure aggregation in mode hbc, which is weaker: the center {is_trusted} to tell every site the same survivors; "
    "one that does not may open sums over few sites."
)
TONES = {"off": "bad", "hbc": "warn"}
KINDS = {"update": "updates", "evaluation": "evaluations", "census": "census"}
MOST_NAMED = 5


def warning(mode: str, *, is_over: bool) -> str:
    """The sentence that a mode is shown with, wherever it is chosen; empty for one that needs none."""
    said = {"off": OFF, "hbc": WEAKER}.get(mode, "")
    return said.format(sees="saw" if is_over else "sees", is_trusted="was trusted" if is_over else "is trusted")


def learned(mode: str, least: int, members: int, *, is_over: bool) -> str:
    """What the center learns in a mode that masks."""
    condition = ", if it told every site the same survivors" if mode == "hbc" else ""
    return (
        f"What the center {'could' if is_over else 'can'} learn: sums over at least {least} of {members} sites{condition}."
    )


def section(report: Report) -> Markup:
    """The banner at the top of the page; nothing where updates were masked in full."""
    if report.privacy is None:
        unknown = "This record does not say whether secure aggregation was on: take it that the center saw everything."
        return tag("p", tag("strong", unknown), class_="banner warn", role="alert") if report.rounds else Markup("")
    mode = report.privacy.secure_aggregation
    said = warning(mode, is_over=True)
    return tag("p", tag("strong", said), class_=f"banner {TONES[mode]}", role="alert") if said else Markup("")


def line(report: Report) -> str:
    """What the center could learn, in one quiet sentence or two."""
    found = report.privacy
    if found is None or found.least is None or found.members is None:
        return ""
    return learned(found.secure_aggregation, found.least, found.members, is_over=True)


def remarks(report: Report) -> list[str]:
    """What went wrong in masked rounds: lost sums, members left out, shares that did not fit."""
    found = report.privacy or Privacy()
    said = [lost(each.round, each.purpose, each.reason) for each in found.unopened]
    said += [
        f"{left.site} was left out when an epoch of secure aggregation was set up: {left.reason}." for left in found.left_out
    ]
    accused = sorted({site for each in found.accused for site in each.sites})
    return said + ([blamed(accused)] if accused else [])


def blamed(sites: list[str]) -> str:
    """Of sites whose shares did not fit; who dealt a share may be at fault as well as who showed it."""
    who = formats.listed(sites, MOST_NAMED)
    they = "it" if len(sites) == 1 else "each of them"
    return f"Shares that {who} showed do not fit those of the others: {they}, or whoever dealt them, is at fault."


def lost(number: int, purpose: str, reason: str) -> str:
    """Of a masked sum that nobody could open."""
    kind = KINDS.get(purpose, purpose)
    return f"Round {number}: the sum of the {kind} could not be opened, and nothing was learned of it: {reason}."


def facts(report: Report) -> list[tuple[str, str]]:
    """For whoever wants to run it again."""
    found = report.privacy
    if found is None or not found.is_masked:
        return []
    terms = f"mode {found.secure_aggregation}, {found.lanes}-bit lanes, changes of a weight within ±{found.bound:g} a round"
    colluders = max((epoch.colluders for epoch in found.epochs), default=0)
    moved = f"{formats.data_size(found.bytes.down)} out, {formats.data_size(found.bytes.up)} back"
    return [
        ("Secure aggregation", terms),
        ("Sites that may collude with the center", str(colluders)),
        ("Epochs set up", str(len(found.epochs))),
        ("Messages of the protocol, vectors left out", moved),
    ]
