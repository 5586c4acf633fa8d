"""What the harness measures after a run. It may look into every site, which a real center may not: a simulation says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fedmed.learning import weights
from fedmed.learning.inputs import Inputs, prepare
from fedmed.learning.metrics import curves, figures
from fedmed.learning.plan import Plan
from fedmed.learning.prediction import device_of, predict
from fedmed.simulate.baselines import pooled_inputs
from fedmed.sites.cases import Site
from fedmed.wire.tensors import Tensors

Result = dict[str, Any]


@dataclass(frozen=True)
class Models:
    """The federation's model and, where trained, those it is compared with."""

    federated: Tensors
    pooled: Tensors | None = None
    local: tuple[Tensors, ...] | None = None


class Bench:
    """Evaluates models on every site's test cases and on the pooled test set."""

    def __init__(self, plan: Plan, sites: Sequence[Site]) -> None:
        self._plan, self._sites = plan, sites
        self._inputs = [prepare(site, plan.preparation) for site in sites]
        self._device = device_of(plan.scenario.engine.device)
        self._pooled = self._pooled_test()

    def _pooled_test(self) -> tuple[Tensor, Tensor]:
        if self._plan.scenario.evaluation.pooled_test_normalisation == "pooled":
            return pooled_inputs(self._sites, self._plan).test
        pairs = [inputs.test for inputs in self._inputs]
        return torch.cat([x for x, _ in pairs]), torch.cat([y for _, y in pairs])

    def overall(self, models: Models) -> tuple[Result, Result | None, Result]:
        """On the pooled test set: the federation's figures, the baselines' figures, and the curves of both."""
        federated, y = self._probabilities(models.federated, self._pooled[0]), self._pooled[1]
        overall = {"test_examples": len(y), "metrics": self._figures(federated, y)}
        drawn: Result = {"federated": curves(federated, y), "pooled": None}
        if models.pooled is None or models.local is None:
            return overall, None, drawn
        pooled = self._probabilities(models.pooled, self._pooled[0])
        drawn["pooled"] = curves(pooled, y)
        local = {
            site.name: self._figures(self._probabilities(model, self._pooled[0]), y)
            for site, model in zip(self._sites, models.local, strict=True)
        }
        return overall, {"pooled": self._figures(pooled, y), "local": local}, drawn

    def sites(self, models: Models) -> dict[str, Result]:
        """On each site's own test cases: the federation's model, the site's own, the pooled one, and the mixture."""
        return {
            site.name: self._site(number, site, inputs, models)
            for number, (site, inputs) in enumerate(zip(self._sites, self._inputs, strict=True))
        }

    def _site(self, number: int, site: Site, inputs: Inputs, models: Models) -> Result:
        x, y = inputs.test
        federated = self._probabilities(models.federated, x)
        result: Result = {
            "examples": {part: len(getattr(site, part)) for part in ("train", "validation", "test")},
            "classes": _counts(site),
            "federated": self._figures(federated, y),
            "local": None,
            "pooled": None,
            "mixture": None,
        }
        if models.local is not None and models.pooled is not None:
            own = self._probabilities(models.local[number], x)
            result["local"] = self._figures(own, y)
            result["pooled"] = self._figures(self._probabilities(models.pooled, x), y)
            result["mixture"] = self._figures((federated + own) / 2, y)
        return result

    def _probabilities(self, model: Tensors, x: Tensor) -> Tensor:
        return predict(weights.loaded(self._plan.spec, model), x, self._device)

    def _figures(self, probabilities: Tensor, y: Tensor) -> Result:
        return figures(probabilities, y, self._plan.scenario.evaluation.threshold)


def _counts(site: Site) -> dict[str, int]:
    counts = np.bincount(site.train.y, minlength=len(site.train.classes))
    return dict(zip(site.train.classes, counts.tolist(), strict=True))
