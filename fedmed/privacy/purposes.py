"""What a masked sum is for; part of every mask's seed, so that a vector made for one purpose fits no other."""

from __future__ import annotations

from enum import IntEnum


class Purpose(IntEnum):
    """The number stands in the round's header."""

    CENSUS = 1
    """Counts of classes and sums of features, before the first round."""
    UPDATE = 2
    """The change of the model."""
    EVALUATION = 3
    """Histograms of scores, and what else tells how good the model is."""
