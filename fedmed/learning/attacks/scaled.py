"""A scaled update: the true change times a factor, so that one site outweighs the others in a mean.

Bagdasaryan et al., "How to backdoor federated learning", AISTATS 2020, section 4 (model replacement); Bhagoji et al.,
"Analyzing federated learning through an adversarial lens", ICML 2019 (boosting).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmed.config.attackers import Attacker
from fedmed.wire.tensors import Tensors


def changed(given: Tensors, trained: Tensors, attack: Attacker) -> Tensors:
    """`given` moved by the attack's factor times what training moved it by; at factor 1 `trained` to the last bit."""
    return moved(given, trained, 1.0 if attack.factor is None else attack.factor)


def moved(given: Tensors, trained: Tensors, factor: float) -> Tensors:
    """`given + factor * (trained - given)` of floating point tensors, reckoned in float64; counters stay as trained.

    What is beyond the range of its type becomes infinite there, for the federation to refuse.
    """
    if factor == 1.0:
        return trained
    return {
        name: _moved(given[name], value, factor) if value.dtype.kind == "f" else value for name, value in trained.items()
    }


def _moved(given: NDArray[Any], trained: NDArray[Any], factor: float) -> NDArray[Any]:
    start = given.astype(np.float64)
    with np.errstate(over="ignore"):
        return np.asarray(start + factor * (trained - start), trained.dtype)
