"""Before round one: whose images are prepared otherwise, or look otherwise, than those of the other sites.

| compared with all other sites together | distance                       | warns beyond       | refuses beyond |
|----------------------------------------|--------------------------------|--------------------|----------------|
| pipeline, version of the statistics    | equal to most others' or not   |                    | any difference |
| parity certificate of the kernels      | passed or not                  | others alone do    | not passed     |
| how images lie: map of bright cells,   | by how much the best of        | .03 + c            | .10 + c        |
|   edges                                |   `turns.TURNS` brings nearer  |                    |                |
| spacing; deviation of intensities      | earth mover's, in octaves      | 1; 1.5             |                |
| orientation; mean intensity; classes   | total variation                | .5; .8; .5, + c'   |                |
| statistics withheld                    |                                | always             |                |

c is half a standard deviation of a share, by the number of cases on both sides (and a whole one more where edges count),
c' a whole one of each bin. Among the others a large site does not outvote the rest. The thresholds were set on real
radiographs and skin lesions and on the demonstration, drawn at 20 to 1000 cases a site (docs/adr/0015). What cannot be
seen: a mirror image at small sites, and anything that most sites have in common.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from fedmed.federation.likeness import Share, chance, octaves, pooled, shares, total_variation
from fedmed.federation.turns import REFUSES, WARNS, look, suspects
from fedmed.learning.fingerprint import Fingerprint
from fedmed.learning.plan import Described
from fedmed.preprocess.fingerprint import SPACINGS, VERSION
from fedmed.preprocess.pipeline import differences

OCTAVES = {**dict.fromkeys(SPACINGS, 1.0), "deviation": 1.5}
VARIATIONS = {"orientation": 0.5, "mean": 0.8}
CLASSES = 0.5
MEANING = {
    "spacing_slices": "its slices lie otherwise far apart",
    "spacing_rows": "its rows lie otherwise far apart",
    "spacing_columns": "its columns lie otherwise far apart",
    "deviation": "its images have another contrast",
    "orientation": "its images were scanned in other directions",
    "mean": "its images have another brightness or are on another scale",
}
SHOWN_DIFFERENCES = 4


@dataclass(frozen=True)
class Finding:
    """One site and how it differs."""

    site: str
    kind: str
    """`pipeline`, `version`, `parity`, `lies`, `withheld`, `few`, `classes` or a histogram's name."""
    weight: Literal["refuses", "warns", "notes"]
    sentence: str
    distance: float | None = None
    threshold: float | None = None

    def record(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def judge(sites: Sequence[Described]) -> list[Finding]:
    """What is found, by site; nothing where no site has images to compare."""
    asked = [site for site in sites if site.fingerprint is not None]
    if not asked:
        return []
    found = []
    for site in asked:
        others = [other for other in asked if other is not site]
        mine = site.fingerprint
        if mine is not None and others:
            found += [*_prepared(site.name, mine, others), *_told(site, mine, others)]
    found += _lying(asked)
    found += [
        Finding(site.name, "withheld", "warns", "it sends no fingerprint; an older fedmed runs there")
        for site in sites
        if site.fingerprint is None
    ]
    return found


def _prints(sites: Sequence[Described]) -> list[Fingerprint]:
    return [site.fingerprint for site in sites if site.fingerprint is not None]


def _prepared(name: str, mine: Fingerprint, others: Sequence[Described]) -> Iterator[Finding]:
    """Whether the site's images are prepared as those of most other sites, by kernels that do what they should."""
    own, told = mine.pipeline.fingerprint(), _prints(others)
    counts = Counter(each.pipeline.fingerprint() for each in told)
    commonest, many = max(counts.items(), key=lambda item: (item[1], item[0]))
    if own != commonest and many > counts[own]:
        theirs = next(each.pipeline for each in told if each.pipeline.fingerprint() == commonest)
        ways = differences(mine.pipeline, theirs)
        more = f" and {len(ways) - SHOWN_DIFFERENCES} more" if len(ways) > SHOWN_DIFFERENCES else ""
        how = "; ".join(ways[:SHOWN_DIFFERENCES]) + more
        yield Finding(name, "pipeline", "refuses", f"it prepares its images otherwise than {many} other sites: {how}")
    if mine.parity is not None and not mine.parity.passed:
        text = f"error {mine.parity.max_error:g} with a bound of {mine.parity.bound:g} ({mine.parity.back_end})"
        yield Finding(name, "parity", "refuses", f"its kernels do not compute what their definition says: {text}")
    if mine.parity is None and any(each.parity is not None for each in told):
        yield Finding(name, "parity", "warns", "it sends no parity certificate of its kernels; others do")


def _told(site: Described, mine: Fingerprint, others: Sequence[Described]) -> Iterator[Finding]:
    if mine.statistics is None:
        yield Finding(site.name, "withheld", "warns", f"it withholds the statistics of its images: {mine.withheld}")
        return
    if mine.statistics.cases == 0:
        yield Finding(site.name, "few", "notes", "it has too few cases to tell what its images are like")
        return
    told = [each.statistics for each in _prints(others) if each.statistics is not None and each.statistics.cases > 0]
    versions = Counter(each.version for each in told)
    if told and versions[mine.statistics.version] < max(versions.values()):
        text = f"its statistics are of definition {mine.statistics.version}, those of others of {max(versions)}"
        yield Finding(site.name, "version", "refuses", f"{text}: update fedmed there")
        return
    told = [each for each in told if each.version == mine.statistics.version]
    yield from _differs(site, mine, told, others)


def _lying(sites: Sequence[Described]) -> Iterator[Finding]:
    """Whose images lie otherwise than most others'; where half of the sites do, all are named, for nobody knows which."""
    looks = {}
    for site in sites:
        told = site.fingerprint.statistics if site.fingerprint is not None else None
        if told is not None and told.version == VERSION and (found := look(told)) is not None:
            looks[site.name] = found
    suspected = suspects(looks)
    for name, each in suspected.items():
        refuses = each.beyond > REFUSES
        done = each.turn.done if refuses else f"seem to {_infinitive(each.turn.done)}"
        text = (
            f"its images {done}, compared with other sites': "
            f"with that undone, their distance would be {each.undone:.2f} instead of {each.as_they_are:.2f}"
        )
        threshold = (REFUSES if refuses else WARNS) + each.allowed
        yield Finding(name, "lies", "refuses" if refuses else "warns", text, each.gain, threshold)
    if 2 * len(suspected) >= len(looks):
        refuses = any(each.beyond > REFUSES for each in suspected.values())
        text = f"its images lie otherwise than those of {', '.join(suspected)}, and nobody can tell which of them are right"
        for name in looks.keys() - suspected.keys():
            yield Finding(name, "lies", "refuses" if refuses else "warns", text)


def _infinitive(done: str) -> str:
    return "be" + done.removeprefix("are") if done.startswith("are ") else done


def _differs(site: Described, mine: Fingerprint, told: Sequence[Any], others: Sequence[Described]) -> Iterator[Finding]:
    assert mine.statistics is not None
    for name in (*OCTAVES, *VARIATIONS):
        own, theirs = shares(mine.statistics, name), pooled([shares(each, name) for each in told])
        if own is None or theirs is None:
            continue
        if name in OCTAVES:
            distance, threshold, unit = octaves(own.values, theirs.values), OCTAVES[name], "octaves"
        else:
            distance, threshold = total_variation(own.values, theirs.values), VARIATIONS[name] + _by_chance(own, theirs)
            unit = "of 1"
        if distance > threshold:
            yield Finding(site.name, name, "warns", f"{MEANING[name]} (by {distance:.2f} {unit})", distance, threshold)
    own, theirs = _classes(site), pooled([_classes(other) for other in others])
    if own is not None and theirs is not None:
        distance, threshold = total_variation(own.values, theirs.values), CLASSES + _by_chance(own, theirs)
        if distance > threshold:
            text = f"its mixture of classes is another (by {distance:.2f} of 1)"
            yield Finding(site.name, "classes", "warns", text, distance, threshold)


def _classes(site: Described) -> Share | None:
    total = sum(site.class_counts)
    return Share(np.array(site.class_counts, np.float64) / total, 1 / total) if total else None


def _by_chance(own: Share, theirs: Share) -> float:
    """By how much two histograms drawn from the same cases differ at most, roughly: a deviation of every bin."""
    middle = (own.values + theirs.values) / 2
    return float(np.sqrt(middle * (1 - middle)).sum()) * chance(own, theirs)
