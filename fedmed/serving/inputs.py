"""From a raw case to what the model is fed, by the card alone; NumPy alone, as on a device."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedmed.errors import DataError
from fedmed.learning import features
from fedmed.serving.card import Card
from fedmed.serving.engines.engine import Floats, checked


def prepare(card: Card, x: NDArray[np.generic]) -> Floats:
    """Cases as their reader has them `(N, ...)` -> inputs `(N, *inputs)` float32: features, scale, clipping.

    The same values as training saw (`fedmed.learning.inputs`). Raises DataError for cases that do not come to the model's
    shape or hold values that are not finite.
    """
    said = card.preparation
    if x.ndim == len(card.inputs) and len(card.inputs) == 4:
        x = x[:, None]  # volumes without an axis of channels
    values = features.TABLE[said.features](x)
    if said.mean and values.shape[1:] == card.inputs:
        mean, std = (np.asarray(each, np.float32).reshape(card.inputs) for each in (said.mean, said.std))
        values = (values - mean) / std
        values = values if said.clip is None else np.clip(values, -said.clip, said.clip)
    if not np.isfinite(values).all():
        raise DataError("cases hold values that are not finite; nothing is inferred of them")
    return checked(values, card.inputs)
