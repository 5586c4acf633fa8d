"""SCAFFOLD (Karimireddy et al. 2020, "Stochastic Controlled Averaging for Federated Learning", algorithm 1, option II).

Steps of a site lean towards its own cases. Each site keeps what its mean gradient was (its control variate, c_i), the center
the mean of all sites' (c), and every step of a site is corrected by c - c_i. The center's travels beside the weights as
tensors of its own, whose names begin with `control/`, so that masks, checks, commits and the mean treat it as they do the
weights: a site answers with c + (its new c_i - its old one), and the mean over all sites is the new c.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from fedmed.learning.keeping import CONTROL, below, under
from fedmed.wire.tensors import Tensors


def init(model: Tensors, trained: Collection[str]) -> Tensors:
    """The model with the center's control variate, zero at first, of the weights that are `trained`."""
    return {**model, **under(CONTROL, {name: np.zeros_like(model[name]) for name in model if name in trained})}


def split(tensors: Tensors) -> tuple[Tensors, Tensors]:
    """The weights, and the center's control variate by the weights' names; empty where there is none."""
    return {name: value for name, value in tensors.items() if not name.startswith(CONTROL)}, below(CONTROL, tensors)


def correction(center: Tensors, own: Tensors) -> Tensors:
    """What is added to each gradient of a site: c - c_i; `own` is empty before the site's first round."""
    return {name: np.subtract(value, own[name]) if name in own else value for name, value in center.items()}


def apply(given: Tensors, trained: Tensors, center: Tensors, own: Tensors, travelled: float) -> tuple[Tensors, Tensors]:
    """The site's new control variate, and what it answers of it: c_i+ = c_i - c + (x - y) / (K rate), and c + c_i+ - c_i.

    `given` (x) and `trained` (y) are the weights before and after, `travelled` is K rate: steps times learning rate.
    """
    less = correction(center, own)
    told = {name: np.divide(np.subtract(given[name], trained[name]), np.float32(travelled)) for name in center}
    return {name: np.subtract(value, less[name]) for name, value in told.items()}, told


def settle(before: Tensors, mean: Tensors, share: float) -> Tensors:
    """The center's model after a round that `share` of all sites were in: c moves by that share of the mean's way."""
    ways = {name: np.subtract(mean[name], before[name]) for name in mean if name.startswith(CONTROL)}
    return {**mean, **{name: np.add(before[name], np.multiply(way, np.float32(share))) for name, way in ways.items()}}
