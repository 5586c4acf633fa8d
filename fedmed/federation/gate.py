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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from fedmed.federation.likeness import Pool, Share, chance, octaves, shares, total_variation
from fedmed.federation.turns import REFUSES, WARNS, look, suspects
from fedmed.learning.fingerprint import Fingerprint
from fedmed.learning.plan import Described
from fedmed.preprocess.fingerprint import SPACINGS, VERSION, Statistics
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
ORDER = ("refuses", "warns", "notes")


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
    prints = {site.name: site.fingerprint for site in sites if site.fingerprint is not None}
    if not prints:
        return []
    silent = [site.name for site in sites if site.name not in prints]
    found = [Finding(name, "withheld", "warns", "it sends no fingerprint; an older fedmed runs there") for name in silent]
    if len(prints) > 1:
        told = {name: each.statistics for name, each in prints.items() if each.statistics is not None}
        found += [*_prepared(prints), *_told(prints), *_lying(told), *_differs(told)]
        found += _classes_differ([site for site in sites if site.name in prints])
    return sorted(found, key=lambda each: (each.site, ORDER.index(each.weight)))


def _prepared(prints: Mapping[str, Fingerprint]) -> Iterator[Finding]:
    """Whether images are prepared as at most other sites, by kernels that do what they should."""
    digests = {name: each.pipeline.fingerprint() for name, each in prints.items()}
    counts = Counter(digests.values())
    first = {digest: name for name, digest in reversed(digests.items())}
    certified = sum(each.parity is not None for each in prints.values())
    for name, mine in prints.items():
        others = counts - Counter([digests[name]])
        commonest, many = max(others.items(), key=lambda item: (item[1], item[0]))
        if many > others[digests[name]]:
            how = _ways(differences(mine.pipeline, prints[first[commonest]].pipeline))
            text = f"it prepares its images otherwise than {many} other {'sites' if many > 1 else 'site'}: {how}"
            yield Finding(name, "pipeline", "refuses", text)
        if mine.parity is not None and not mine.parity.passed:
            text = f"error {mine.parity.max_error:g} with a bound of {mine.parity.bound:g} ({mine.parity.backend})"
            yield Finding(name, "parity", "refuses", f"its kernels do not compute what their definition says: {text}")
        if mine.parity is None and certified:
            yield Finding(name, "parity", "warns", "it sends no parity certificate of its kernels; others do")


def _ways(ways: list[str]) -> str:
    more = f" and {len(ways) - SHOWN_DIFFERENCES} more" if len(ways) > SHOWN_DIFFERENCES else ""
    return "; ".join(ways[:SHOWN_DIFFERENCES]) + more


def _told(prints: Mapping[str, Fingerprint]) -> Iterator[Finding]:
    """Who does not tell what its images are like, or tells it in another version."""
    for name, mine in prints.items():
        if mine.statistics is None:
            yield Finding(name, "withheld", "warns", f"it withholds the statistics of its images: {mine.withheld}")
        elif mine.statistics.version != VERSION:
            text = f"its statistics are of definition {mine.statistics.version}, the center's of {VERSION}; update the older"
            yield Finding(name, "version", "refuses", text)
        elif mine.statistics.cases == 0:
            yield Finding(name, "few", "notes", "it has too few cases to tell what its images are like")


def _lying(told: Mapping[str, Statistics]) -> Iterator[Finding]:
    """Whose images lie otherwise than most others'; where half of the sites do, all are named, for nobody knows which."""
    every = {name: look(each) for name, each in told.items() if each.version == VERSION}
    looks = {name: each for name, each in every.items() if each is not None}
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


def _differs(told: Mapping[str, Statistics]) -> Iterator[Finding]:
    """What scanners, protocols and patients may differ in; for a person to look at."""
    for kind in (*OCTAVES, *VARIATIONS):
        parts = {name: shares(each, kind) for name, each in told.items() if each.version == VERSION}
        for name, own, others in _beside(parts):
            if kind in OCTAVES:
                distance, threshold, unit = octaves(own.values, others.values), OCTAVES[kind], "octaves"
            else:
                distance, unit = total_variation(own.values, others.values), "of 1"
                threshold = VARIATIONS[kind] + _by_chance(own, others)
            if distance > threshold:
                yield Finding(name, kind, "warns", f"{MEANING[kind]} (by {distance:.2f} {unit})", distance, threshold)


def _classes_differ(sites: Sequence[Described]) -> Iterator[Finding]:
    for name, own, others in _beside({site.name: _classes(site) for site in sites}):
        if own.values.shape != others.values.shape:
            return  # refused for its classes elsewhere
        distance, threshold = total_variation(own.values, others.values), CLASSES + _by_chance(own, others)
        if distance > threshold:
            text = f"its mixture of classes is another (by {distance:.2f} of 1)"
            yield Finding(name, "classes", "warns", text, distance, threshold)


def _beside(parts: Mapping[str, Share | None]) -> Iterator[tuple[str, Share, Share]]:
    """Each site that tells, and all others that do, together."""
    pool = Pool(parts)
    for name, own in parts.items():
        others = pool.without(name)
        if own is not None and others is not None:
            yield name, own, others


def _classes(site: Described) -> Share | None:
    total = sum(site.class_counts)
    return Share(np.array(site.class_counts, np.float64) / total, 1 / total) if total else None


def _by_chance(own: Share, theirs: Share) -> float:
    """By how much two histograms drawn from the same cases differ at most, roughly: a deviation of every bin."""
    middle = (own.values + theirs.values) / 2
    return float(np.sqrt(middle * (1 - middle)).sum()) * chance(own, theirs)
