"""Label flipping: training cases keep their images and get other classes.

Biggio, Nelson and Laskov, "Poisoning attacks against support vector machines", ICML 2012; in a federation Tolpygin et al.,
"Data poisoning attacks against federated learning systems", ESORICS 2020 (one class called another); Fang et al., "Local
model poisoning attacks to Byzantine-robust federated learning", USENIX Security 2020, section 4 (class l becomes L - l - 1).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fedmed.config.attackers import Attacker
from fedmed.sites.cases import Cases


def changed(cases: Cases, rows: NDArray[np.int64], attack: Attacker) -> Cases:
    """`cases` with other classes, of cases or of voxels, in `rows (M,)`: the order of the classes turned round or, where
    the attack names two, its `source` called its `target`."""
    y = cases.y.copy()
    if attack.source is None or attack.target is None:
        y[rows] = len(cases.classes) - 1 - y[rows]
    else:
        source, target = cases.classes.index(attack.source), cases.classes.index(attack.target)
        y[rows] = np.where(y[rows] == source, target, y[rows])
    return replace(cases, y=y)
