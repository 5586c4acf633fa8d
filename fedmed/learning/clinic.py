"""What a clinic does for a center: describe its cases in sums, train, validate. No case leaves these functions."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from torch import nn

from fedmed.errors import DataError
from fedmed.learning import control, inputs, weights
from fedmed.learning.census import put_census
from fedmed.learning.disclosure import Releasing, fingerprint_of
from fedmed.learning.fingerprint import parse_parity
from fedmed.learning.keeping import NOTHING, Shelf
from fedmed.learning.kinds import KINDS, Batch
from fedmed.learning.order import Inquiry, Order, Preparation
from fedmed.learning.prediction import device_of
from fedmed.learning.private_training import Seeds, descent, fresh_seeds, train_privately
from fedmed.learning.scoring import put_score
from fedmed.learning.sites_part import own_model, train_keeping
from fedmed.learning.training import holding
from fedmed.outbound.description import declared
from fedmed.preprocess.moments import Moments
from fedmed.sites.cases import SPLITS, Site, class_counts, patient_rows
from fedmed.wire import asides
from fedmed.wire.asides import Aside
from fedmed.wire.tensors import Tensors

Metrics = dict[str, float | int]


class Clinic:
    """One site's cases and what a center may ask of them."""

    def __init__(
        self,
        site: Site,
        desk: Releasing | None = None,
        seeds: Callable[[str, Order], Seeds] = fresh_seeds,
    ) -> None:
        """Without a `desk` nothing is told of what the images are like. The site's own certificate of its kernels counts.

        `seeds` makes, for a site and an order, what noise and samples are drawn from under differential privacy.
        """
        self.site, self._desk, self._seeds = site, desk, seeds
        self._parity = None if site.parity is None else parse_parity(site.parity)
        self.inputs = lru_cache(maxsize=2)(self._prepare)

    def _prepare(self, preparation: Preparation) -> inputs.Inputs:
        return inputs.prepare(self.site, preparation)

    def describe(self, request: str) -> str:
        """Name, shapes and counts and, where the task standardises over the federation, sums of the features: JSON.

        Of a masked inquiry, declared sizes instead of counts, and no sums: these are in `census`.
        """
        preparation = Inquiry.model_validate_json(request)
        train_cases = self.site.train
        sample = inputs.featurise(train_cases.take(np.arange(min(1, len(train_cases)))), preparation)
        sizes = {part: len(getattr(self.site, part)) for part in SPLITS}
        told: dict[str, Any] = {
            "name": self.site.name,
            "classes": list(train_cases.classes),
            "inputs": list(sample.shape[1:]),
            "examples": {part: declared(size) for part, size in sizes.items()} if preparation.masked else sizes,
        }
        if train_cases.has_masks:
            told["masks"] = True
        if not preparation.masked:
            told["class_counts"] = class_counts(train_cases).tolist()
            if (total := self._moments(preparation)) is not None:
                told["moments"] = [total.n, total.sum.tolist(), total.sumsq.tolist()]
        if preparation.fingerprint:
            shown = fingerprint_of(self.site, self._desk, self._parity, preparation.purpose)
            if shown is not None:
                told["fingerprint"] = shown.record()
        return json.dumps(told)

    def census(self, request: str) -> dict[str, ArrayLike]:
        """What the site adds to the masked census of an inquiry: the fields of `fedmed.learning.census`."""
        return put_census(class_counts(self.site.train).tolist(), self._moments(Inquiry.model_validate_json(request)))

    def _moments(self, preparation: Preparation) -> Moments | None:
        if preparation.normalise != "federated":
            return None
        total = inputs.moments_of(self.site.train, preparation)
        if not np.isfinite(total.sumsq).all():
            raise DataError(f"site {self.site.name}: training cases hold values that are not finite; mend or remove them")
        return total

    def train(self, order: Order, tensors: Tensors, shelf: Shelf = NOTHING) -> tuple[Tensors, Metrics]:
        """The model after this round's training, and the mean loss; `shelf` holds what the site keeps between rounds."""
        data = self.inputs(order.preparation).train
        if len(data[1]) == 0:
            raise DataError(f"site {self.site.name} has no training cases")
        if order.round == 1 or order.privacy is not None:  # under it nothing is validated, and a model is first seen here
            self._look(order, tensors, order.round - 1)
        if order.privacy is not None and order.privacy.mode != "clinic":
            return self._train_privately(weights.loaded(order.model, tensors), data, order), {}
        trained, loss = train_keeping(self.site.name, data, order, tensors, shelf)
        return trained, {"num-examples": len(data[1]), "loss": loss}

    def _look(self, order: Order, tensors: Tensors, after: int) -> None:
        """Tell the clinic itself, where it listens, what the model after so many rounds is worth on its own test cases."""
        if not asides.is_heard():
            return
        data, kind = self.inputs(order.preparation).test, KINDS[order.model.kind]
        if len(data[1]) == 0:
            return
        found = kind.validate(weights.loaded(order.model, control.split(tensors)[0]), data, order, device_of(order.device))
        known = {name: value if math.isfinite(value) else None for name, value in found.items()}
        asides.say(Aside(after, len(data[1]), {kind.leading: known.pop(kind.leading), **known}))

    def _train_privately(self, model: nn.Module, data: Batch, order: Order) -> Tensors:
        """The model or, in mode record-distributed, its change; no measure, which would be told without noise."""
        groups, seeds = patient_rows(self.site.train), self._seeds(self.site.name, order)
        with holding(model, frozenset(weights.frozen_in(model, order.frozen))):
            if order.privacy is not None and order.privacy.mode == "record-distributed":
                return descent(model, data, groups, order, seeds)
            train_privately(model, data, groups, order, declared(len(data[1])), seeds)
            return weights.read(model)

    def validate(self, order: Order, tensors: Tensors, shelf: Shelf = NOTHING) -> Metrics:
        """Loss and AUC, or Dice, of the given model on the validation cases; NaN where undefined."""
        tensors = own_model(tensors, order.round, shelf)
        self._look(order, tensors, order.round)
        data, kind = self.inputs(order.preparation).validation, KINDS[order.model.kind]
        if len(data[1]) == 0:
            return {"num-examples": 0, "loss": math.nan, kind.leading: math.nan}
        model = weights.loaded(order.model, tensors)
        return {"num-examples": len(data[1]), **kind.validate(model, data, order, device_of(order.device))}

    def score(self, order: Order, tensors: Tensors, shelf: Shelf = NOTHING) -> dict[str, ArrayLike]:
        """What the site adds to a masked evaluation of the given model: the fields of `fedmed.learning.scoring`."""
        tensors = own_model(tensors, order.round, shelf)
        self._look(order, tensors, order.round)
        data = self.inputs(order.preparation).validation
        model = weights.loaded(order.model, tensors) if len(data[1]) else None
        return put_score(model, data, order, device_of(order.device))
