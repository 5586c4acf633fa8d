"""The top of the page: what was run, who took part, and the figures to remember."""

from __future__ import annotations

from typing import Any

from fedmed.report import attacked, dishonest, formats, protection, virtual
from fedmed.report.markup import Markup, join, tag
from fedmed.report.measures import headline
from fedmed.report.measures import name as measure_name
from fedmed.report.record import Metric, Report

MOST_NAMED = 5


def title(report: Report) -> str:
    """The scenario's title, or its name."""
    return str(report.scenario.get("title") or report.scenario.get("name") or "Federation")


def section(report: Report) -> Markup:
    """Title, verdict and key figures."""
    tone, sentences = verdict(report)
    about = report.scenario.get("description")
    in_time = " ".join(virtual.sentences(report))
    hostile = (attacked.line(report), dishonest.line(report))
    told = (protection.line(report), ended_with(report), *hostile, in_time, virtual.reached(report))
    grounds = [said for said in told if said]
    return tag(
        "header",
        tag("p", "fedmed · report of a federation", class_="eyebrow"),
        tag("h1", title(report)),
        tag("p", str(about).strip(), class_="about") if about else None,
        tag("p", tag("strong", sentences[0]), " ", " ".join(sentences[1:]), class_=f"verdict {tone}"),
        tag("dl", *_figures(report), class_="figures"),
        tag("p", " ".join(grounds), class_="note") if grounds else None,
    )


def ended_with(report: Report) -> str:
    """Which global model it is, where it is not simply the last one."""
    found = report.chosen
    if found is None:
        return ""
    if found.choose == "best" and found.value is None:
        return f"No round has a validation to choose by, so that the model is that of round {found.round}, the last."
    if found.choose == "best":
        seen = "from sums" if report.privacy and report.privacy.is_masked else "the mean of the sites"
        shown = f"{measure_name(report, found.measure)} {formats.score(found.value)}{formats.within(found.error)}"
        return f"The model of round {found.round}, chosen by the federation's own validation, {seen} ({shown})."
    last = f"The mean of the global models of the last {found.average_last} rounds."
    return last if found.average_last > 1 else ""


def absences(report: Report) -> dict[str, list[int]]:
    """Rounds that each site was asked in and did not join, sites with the most first."""
    found = {
        site: [number for number, (state, _) in sorted(rounds.items()) if state != "joined"]
        for site, rounds in report.presence().items()
    }
    return dict(sorted(((s, r) for s, r in found.items() if r), key=lambda item: -len(item[1])))


def verdict(report: Report) -> tuple[str, list[str]]:
    """Tone (`good`, `warn`, `bad`) and sentences; worked out from the rounds, so that no subset can pass in silence."""
    gone, unasked = absences(report), [site for site, rounds in report.presence().items() if not rounds]
    tone, sentences = "good", []
    if trouble := _unfinished(report):
        tone, sentences = "bad", [trouble]
    if gone or unasked:
        tone = "bad" if tone == "bad" else "warn"
        sentences += _absent(report, gone, unasked)
    elif report.rounds:
        sentences.append(_present(report))
    if report.resumed:
        after = formats.ranges(report.resumed)
        sentences.append(f"The run was interrupted and resumed at round {after}.")
    return tone, sentences


def _unfinished(report: Report) -> str:
    done, planned = len(report.rounds), _planned(report)
    if not done:
        return "No round was completed."
    if report.status == "stopped" or (planned and done < planned):
        return f"The run stopped after {done} of {formats.count(planned or done, 'round')}."
    return ""


def _planned(report: Report) -> int | None:
    planned: Any = report.scenario.get("rounds")
    return planned if isinstance(planned, int) else None


