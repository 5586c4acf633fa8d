"""The task table: model + loss + features + augmentation + class weighting, one row a task."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from fedmed.config import plugins
from fedmed.config.scenario import Task as TaskSection
from fedmed.errors import ConfigError
from fedmed.learning.order import KindName

GROUP = "fedmed.tasks"
Weighting = Literal["none", "balanced", "sqrt"]


@dataclass(frozen=True)
class Task:
    """What a scenario's `task:` names. Two classes are learned as one logit, more as one logit each."""

    model: str
    features: str = "plain"
    augment: str = "none"
    class_weights: Weighting = "none"
    clip: float | None = None
    """Standardised tabular values are clipped to this many standard deviations."""
    kind: KindName = "classification"
    """`segmentation`: every voxel has a class; two classes are one logit a voxel, more one logit each."""


TABLE: dict[str, Task] = {
    "tabular": Task("logistic-regression"),
    "tabular-mlp": Task("mlp", clip=5.0, class_weights="sqrt"),
    "image": Task("small-cnn", features="image"),
    "scan": Task("small-cnn", features="standardised-image", class_weights="balanced"),
    "radiograph": Task("small-cnn", features="image", augment="xray", class_weights="balanced"),
    "lesion": Task("mlp", features="invariants", clip=5.0, class_weights="sqrt"),
    "volume": Task("densenet121", features="standardised-image", augment="scan", class_weights="balanced"),
    "segmentation": Task("unet", features="standardised-image", augment="scan", kind="segmentation"),
}


def find(name: str) -> Task:
    """The task's row: built in, or an entry point of the group `fedmed.tasks` that names a `Task`."""
    if name in TABLE:
        return TABLE[name]
    added = plugins.load(GROUP, name, "task.name")
    if isinstance(added, Task):
        return added
    if added is not None:
        raise ConfigError(f"task.name: {name!r} is a {type(added).__name__}; expected a fedmed.learning.tasks.Task")
    known = ", ".join(sorted([*TABLE, *plugins.names(GROUP)]))
    raise ConfigError(f"task.name: got {name!r}, allowed: {known} (or your own, entry point {GROUP})")


def resolve(section: TaskSection) -> Task:
    """The task with what the scenario changes in it. Raises ConfigError for names that no table knows."""
    from fedmed.learning import features, kinds, models  # torch is loaded only where a task is used

    chosen = find(section.name)
    chosen = replace(
        chosen,
        model=section.model or chosen.model,
        augment=section.augment or chosen.augment,
        class_weights=section.class_weights or chosen.class_weights,
    )
    models.find(chosen.model)
    augments = kinds.KINDS[chosen.kind].augments
    if chosen.augment not in augments:
        raise ConfigError(f"task.augment: got {chosen.augment!r}, allowed: {', '.join(augments)}")
    if chosen.features not in features.TABLE:
        raise ConfigError(f"task {section.name}: features {chosen.features!r}, allowed: {', '.join(features.TABLE)}")
    if section.patches is not None and chosen.kind != "segmentation":
        raise ConfigError(f"task.patches: {section.name} classifies whole cases; leave it out, it is for segmentation")
    return chosen
