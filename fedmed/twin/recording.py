"""What a federation's lines and machines carry and do, out of the rounds that its center saw. Pure.

A round asks twice. To train: the model is at the site already, for validation brought it (ADR 0035), so an answer takes work
and the way up; of the way up the center sees all but the first group of objects. To validate: the model goes down, and a
small answer comes up. What the line carries is bytes of tensors with the heads that it puts around them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from fedmed.config.scenario import Scenario
from fedmed.federation.pace import Past, Seen
from fedmed.federation.patience import SHOWN, work
from fedmed.twin.profiles import PASSES
from fedmed.twin.records import Records, RoundSeen

CHUNK = 5 << 20
"""Bytes of a group of objects in one request (`fedmed.flower.calls.CHUNK`, which is Flower's)."""
SEGMENT, FRAME = 1448, 1514
"""Payload of a TCP segment with time stamps (RFC 7323) in an Ethernet frame of 1,500 bytes, and that frame with its head."""
RECORD, SEALED = 16_384, 22
"""Bytes of a TLS 1.3 record, and those that sealing adds (RFC 8446, section 5.2: 5 of head, 1 of type, 16 of tag)."""
LEAST_LINE_S = 0.05
"""What was on its way for less says nothing of a speed: waiting for each other takes as long."""
WORDS = 2
"""Exchanges after the answers to a masked question: confirm and reveal (ADR 0023)."""
AWAY = "no sign of life"
"""In the reason of a site that was away (`federation.patience`)."""


@dataclass(frozen=True)
class Absence:
    """A site was away."""

    at: float
    """Seconds since the first of the rounds began."""
    lasts: float


@dataclass(frozen=True)
class Site:
    """One clinic."""

    name: str
    cases: int
    trains: float
    """Seconds of a round's training, masking included, the line left out."""
    validates: float
    up: float
    """Bytes a second on the line; `down` towards the clinic."""
    down: float
    is_up_seen: bool
    """Whether the way up was measured; where not, it is at least that fast. `is_down_seen` likewise."""
    is_down_seen: bool
    down_least: float
    quickest: float | None
    """Seconds of the quickest word and its answer; None where none was noted."""
    answers: int
    """That the numbers are medians of."""
    dropout: float
    absences: tuple[Absence, ...]


@dataclass(frozen=True)
class Recording:
    """A federation, as its center saw it."""

    run: str
    scenario: Scenario
    sites: tuple[Site, ...]
    rounds: tuple[float, ...]
    down_bytes: float
    """On the line, to each site; `up_bytes` from each."""
    up_bytes: float
    words: int
    is_validated: bool
    center: float
    cohort: int | None
    """Sites asked in a round, where that is not all of them."""
    unknown: tuple[str, ...]


def on_line(size: float) -> float:
    """Bytes that the line carries for `size` bytes of tensors."""
    return size * (1 + SEALED / RECORD) * FRAME / SEGMENT


def behind_head(size: float) -> float:
    """Of an answer's bytes, those that come after its head: the smallest group of objects comes with it."""
    return max(0.0, size - (size % CHUNK or CHUNK))


def recording(records: Records) -> Recording:
    """The parameters that a world with these records has."""
    whole = [each for each in records.rounds if each.is_complete]
    up = median(each.up / len(each.cohort) for each in whole)
    down = median(each.down / len(each.cohort) / (1 if each.validate is None else 2) for each in whole)
    there = {each.number + 1 for each in records.rounds if each.validate is not None} | _first_there(records)
    sites, lost = [], []
    for name in sorted(records.cases):
        if any(name in each.train.answered for each in records.rounds):
            sites.append(_site(records, name, up, down, there))
        else:
            lost.append(f"{name}: it answered in none of these rounds, and is left out")
    is_validated = any(each.validate for each in whole)
    words = WORDS * (1 + is_validated) if records.scenario.privacy.is_masked else 0
    usual = median(each.seconds for each in whole)
    seconds = tuple(each.seconds for each in records.rounds)
    asked = _asked(sites, on_line(down), on_line(up), is_validated)
    return Recording(
        run=records.run,
        scenario=records.scenario,
        sites=tuple(sites),
        rounds=seconds,
        down_bytes=on_line(down),
        up_bytes=on_line(up),
        words=words,
        is_validated=is_validated,
        center=max(0.0, usual - asked),
        cohort=cohort if (cohort := round(median(len(each.cohort) for each in whole))) < len(sites) else None,
        unknown=(*lost, *_unknown(records, sites)),
    )


def _asked(sites: Sequence[Site], down: float, up: float, is_validated: bool) -> float:
    """Seconds of a round until the last answer to each question, by what was found of each site."""
    if is_validated:
        return max(each.trains + up / each.up for each in sites) + max(each.validates + down / each.down for each in sites)
    return max(each.trains + up / each.up + down / each.down for each in sites)


def _first_there(records: Records) -> set[int]:
    """The first of the rounds, where every round is validated: then the one before it was, too."""
    return {records.rounds[0].number} if records.scenario.evaluation.every == 1 else set()


def _site(records: Records, name: str, up: float, down: float, there: set[int]) -> Site:
    trained = {each.number: each.train.answered[name] for each in records.rounds if name in each.train.answered}
    asked = [each.validate.answered[name] for each in records.rounds if each.validate and name in each.validate.answered]
    at_hand = [seconds for number, seconds in trained.items() if number in there]
    seen = records.pasts.get((name, "train"), Past()).seen
    rate_up, is_up_seen = way_up(seen, up, at_hand or list(trained.values()))
    rest = max(0.0, median(at_hand or trained.values()) - on_line(up) / rate_up)
    quickest = _quickest(records.pasts, name)
    if asked:
        took = median(asked)
        validates, is_down_seen = of_validation(took, quickest or 0.0, rest, _share(records.scenario, records.cases[name]))
        rate_down, least = on_line(down) / (took - validates), on_line(down) / took
    else:  # training brought the model, and nothing tells its way from the work
        validates, is_down_seen, least = 0.0, False, on_line(down) / max(rest, LEAST_LINE_S)
        rate_down = max(rate_up, least)
    if not at_hand:
        rest = max(0.0, rest - on_line(down) / rate_down)
    absences, dropout = _absences(records.rounds, name)
    return Site(
        name, records.cases[name], rest, validates, rate_up, rate_down, is_up_seen, is_down_seen, least, quickest,
        len(trained), dropout, absences,
    )  # fmt: skip


def way_up(seen: Sequence[Seen], size: float, trained: Sequence[float]) -> tuple[float, bool]:
    """Bytes a second of a line that carries answers of `size` bytes of tensors, and whether that was measured.

    Where no answer was seen on its way for long enough it is what the line has at least: all in the time of training.
    """
    lasted = [each.line_s for each in seen]
    behind = behind_head(size)
    if lasted and behind and median(lasted) >= LEAST_LINE_S:
        return on_line(behind) / median(lasted), True
    return on_line(size) / max(min(trained), 1e-3), False


def of_validation(took: float, word: float, trains: float, share: float) -> tuple[float, bool]:
    """Seconds of an answer to validation that are the site's work, and whether the rest tells the line.

    It is more than a word's and `share` of training's, and not more than training's, which takes as large a model in and
    masks a larger answer: the middle. Where that is over a quarter of it all, the line cannot be told from it.
    """
    low = word + share * trains
    middle = (low + max(low, trains)) / 2
    return (middle, True) if middle <= took / 4 and took - middle >= LEAST_LINE_S else (min(low, took / 2), False)


def _share(scenario: Scenario, cases: int) -> float:
    """What validation takes of the work of training: forward alone, on the validation cases of the split."""
    split = scenario.data.split
    held = cases * split.validation / (1 - split.validation - split.test)
    return held / PASSES / max(1.0, work(scenario.training, cases))


def _quickest(pasts: Mapping[tuple[str, str], Past], name: str) -> float | None:
    words = [past for (site, kind), past in pasts.items() if site == name and kind not in SHOWN]
    return min((seen.seconds for past in words for seen in past.seen), default=None)


def _absences(rounds: Sequence[RoundSeen], name: str) -> tuple[tuple[Absence, ...], float]:
    """When it was away, and the share of the other rounds in which nothing came of it."""
    first, spells, lost = rounds[0].began, list[Absence](), 0
    before = -1
    for each in rounds:
        reason = each.missing.get(name)
        if reason is None:
            continue
        if AWAY not in reason:
            lost += 1
            continue
        at, until = each.began - first, each.began - first + each.seconds
        if before == each.number - 1:
            at = spells.pop().at
        spells.append(Absence(at, until - at))
        before = each.number
    return tuple(spells), lost / len(rounds)


def _unknown(records: Records, sites: Sequence[Site]) -> Iterator[str]:
    yield "the center's own line, which was never seen alone: it carries here whatever is asked of it"
    yield "memory, power and price of the clinics' machines: those of the profile that they are like"
    yield "the bytes of answers to validation: they are counted among those of training"
    for each in sites:
        if not each.is_up_seen:
            yield f"{each.name}: its speed up was never seen, answers were too small; it has {mbit(each.up)} at least"
        if each.is_down_seen:
            yield (
                f"{each.name}: how much of an answer to validation is the way down and how much the site's work; "
                f"{each.validates:.2f} s are taken for work, and the line has {mbit(each.down_least)} at least"
            )
        else:
            yield (
                f"{each.name}: its speed down, for the model never came alone; {mbit(each.down)} are taken, and it has "
                f"{mbit(each.down_least)} at least"
            )
        told = "nothing tells how long" if each.quickest is None else f"at most {each.quickest / 2 * 1000:.0f} ms one way"
        yield f"{each.name}: the latency of its line, {told}; 0 s is written, and what it takes is in the other times"
    if any(len(each.cohort) < len(records.cases) for each in records.rounds):
        yield "by what rule the sites of a round were chosen: the twin draws them"
    if any(not each.is_complete for each in records.rounds):
        yield "when a site that was away went and came back, within a round: it is away from a round's beginning to its end"
    if records.others:
        yield f"{records.others} committed rounds with a crash or a second attempt in them are not in the numbers"


def mbit(rate: float) -> str:
    """A rate as people write it."""
    return f"{rate * 8 / 1e6:.4g} Mbit/s"
