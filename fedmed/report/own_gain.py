"""What a run was worth to one clinic, on its own test cases: a page for that clinic, which nobody else gets."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fedmed import __version__
from fedmed.report import formats
from fedmed.report.axes import figure
from fedmed.report.document import document, write
from fedmed.report.lines import Line, over_rounds
from fedmed.report.markup import Markup, tag
from fedmed.report.measures import NAMES
from fedmed.report.sendings import when
from fedmed.store.gains import LOWER_IS_BETTER, Gain
from fedmed.wire.asides import Aside
from fedmed.wire.visible import visible

_DIGITS = 12  # of a digest


def write_page(gain: Gain, clinic: str, federation: str, path: Path) -> None:
    """Write the page. Raises StoreError where it cannot be written."""
    write(path, render(gain, clinic, federation))


def render(gain: Gain, clinic: str, federation: str) -> str:
    """The page as text."""
    run, _, digest = gain.reference.partition("@")
    facts = {
        "Clinic": clinic,
        "Federation": federation,
        "Run": f"{run}@{digest[:_DIGITS]}",
        "Last noted": f"{when(gain.unix)} UTC",
    }
    rows = (tag("div", tag("dt", name), tag("dd", visible(text))) for name, text in facts.items())
    top = tag(
        "header",
        tag("p", "fedmed · a clinic's own report", class_="eyebrow"),
        tag("h1", f"What {visible(run)} was worth here"),
        tag("p", tag("strong", sentence(gain)), class_=f"verdict {_tone(gain)}"),
        tag("dl", *rows, class_="facts"),
    )
    parts = (top, _charts(gain), _table(gain), _limits())
    return document(f"{visible(run)} at {visible(clinic)}", tag("article", *parts), "page.css")


def sentence(gain: Gain) -> str:
    """The whole report in a sentence."""
    first, last = gain.ends()
    name, end = name_of(gain.leading), gain.seen[-1]
    on = f"on {end.cases:,} own test case{'s' * (end.cases != 1)}"
    if len(gain.seen) < 2:
        return f"{name} {formats.score(last)} {on} after round {end.round}; a gain can be told once a second model was seen."
    since = "as it began" if gain.seen[0].round == 0 else f"after round {gain.seen[0].round}"
    told = f"{name} {formats.score(first)} {since}, {formats.score(last)} after round {end.round}, {on}"
    gained = gain.gained()
    return f"{told}." if gained is None else f"{told}: {_word(gained)}."


def name_of(figure_name: str) -> str:
    """A figure's name for people."""
    return NAMES.get(figure_name, figure_name.replace("_", " ").capitalize())


def shown(seen: Aside, names: Iterable[str]) -> dict[str, str]:
    """The cells of one round."""
    return {name_of(name): formats.score(seen.figures.get(name)) for name in names} | {"test cases": f"{seen.cases:,}"}


def _word(gained: float) -> str:
    told = f"{abs(gained):.3f}"
    return "no different" if told == "0.000" else f"{'better' if gained > 0 else 'worse'} by {told}"


def _tone(gain: Gain) -> str:
    gained = gain.gained()
    return "plain" if gained is None else "good" if gained > 0 else "warn"


def _charts(gain: Gain) -> Markup:
    drawn = [_chart(gain, name) for name in gain.seen[-1].figures]
    return tag("section", tag("h2", "Round by round"), tag("div", *drawn, class_="charts"))


def _chart(gain: Gain, name: str) -> Markup:
    points = [(float(each.round), each.figures.get(name)) for each in gain.seen]
    known = [value for _, value in points if value is not None]
    is_unit = name in NAMES and all(0 <= value <= 1 for value in known)
    note = "lower is better" if name in LOWER_IS_BETTER else "higher is better"
    line = Line(points, "fed strong", "", name_of(name), sizes=[2.5] * len(points))
    title = f"{name_of(name)} of the global model"
    return figure(title, f"{note}; on this clinic's own test cases", over_rounds(title, [line], unit_range=is_unit))


def _table(gain: Gain) -> Markup:
    names = list(gain.seen[-1].figures)
    heads = ["After round", *shown(gain.seen[-1], names)]
    rows = [(f"{each.round}", shown(each, names).values()) for each in gain.seen]
    head = tag("tr", *(tag("th", text) for text in heads))
    body = [tag("tr", tag("th", number, scope="row"), *(tag("td", text) for text in row)) for number, row in rows]
    return tag("section", tag("h2", "Figures"), tag("table", tag("thead", head), tag("tbody", *body)))


def _limits() -> Markup:
    told = (
        "Test cases are those that this clinic holds back: no training sees them. Round 0 is the model that the run began "
        "with. The app that ran worked these figures out; of a researcher's own app they are what it says. A few cases make "
        "figures that jump, and several models were looked at. They were sent to nobody, and this page is written from this "
        f"clinic's folder alone. fedmed {__version__}."
    )
    return tag("section", tag("h2", "How to read this"), tag("p", told, class_="note"))
