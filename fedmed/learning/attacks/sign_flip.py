"""Sign flipping: the opposite of the true change, which drives a mean up the loss.

Blanchard et al., "Machine learning with adversaries: Byzantine tolerant gradient descent", NeurIPS 2017 (the omniscient
attacker sends the opposite of the gradient, scaled); Fang et al., USENIX Security 2020, section 3 (a change
against the direction that the honest would go in).
"""

from __future__ import annotations

from fedmed.config.attackers import Attacker
from fedmed.learning.attacks.scaled import moved
from fedmed.wire.tensors import Tensors


def changed(given: Tensors, trained: Tensors, attack: Attacker) -> Tensors:
    """`given` moved by the attack's factor, 1 where it has none, against what training moved it by."""
    return moved(given, trained, -(1.0 if attack.factor is None else attack.factor))
