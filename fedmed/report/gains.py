"""What did each hospital gain? The federation's model against the site's own, the pooled one and their mixture."""

from __future__ import annotations

import statistics

from fedmed.report import formats
from fedmed.report.axes import Axis, figure
from fedmed.report.forest import Mark, scatter, strip, strip_axis, strip_ticks
from fedmed.report.markup import Markup, join, tag
from fedmed.report.measures import MEANINGS, MODELS, cell, headline, measures, models_of, name, undefined
from fedmed.report.record import Metric, Report, SiteResult

FEW = 12
UNSEEN = "Nobody but the hospitals themselves can tell: no case and no figure of a single one has reached this center."
UNTESTED = (
    "Nobody but the hospitals themselves can tell: no test case came to this center, only each one's updates and figures."
)


def section(report: Report) -> Markup:
    """The sentence, the drawing and the table."""
    if not report.sites:
        return Markup("")
    if not report.has_tests:
        return tag("section", tag("h2", "What did each hospital gain?"), tag("p", _unseen(report), class_="lead"))
    measure = _compared(report)
    few = len(report.sites) <= FEW
    drawing = _forest(report, measure) if few else _scatter(report, measure)
    table = _table(report)
    return tag(
        "section",
        tag("h2", "What did each hospital gain?"),
        tag("p", _sentence(report, measure), class_="lead"),
        drawing,
        _meanings(report),
        tag("details", tag("summary", f"All measures, site by site{_seen_by(report)}"), table, open="" if few else None),
    )


def _unseen(report: Report) -> str:
    return UNSEEN if report.privacy is not None and report.privacy.is_masked else UNTESTED


def _seen_by(report: Report) -> str:
    """Who could tell one site's figures from another's, right where they stand."""
    return f"; measured by {report.evaluated_by}" if report.evaluated_by else ""


def _meanings(report: Report) -> Markup:
    there = [model for model in MODELS if any(model in models_of(site) for site in report.sites.values())]
    parts = [join(tag("span", MODELS[m][0], class_=f"model {MODELS[m][1]}"), ": ", MEANINGS[m]) for m in there]
    return tag("p", *(join(part, ". " if part is parts[-1] else "; ") for part in parts), class_="note")


def _compared(report: Report) -> str:
    """The leading measure, or the first with a value where it has none."""
    values = [site.federated or {} for site in report.sites.values()]
    known = [m for m in measures(values) if any(v.get(m, Metric()).value is not None for v in values)]
    return known[0] if known else headline(report)[0]


def _pairs(report: Report, measure: str) -> dict[str, tuple[Metric, Metric]]:
    """The site's own metric and the federation's, where both have a value."""
    found = {}
    for site, result in report.sites.items():
        own, shared = (result.local or {}).get(measure), (result.federated or {}).get(measure)
        if own and shared and own.value is not None and shared.value is not None:
            found[site] = (own, shared)
    return found


def _gain(pair: tuple[Metric, Metric]) -> float:
    own, shared = pair
    return (shared.value or 0.0) - (own.value or 0.0)


def _sentence(report: Report, measure: str) -> str:
    pairs = _pairs(report, measure)
    if not pairs:
        return "There is no site with both a shared and an own model to compare."
    gains = {site: _gain(pair) for site, pair in pairs.items()}
    better = sum(gain > 0 for gain in gains.values())
    apart = [pair for pair in pairs.values() if _apart(*pair)]
    best, worst = max(gains, key=lambda s: gains[s]), min(gains, key=lambda s: gains[s])
    sites = f"{better} of {formats.count(len(pairs), 'site')}"
    text = f"The federation's model scores a higher {name(report, measure)} than the site's own model at {sites}"
    if len(pairs) > 1:
        text += f" (median {formats.signed(statistics.median(gains.values()))}): "
        text += f"from {formats.signed(gains[worst])} at {worst} to {formats.signed(gains[best])} at {best}"
    without = [site for site in report.sites if site not in pairs]
    if without:
        text += f" (no comparison at {formats.listed(without, FEW // 2)})"
    none = "at none of them are the two 95 % intervals apart, so the test sets are too small to be sure of any one site"
    higher = sum(_gain(pair) > 0 for pair in apart)
    some = f"the two 95 % intervals are apart at {len(apart)} of them (higher at {higher}, lower at {len(apart) - higher})"
    return f"{text}; {some if apart else none}."


def _apart(own: Metric, shared: Metric) -> bool:
    if own.low is None or own.high is None or shared.low is None or shared.high is None:
        return False
    return own.high < shared.low or shared.high < own.low


def _forest(report: Report, measure: str) -> Markup:
    marks = {site: _marks(result, measure) for site, result in report.sites.items()}
    axis = strip_axis([mark for found in marks.values() for mark in found])
    blocks = [_block(report, site, found, axis, measure) for site, found in marks.items()]
    ticks = tag("div", tag("span"), strip_ticks(axis), tag("span", name(report, measure), class_="name"), class_="score")
    heading = f"{name(report, measure)} on each site's own test cases"
    note = f"dot: value, bar: 95 % interval{_seen_by(report)}"
    caption = tag("figcaption", tag("strong", heading), " ", tag("span", note))
    last = tag("div", tag("div"), tag("div", ticks), class_="site")
    return tag("figure", caption, tag("div", *blocks, last, class_="forest"))


