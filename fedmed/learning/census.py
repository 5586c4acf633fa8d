"""Before round one, where the center learns sums only: how often each class occurs, and what the federation's scale needs.

Of a single site the center is told declared sizes, which also bound the site's weight in the rounds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fedmed.errors import DataError, ProtocolRefused
from fedmed.preprocess.moments import Moments
from fedmed.privacy.secagg.layout import Sum
from fedmed.privacy.secagg.questions import CENSUS_CASES, CLASSES, SQUARES, SQUARES_BOUND, SUM, SUM_BOUND


@dataclass(frozen=True)
class Census:
    """What all sites have together."""

    class_counts: tuple[int, ...]
    """Training cases of each class or, of masks, voxels."""
    moments: Moments | None
    """Of the training cases' features, where the task standardises over the federation."""

    def record(self) -> dict[str, Any]:
        """As plain JSON values, which keep every bit."""
        moments = self.moments
        told = None if moments is None else [moments.n, moments.sum.tolist(), moments.sumsq.tolist()]
        return {"class_counts": list(self.class_counts), "moments": told}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Census:
        """The census of such a record."""
        told = record["moments"]
        moments = None if told is None else Moments(told[0], np.array(told[1]), np.array(told[2]))
        return cls(tuple(record["class_counts"]), moments)


def put_census(class_counts: Sequence[int], moments: Moments | None) -> dict[str, ArrayLike]:
    """What a site puts into `questions.census_fields`. Raises DataError for features that are not finite or too large."""
    counts: dict[str, ArrayLike] = {CLASSES: np.asarray(class_counts, np.int64)}
    if moments is None:
        return counts
    for values, bound in ((moments.sum, SUM_BOUND), (moments.sumsq, SQUARES_BOUND)):
        if wrong := np.flatnonzero(~(np.abs(values) <= bound)).tolist():
            raise DataError(
                f"feature {wrong[0]} of the training cases sums up to {values[wrong[0]]:g}; allowed is up to {bound:g}: "
                "mend values that are not finite, scale the features down, or take data.normalise: site"
            )
    return counts | {CENSUS_CASES: moments.n, SUM: moments.sum, SQUARES: moments.sumsq}


def read_census(total: Sum, classes: int, width: int | None) -> Census:
    """The census of a sum. Raises ProtocolRefused where it is that of no cases, as a site that cheats may have it."""
    counts = tuple(int(count) for count in total.array(CLASSES))
    if len(counts) != classes:
        raise ProtocolRefused(f"a census of {len(counts)} classes; the task has {classes}: discard the sum")
    if width is None:
        return Census(counts, None)
    moments = Moments(total.count(CENSUS_CASES), total.array(SUM), total.array(SQUARES))
    if moments.n < 1 or moments.sumsq.min() < 0 or moments.sum.shape != (width,):
        raise ProtocolRefused(
            f"a census of {moments.n} cases and {len(moments.sum)} features, of which squares sum up to "
            f"{moments.sumsq.min():g} and more; the task has {width} features: a site's sums are wrong; discard the sum"
        )
    return Census(counts, moments)
