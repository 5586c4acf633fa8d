"""What the harness measures after a run. It may look into every site, which a real center may not: a simulation says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fedmed.learning.plan import Plan
from fedmed.simulate.judges import JUDGES, Judge
from fedmed.simulate.pictures import Picture
from fedmed.sites.cases import Site, class_counts
from fedmed.wire.tensors import Tensors

Result = dict[str, Any]


@dataclass(frozen=True)
class Models:
    """The federation's model and, where trained, those it is compared with."""

    federated: Tensors
    pooled: Tensors | None = None
    local: tuple[Tensors, ...] | None = None
    shared: tuple[Tensors, ...] | None = None
    """The federation's model as each site has it, where sites keep a part of it."""
    personal: tuple[Tensors, ...] | None = None
    """Each site's own model beside the federation's, where it trains one."""


class Bench:
    """Evaluates models on every site's test cases and on the pooled test set."""

    def __init__(self, plan: Plan, sites: Sequence[Site]) -> None:
        self._sites = sites
        self._judge: Judge = JUDGES[plan.spec.kind](plan, sites)

    def overall(self, models: Models) -> tuple[Result, Result | None, Result]:
        """On the pooled test set: the federation's figures, the baselines' figures, and the curves of both."""
        judge = self._judge
        federated = judge.on_all(models.federated)
        if models.shared is not None:  # each site's cases by its own
            federated = judge.joined([judge.on_site(number, model) for number, model in enumerate(models.shared)])
        tests = sum(len(site.test) for site in self._sites)
        overall = {"test_examples": tests, "metrics": judge.figures(federated)}
        drawn: Result = {"federated": judge.curves(federated), "pooled": None}
        if models.pooled is None or models.local is None:
            return overall, None, drawn
        pooled = judge.on_all(models.pooled)
        drawn["pooled"] = judge.curves(pooled)
        local = {
            site.name: judge.figures(judge.on_all(model)) for site, model in zip(self._sites, models.local, strict=True)
        }
        return overall, {"pooled": judge.figures(pooled), "local": local}, drawn

    def set_aside(self) -> dict[str, list[dict[str, str]]]:
        """What each site's reader left out, because it cannot be trusted."""
        found: dict[str, list[dict[str, str]]] = {}
        for site, aside in self._sites[0].train.set_aside:
            found.setdefault(site, []).append(asdict(aside))
        return found

    def sites(self, models: Models) -> dict[str, Result]:
        """On each site's own test cases: the federation's model, the site's own, the pooled one, and the mixture."""
        return {site.name: self._site(number, site, models) for number, site in enumerate(self._sites)}

    def pictures(self, models: Models) -> dict[str, Picture]:
        """What the federation's model makes of a test case of each site, where that can be seen."""
        return self._judge.pictures(models.federated)

    def _site(self, number: int, site: Site, models: Models) -> Result:
        judge = self._judge
        shared = models.federated if models.shared is None else models.shared[number]
        result: Result = {
            "examples": {part: len(getattr(site, part)) for part in ("train", "validation", "test")},
            "classes": _counts(site),
            "federated": judge.figures(judge.on_site(number, shared)),
            "personal": None,
            "local": None,
            "pooled": None,
            "mixture": None,
        }
        if models.personal is not None:
            result["personal"] = judge.figures(judge.on_site(number, models.personal[number]))
        if models.local is not None and models.pooled is not None:
            own = models.local[number]
            result["local"] = judge.figures(judge.on_site(number, own))
            result["pooled"] = judge.figures(judge.on_site(number, models.pooled))
            result["mixture"] = judge.figures(judge.mixed(number, shared, own))
        return result


def _counts(site: Site) -> dict[str, int]:
    """Training cases of each class or, of masks, those in which it occurs."""
    train = site.train
    if train.has_masks:
        counts = [sum(bool((mask == index).any()) for mask in train.y) for index in range(len(train.classes))]
    else:
        counts = class_counts(train).tolist()
    return dict(zip(train.classes, counts, strict=True))
