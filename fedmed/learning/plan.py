"""From the sites' descriptions to a plan: which model, which scale, which class weights, which first weights."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fedmed.config.scenario import Patches, Scenario
from fedmed.errors import ConfigError, DataError
from fedmed.learning import private_models, tasks, weights
from fedmed.learning.census import Census
from fedmed.learning.fingerprint import Fingerprint
from fedmed.learning.fingerprint import parse as parse_fingerprint
from fedmed.learning.histograms import BINS
from fedmed.learning.inputs import scale_of
from fedmed.learning.kinds import KINDS
from fedmed.learning.order import Inquiry, KindName, ModelSpec, Order, Preparation, PrivateWork
from fedmed.learning.schedule import learning_rate
from fedmed.preprocess.moments import Moments
from fedmed.wire.tensors import Tensors, load

SCALE_PREFIX = "preparation."  # beside its weights, a run's model file carries the scale of its inputs


@dataclass(frozen=True)
class Described:
    """What a site says of itself before the first round."""

    name: str
    classes: tuple[str, ...]
    inputs: tuple[int, ...]
    examples: dict[str, int]
    class_counts: tuple[int, ...]
    """Empty where the center learns sums only: they are in the census, and `examples` are declared sizes."""
    moments: Moments | None
    fingerprint: Fingerprint | None = None
    """Of sites with images, where it was asked for."""
    masks: bool = False
    """Every voxel has a class, and `class_counts` are voxels."""

    @classmethod
    def parse(cls, text: str) -> Described:
        """Read a description. Raises DataError where it is malformed."""
        try:
            told: dict[str, Any] = json.loads(text)
            sums = told.get("moments")
            described = cls(
                name=str(told["name"]),
                classes=tuple(told["classes"]),
                inputs=tuple(int(n) for n in told["inputs"]),
                examples={str(k): int(v) for k, v in told["examples"].items()},
                class_counts=tuple(int(n) for n in told.get("class_counts", ())),
                moments=None if sums is None else Moments(int(sums[0]), *(np.array(each, np.float64) for each in sums[1:])),
                fingerprint=parse_fingerprint(told["fingerprint"]) if "fingerprint" in told else None,
                masks=bool(told.get("masks", False)),
            )
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
            raise DataError(f"a site's description cannot be read: {error!r}") from error
        if fault := described.fault():
            raise DataError(f"site {described.name} describes itself wrongly: {fault}")
        return described

    def fault(self) -> str | None:
        """What in the description cannot be true, if anything."""
        if len(self.class_counts) not in (0, len(self.classes)) or min(self.class_counts, default=0) < 0:
            return f"{len(self.classes)} classes with the counts {list(self.class_counts)}"
        if self.moments is None:
            return None
        sums, width = (self.moments.sum, self.moments.sumsq), math.prod(self.inputs)
        if self.moments.n < 0 or any(each.shape != (width,) or not np.isfinite(each).all() for each in sums):
            return f"its sums are not those of {width} finite features"
        return None


def first_preparation(scenario: Scenario) -> Preparation:
    """How sites prepare their cases, before the federation's scale is known."""
    task = tasks.resolve(scenario.task)
    if task.kind == "segmentation" and scenario.data.normalise != "none":
        raise ConfigError(
            f"data.normalise: got {scenario.data.normalise}, which scales every voxel by itself; allowed for segmentation: "
            "none (its features standardise each image)"
        )
    return Preparation(features=task.features, normalise=scenario.data.normalise, clip=task.clip)


def inquiry(scenario: Scenario) -> Inquiry:
    """What the sites are asked before the first round."""
    return Inquiry(
        **first_preparation(scenario).model_dump(),
        fingerprint=scenario.federation.gate != "off",
        purpose=f"run {scenario.name}",
        masked=scenario.privacy.is_masked,
    )


@dataclass(frozen=True)
class Plan:
    """All that is fixed for a run once the sites are known."""

    scenario: Scenario
    spec: ModelSpec
    preparation: Preparation
    class_weights: tuple[float, ...]
    augment: str
    private: PrivateWork | None = None
    """What differential privacy asks of the sites' training."""
    held: frozenset[str] = frozenset()
    """Tensors that no site sends: frozen, or a site's own. The federation's model has them as it began."""

    def first_weights(self) -> Tensors:
        """The weights that round 1 starts from. Raises ConfigError or DataError where `task.init` does not fit."""
        if self.scenario.task.init is None:
            return weights.fresh(self.spec, self.scenario.seed)
        given = load(Path(self.scenario.task.init))
        own = {name: value for name, value in given.items() if not name.startswith(SCALE_PREFIX)}
        return weights.fit_spec(self.spec, own)

    def order(self, number: int) -> Order:
        """The order of a round."""
        return Order(
            round=number,
            seed=self.scenario.seed,
            model=self.spec,
            preparation=self.preparation,
            training=self.scenario.training,
            learning_rate=learning_rate(self.scenario.training, self.scenario.rounds, number),
            augment=self.augment,
            class_weights=self.class_weights,
            device=self.scenario.engine.device,
            patches=self.scenario.task.patches,
            threshold=self.scenario.evaluation.threshold,
            bins=BINS if self.scenario.privacy.is_masked else None,
            frozen=self.scenario.task.frozen,
            local=self.scenario.task.local,
            privacy=self.private,
        )