def _marks(result: SiteResult, measure: str) -> list[Mark]:
    found = models_of(result)
    return [Mark(*MODELS[model], metrics.get(measure, Metric())) for model, metrics in found.items()]


def _block(report: Report, site: str, marks: list[Mark], axis: Axis, measure: str) -> Markup:
    result = report.sites[site]
    pair = _pairs(report, measure).get(site)
    gain = tag("span", formats.signed(_gain(pair)), " against own data", class_="gain") if pair else None
    tests = result.examples.get("test")
    head = tag(
        "div",
        tag("h3", site),
        tag("span", f"{formats.count(tests, 'test case')}" if tests is not None else "", class_="note"),
        gain,
    )
    rows = [_score(mark, axis, undefined(result)) for mark in marks]
    if all(mark.metric.value is None for mark in marks):
        why = next((mark.metric.why for mark in marks if mark.metric.why), undefined(result))
        rows = [tag("p", f"{formats.DASH} no {name(report, measure)}: {why}", class_="why")]
    return tag("div", head, tag("div", *rows), class_="site")


def _score(mark: Mark, axis: Axis, why: str) -> Markup:
    metric = mark.metric
    label = tag("span", mark.name, class_=f"model {mark.style}")
    if metric.value is None:
        return tag("div", label, tag("span", f"{formats.DASH} {metric.why or why}", class_="why"), class_="score")
    between = formats.interval(metric.low, metric.high)
    value = tag("span", tag("b", formats.score(metric.value)), tag("small", between) if between else None, class_="num")
    return tag("div", label, strip(mark, axis), value, class_="score")


def _scatter(report: Report, measure: str) -> Markup:
    pairs = _pairs(report, measure)
    if not pairs:
        return Markup("")
    shown = name(report, measure)
    points = [(site, own.value or 0.0, shared.value or 0.0) for site, (own, shared) in pairs.items()]
    note = f"one dot a site; {shown} of the federation's model upwards{_seen_by(report)}"
    drawing = figure("Shared model against own model", note, scatter(note, points, shown))
    ranked = sorted(pairs, key=lambda site: _gain(pairs[site]))
    ends = [_ranking("Lost most", ranked[:8], pairs), _ranking("Gained most", ranked[:-9:-1], pairs)]
    missing = len(report.sites) - len(pairs)
    rest = f"{formats.count(missing, 'site')} without both values not drawn." if missing else None
    return join(tag("div", drawing, *ends, class_="charts"), tag("p", rest, class_="note") if rest else None)


def _ranking(title: str, sites: list[str], pairs: dict[str, tuple[Metric, Metric]]) -> Markup:
    rows = [
        tag(
            "tr",
            tag("th", site, scope="row"),
            tag("td", formats.score(pairs[site][0].value)),
            tag("td", formats.score(pairs[site][1].value)),
            tag("td", formats.signed(_gain(pairs[site]))),
        )
        for site in sites
    ]
    head = tag("tr", *(tag("th", text, scope="col") for text in ("Site", "Own", "Shared", "Gain")))
    table = tag("table", tag("thead", head), tag("tbody", *rows))
    return tag("figure", tag("figcaption", tag("strong", title)), tag("div", table, class_="scroll", tabindex=0))


def _table(report: Report) -> Markup:
    shown = measures(metrics for site in report.sites.values() for metrics in models_of(site).values())
    head = tag("tr", *(tag("th", text, scope="col") for text in ("Site", "Model", *(name(report, m) for m in shown))))
    bodies = [_rows(report, site, result, shown) for site, result in report.sites.items()]
    table = tag("table", tag("thead", head), *bodies, class_="results")
    return tag("div", table, class_="scroll", tabindex=0)


def _rows(report: Report, site: str, result: SiteResult, shown: list[str]) -> Markup:
    found = models_of(result) or {"federated": {}}
    why = undefined(result)
    cases = ", ".join(f"{number:,} {split}" for split, number in result.examples.items())
    classes = ", ".join(_classes(report, result))
    about = [tag("small", text) for text in (cases, classes) if text]
    first = tag("th", tag("span", site), *about, scope="rowgroup", rowspan=len(found))
    rows: list[Markup] = []
    for model, metrics in found.items():
        label = tag("td", tag("span", MODELS[model][0], class_=f"model {MODELS[model][1]}"))
        cells = [cell(metrics.get(measure, Metric()), why) for measure in shown]
        rows.append(tag("tr", first if not rows else None, label, *cells))
    gaps = any(metrics.get(m, Metric()).value is None for metrics in found.values() for m in shown)
    if gaps and shown:
        rows.append(tag("tr", tag("td", f"{site}: {formats.DASH} = {why}", colspan=len(shown) + 2, class_="why")))
    return tag("tbody", *rows)


def _classes(report: Report, result: SiteResult) -> list[str]:
    """Training cases of each class; of masks, those in which something but the background is drawn."""
    if report.kind == "segmentation":
        return [f"{label} in {number:,}" for label, number in list(result.classes.items())[1:]]
    return [f"{number:,} {label}" for label, number in result.classes.items()]
