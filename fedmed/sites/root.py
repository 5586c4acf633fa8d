"""The root set of a center that judges updates by its own: cases that were no site's from before the first round on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fedmed.clock import derive_seed
from fedmed.config.scenario import Split
from fedmed.errors import DataError
from fedmed.sites.cases import Site, pool
from fedmed.sites.split import split

ROOT = "root set of the center"


def hold_root(sites: Sequence[Site], share: float, seed: int) -> tuple[Site, list[Site]]:
    """The root set, and the sites without it: of each site's training patients the `share`, drawn by class.

    One patient is never on two sides, and one at least stays with each site. Raises DataError where nothing was drawn or the
    sites' cases do not fit together.
    """
    taken, left = [], []
    for site in sites:
        parted = split(
            site.name, replace(site.train, split=None), Split(test=share, validation=0.0), derive_seed(seed, ROOT)
        )
        taken.append(parted.test)
        left.append(replace(site, train=parted.train, version=""))
    cases = pool(taken)
    if len(cases) == 0:
        raise DataError(f"strategy.options.root_share is {share:g}, no patient of any site: give a larger share")
    none = cases.take(np.array([], np.int64))
    return Site(ROOT, cases, none, none, pipeline=sites[0].pipeline), left