def make(scenario: Scenario, sites: list[Described], census: Census | None = None) -> Plan:
    """The plan for these sites, with the counts and sums of the census where there was one.

    Raises DataError where the sites do not agree on classes or shapes, or neither they nor a census tell counts; ConfigError
    where the task does not suit them.
    """
    task = tasks.resolve(scenario.task)
    first = sites[0]
    refuse_unlike(scenario, sites)
    private = scenario.privacy.differential_privacy
    known = census or (_census_of(sites) if private is None else Census((0,) * len(first.classes), None))
    inputs = _seen(first.inputs, scenario.task.patches)
    _try_out(task.kind, task.augment, inputs)
    options, counts = scenario.task.model_options, np.array(known.class_counts, np.int64)
    spec = ModelSpec(name=task.model, options=options, inputs=inputs, classes=len(first.classes), kind=task.kind)
    held = {
        *weights.frozen_names(spec, scenario.task.frozen),
        *weights.frozen_names(spec, scenario.task.local, "task.local"),
    }
    if not weights.trained_names(spec, held):
        raise ConfigError("task.frozen and task.local together name every weight of the model; leave some to be shared")
    balance = class_weights(task.class_weights, counts)
    private_models.check(private, spec, balance)
    return Plan(scenario, spec, preparation(scenario, known), balance, task.augment, held=frozenset(held))


def refuse_unlike(scenario: Scenario, sites: Sequence[Described]) -> None:
    """Raise DataError where the sites do not agree on classes or shapes, or the task is of another kind than their cases."""
    first = sites[0]
    for site in sites[1:]:
        for what in ("classes", "inputs"):
            if getattr(site, what) != getattr(first, what):
                raise DataError(
                    f"sites disagree on {what}: {first.name} has {getattr(first, what)}, {site.name} {getattr(site, what)}"
                )
    _refuse_another_kind(tasks.resolve(scenario.task).kind, sites)


def _census_of(sites: list[Described]) -> Census:
    """The sums of what the sites tell themselves."""
    if silent := [site.name for site in sites if not site.class_counts]:
        raise DataError(f"no counts of the classes from {', '.join(silent)}: where sites tell none, a census must")
    counts = np.sum([site.class_counts for site in sites], axis=0).tolist()
    moments = [site.moments for site in sites if site.moments is not None]
    return Census(tuple(counts), sum(moments[1:], moments[0]) if moments else None)


def _refuse_another_kind(kind: KindName, sites: Sequence[Described]) -> None:
    wanted = kind == "segmentation"
    for site in sites:
        if site.masks != wanted:
            has, needs = ("masks", "one class a case") if site.masks else ("one class a case", "masks")
            raise DataError(f"site {site.name} has {has}; a task of {kind} needs {needs}: take another task or reader")


def _seen(case: tuple[int, ...], patches: Patches | None) -> tuple[int, ...]:
    """The shape that the network sees: a patch's, where there are any."""
    if patches is None:
        return case
    if len(case) != len(patches.size) + 1:
        raise ConfigError(
            f"task.patches.size: got {list(patches.size)} for cases of shape {list(case)} (channels first); one side for "
            f"each of their {len(case) - 1} axes of space is needed"
        )
    return case[0], *patches.size


def _try_out(kind: KindName, name: str, inputs: tuple[int, ...]) -> None:
    """Raise ConfigError for an augmentation that inputs of this shape cannot have."""
    batch = torch.zeros(2, *inputs)
    masks = [torch.zeros(2, *inputs[1:], dtype=torch.uint8)] if kind == "segmentation" else []
    try:
        KINDS[kind].augments[name](batch, *masks, torch.Generator())
    except (RuntimeError, ValueError, IndexError) as error:
        raise ConfigError(f"task.augment: {name} cannot be applied to inputs of shape {list(inputs)}: {error}") from error


def preparation(scenario: Scenario, census: Census) -> Preparation:
    """The preparation with the federation's scale in it, where the scenario asks for one."""
    plain = first_preparation(scenario)
    if scenario.data.normalise != "federated" or census.moments is None:
        return plain
    scale = scale_of(census.moments)
    return plain.model_copy(update={"mean": tuple(map(float, scale.mean)), "std": tuple(map(float, scale.std))})


def class_weights(kind: str, counts: np.ndarray[Any, Any]) -> tuple[float, ...]:
    """Weights of the classes in the loss: 1, N/(K n) or its square root; a class nobody has weighs nothing."""
    if kind == "none":
        return (1.0,) * len(counts)
    share = np.where(counts > 0, counts.sum() / (len(counts) * np.maximum(counts, 1)), 0.0)
    return tuple(float(w) for w in (share if kind == "balanced" else np.sqrt(share)))


def scale_tensors(preparation: Preparation) -> Tensors:
    """The scale of the inputs, as it stands beside the weights in a run's model file; nothing where it has none."""
    if preparation.mean is None or preparation.std is None:
        return {}
    return {
        f"{SCALE_PREFIX}mean": np.asarray(preparation.mean, np.float32),
        f"{SCALE_PREFIX}std": np.asarray(preparation.std, np.float32),
    }
