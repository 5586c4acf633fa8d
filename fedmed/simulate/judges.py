"""How a model is judged on test cases: by class probabilities, or by the masks that it draws."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmed.learning import overlap, weights
from fedmed.learning.inputs import prepare, tensors
from fedmed.learning.metrics import curves, figures
from fedmed.learning.plan import Plan
from fedmed.learning.prediction import device_of, predict
from fedmed.learning.windows import predict_case
from fedmed.simulate.baselines import pooled_inputs
from fedmed.simulate.pictures import Picture, draw
from fedmed.sites.cases import Site
from fedmed.wire.tensors import Tensors

Result = dict[str, Any]
MOST_PICTURES = 12


class Judge(Protocol):
    """One kind of task's way; what it has seen of a model is its own affair."""

    def on_all(self, model: Tensors) -> Any:
        """The model on the test cases of all sites together."""

    def on_site(self, number: int, model: Tensors) -> Any:
        """The model on the test cases of one site."""

    def joined(self, parts: Sequence[Any]) -> Any:
        """What was seen of several sites' test cases, together."""

    def mixed(self, number: int, one: Tensors, other: Tensors) -> Any:
        """The mean of two models' probabilities on the test cases of one site."""

    def figures(self, seen: Any) -> Result:
        """Measures with their intervals."""

    def curves(self, seen: Any) -> Result:
        """Curves, None where this kind has none."""

    def pictures(self, model: Tensors) -> dict[str, Picture]:
        """One picture a site, where there is something to look at."""


class LabelJudge:
    """One class a case."""

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

    def on_all(self, model: Tensors) -> tuple[Tensor, Tensor]:
        """Probabilities and classes."""
        return self._probabilities(model, self._pooled[0]), self._pooled[1]

    def on_site(self, number: int, model: Tensors) -> tuple[Tensor, Tensor]:
        """Probabilities and classes."""
        x, y = self._inputs[number].test
        return self._probabilities(model, x), y

    def joined(self, parts: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Probabilities and classes."""
        return torch.cat([seen for seen, _ in parts]), torch.cat([y for _, y in parts])

    def mixed(self, number: int, one: Tensors, other: Tensors) -> tuple[Tensor, Tensor]:
        """Probabilities and classes."""
        x, y = self._inputs[number].test
        return (self._probabilities(one, x) + self._probabilities(other, x)) / 2, y

    def figures(self, seen: tuple[Tensor, Tensor]) -> Result:
        """AUC, accuracy and their like."""
        return figures(*seen, self._plan.scenario.evaluation.threshold)

    def curves(self, seen: tuple[Tensor, Tensor]) -> Result:
        """ROC and calibration."""
        return curves(*seen)

    def pictures(self, model: Tensors) -> dict[str, Picture]:
        """None: a class cannot be seen."""
        return {}

    def _probabilities(self, model: Tensors, x: Tensor) -> Tensor:
        return predict(weights.loaded(self._plan.spec, model), x, self._device)


@dataclass(frozen=True)
class Drawn:
    """What masks a model drew, in counts of voxels."""

    tallies: NDArray[np.int64]
    """`(N, foreground classes, 3)`: hit, false, missed."""
    patients: list[str]


class MaskJudge:
    """One class a voxel. Cases are predicted one by one and kept as counts, so that memory does not grow with them."""

    def __init__(self, plan: Plan, sites: Sequence[Site]) -> None:
        self._plan, self._sites = plan, sites
        self._device = device_of(plan.scenario.engine.device)
        self._known: dict[tuple[int, int], Drawn] = {}

    def on_all(self, model: Tensors) -> Drawn:
        """The sites' counts, one after the other."""
        return self.joined([self.on_site(number, model) for number in range(len(self._sites))])

    def joined(self, parts: Sequence[Drawn]) -> Drawn:
        """Counts of several sites."""
        return Drawn(np.concatenate([part.tallies for part in parts]), [who for part in parts for who in part.patients])

    def on_site(self, number: int, model: Tensors) -> Drawn:
        """Counts of every test case; remembered, since all of them are asked for again."""
        key = (number, id(model))
        if key not in self._known:
            self._known[key] = self._drawn(number, [model])
        return self._known[key]

    def mixed(self, number: int, one: Tensors, other: Tensors) -> Drawn:
        """Counts of the masks that two models draw together."""
        return self._drawn(number, [one, other])

    def figures(self, seen: Drawn) -> Result:
        """Dice, IoU, sensitivity and precision."""
        return overlap.mask_figures(seen.tallies, self._sites[0].train.classes, seen.patients)

    def curves(self, seen: Drawn) -> Result:
        """None: there is one decision for every voxel."""
        return {"roc": None, "calibration": None}

    def pictures(self, model: Tensors) -> dict[str, Picture]:
        """The test case of median Dice at each of the first sites: neither the best nor the worst is picked."""
        found = {}
        for number, site in enumerate(self._sites[:MOST_PICTURES]):
            dice = overlap.mean_over_classes(overlap.per_case(self.on_site(number, model).tallies)["dice"])
            if not np.isfinite(dice).any():
                continue
            order = np.argsort(dice)  # NaN last
            row = int(order[(int(np.isfinite(dice).sum()) - 1) // 2])
            [decided] = self._decided(number, [model], [row])
            case = site.test.take(np.array([row]))
            found[site.name] = draw(case, decided.numpy(), float(dice[row]))
        return found

    def _drawn(self, number: int, models: Sequence[Tensors]) -> Drawn:
        site, rows = self._sites[number], range(len(self._sites[number].test))
        classes, masks = len(site.test.classes), site.test.y
        decided = self._decided(number, models, rows)
        truths = (torch.from_numpy(masks[row].copy()) for row in rows)
        tallies = [overlap.tally(one, truth, classes) for one, truth in zip(decided, truths, strict=True)]
        patients = rows if site.test.patient is None else site.test.patient
        shape = (len(tallies), classes - 1, 3)
        return Drawn(np.array(tallies, np.int64).reshape(shape), [f"{site.name}/{who}" for who in patients])

    def _decided(self, number: int, models: Sequence[Tensors], rows: Sequence[int]) -> Iterator[Tensor]:
        """The masks that the models draw together on some test cases of a site."""
        plan, site = self._plan, self._sites[number]
        for row in rows:
            x, _ = tensors(site.test.take(np.array([row])), plan.preparation, None, site.name)
            found = [
                predict_case(weights.loaded(plan.spec, model), x[0], plan.scenario.task.patches, self._device)
                for model in models
            ]
            yield overlap.decide(torch.stack(found).mean(0), plan.scenario.evaluation.threshold)


JUDGES: dict[str, type[LabelJudge] | type[MaskJudge]] = {"classification": LabelJudge, "segmentation": MaskJudge}
