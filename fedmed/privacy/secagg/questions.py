"""What a masked round may ask beside tensors, by its purpose: the fields' names, bounds and steps.

A site whose number is beyond a bound sends nothing, or counts as undefined, which the center sees. So a center may choose no
bound: the center asks by these functions, and a site's gate compares (`fedmed.outbound.declared`). `most` is the layout's
largest weight throughout.
"""

from __future__ import annotations

from collections.abc import Mapping

from fedmed.config.own_metrics import NO_METRICS
from fedmed.privacy.secagg.layout import Fixed, Whole
from fedmed.privacy.secagg.metrics import metric_fields, own_fields

Fields = tuple[Whole | Fixed, ...]

WEIGHT, CASES, LOSS, DICE = "weight", "cases", "loss", "dice"  # names of the fields of updates and evaluations
SCORES, CORRECT = "scores", "correct"
LOSS_BOUND = 1000.0
"""A loss that is not finite or beyond it is undefined."""

CLASSES, CENSUS_CASES, SUM, SQUARES = "classes", "moments.n", "moments.sum", "moments.sumsq"  # of a census
MOST_OF_A_CLASS = 1 << 50  # voxels
# As wide and as fine as 127 bits allow: the sum of squares of a million cases of a hundred million fits, and a site's
# rounding is below 2^-50, by which a standard deviation, however small, cannot be wrong by more than 3e-8.
SUM_BOUND, SUM_RESOLUTION = 2.0**60, 2.0**-66
SQUARES_BOUND, SQUARES_RESOLUTION = 2.0**76, 2.0**-50


def loss_fields(most: int) -> Fields:
    """The mean loss of sites of weights up to `most`."""
    return metric_fields(LOSS, bound=LOSS_BOUND, most_weight=most)


def update_fields(most: int, own: Mapping[str, float] = NO_METRICS) -> Fields:
    """The fields beside an update's tensors; `own`: bounds of a scenario's metrics."""
    return Whole(WEIGHT, most), *loss_fields(most), *own_fields(own, most)


def score_fields(numbers: int, classes: int | None, most: int) -> Fields:
    """Beside an evaluation's loss: histograms of so many `numbers`, and of each of `classes` the cases decided rightly."""
    correct = () if classes is None else (Whole(CORRECT, most, classes),)
    return Whole(SCORES, most, numbers), *correct


def mask_fields(most: int) -> Fields:
    """Beside an evaluation's loss: cases, and the mean Dice."""
    return Whole(CASES, most), *metric_fields(DICE, bound=1.0, most_weight=most)


def census_fields(classes: int, width: int | None, most: int) -> Fields:
    """The fields of a census of sites with up to `most` training cases each.

    `width` is the number of features that are standardised over the federation, None where none are.
    """
    counts = Whole(CLASSES, MOST_OF_A_CLASS, classes)
    if width is None:
        return (counts,)
    sums = Fixed(SUM, SUM_BOUND, SUM_RESOLUTION, width)
    return counts, Whole(CENSUS_CASES, most), sums, Fixed(SQUARES, SQUARES_BOUND, SQUARES_RESOLUTION, width)