def _absent(report: Report, gone: dict[str, list[int]], unasked: list[str]) -> list[str]:
    presence = report.presence()
    sites = len(presence)
    never = [site for site in gone if all(state != "joined" for state, _ in presence[site].values())]
    words = [_missed(site, rounds, len(presence[site])) for site, rounds in gone.items() if site not in never]
    sentences = ["Not every site took part in every round."]
    if never:
        sentences.append(f"{formats.listed(never, MOST_NAMED)} never took part.")
    if unasked:
        sentences.append(f"{formats.listed(unasked, MOST_NAMED)} {'was' if len(unasked) == 1 else 'were'} never asked.")
    if len(words) > MOST_NAMED:
        most = f"{len(gone)} of {sites} sites missed at least one round; most of all: {'; '.join(words[:3])}."
        return [*sentences, most, "All are listed below."]
    return [*sentences, "; ".join(words) + "."] if words else sentences


def _missed(site: str, rounds: list[int], asked: int) -> str:
    which = formats.ranges(rounds)
    if which.count(",") >= MOST_NAMED:
        return f"{site} missed {len(rounds)} of {asked} rounds"
    return f"{site} missed round{'s' if len(rounds) > 1 else ''} {which} ({len(rounds)} of {asked})"


def _present(report: Report) -> str:
    sites, done = len(report.site_names()), len(report.rounds)
    asked = sorted({len(each.states()) for each in report.rounds})
    rounds = "the one round" if done == 1 else f"every one of the {done} rounds"
    if asked == [sites]:
        return f"All {sites} sites took part in {rounds}."
    per = str(asked[0]) if len(asked) == 1 else f"{asked[0]} to {asked[-1]}"
    return f"Every site that was asked took part, in {rounds}; {per} of the {sites} sites were asked per round."


def _figures(report: Report) -> list[Markup]:
    gone = absences(report)
    sites, done = len(report.site_names()), len(report.rounds)
    moved = report.bytes.down + report.bytes.up
    planned = _planned(report)
    total = report.seconds.total if report.virtual is None else report.virtual.seconds
    clock = "" if report.virtual is None else " (virtual)"
    rounds = (report.seconds.phases.get("federate") or total) if report.virtual is None else total
    each = f"{formats.duration(rounds / done)} a round" if rounds and done else ""
    away = f"{len(gone)} missed a round or more" if gone else "none missing"
    return [
        *(_tested(report) if report.has_tests else _validated(report)),
        _figure("Sites", f"{sites:,}", away),
        _figure("Rounds", f"{done:,}", f"of {planned:,} planned" if planned else ""),
        _figure(f"Time{clock}", formats.duration(total), each),
        _figure(
            "Data moved",
            formats.data_size(moved),
            f"{formats.data_size(report.bytes.down)} out, {formats.data_size(report.bytes.up)} back",
        ),
    ]


def _tested(report: Report) -> list[Markup]:
    metrics = report.overall.metrics
    return [_measured(report, measure, metrics.get(measure, Metric())) for measure in headline(report)]


def _validated(report: Report) -> list[Markup]:
    """What the hospitals measured together, where the one who tells has seen no case."""
    score, losses = report.last_validation(), [each.train for each in report.rounds if each.train is not None]
    figures = []
    if score is not None:
        value, error = (score.auc, score.auc_error) if score.auc is not None else (score.dice, None)
        leading = headline(report)[0]
        note = f"validation cases of all hospitals{formats.within(error)}"
        figures.append(_figure(measure_name(report, leading), formats.score(value), note))
    if losses:
        figures.append(_figure("Training loss", formats.score(losses[-1].loss), "of the last round"))
    return figures


def _measured(report: Report, measure: str, metric: Metric) -> Markup:
    between = formats.interval(metric.low, metric.high)
    cases = report.overall.test_examples
    note = f"95 % interval {between}" if between else metric.why
    return _figure(
        measure_name(report, measure), formats.score(metric.value), note, f"{cases:,} test cases" if cases else ""
    )


def _figure(name: str, value: str, *notes: str) -> Markup:
    lines = [tag("dd", note, class_="note") for note in notes if note]
    return tag("div", tag("dt", name), tag("dd", value, class_="value"), join(*lines))
