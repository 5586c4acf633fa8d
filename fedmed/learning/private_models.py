"""Which models can be trained under differential privacy: those in which no case's output hangs on another case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from fedmed.config.privacy import DifferentialPrivacy
from fedmed.errors import ConfigError, MissingPart
from fedmed.learning.order import ModelSpec
from fedmed.learning.weights import built, trained

SHOWN = 5


def check(private: DifferentialPrivacy | None, spec: ModelSpec, class_weights: Sequence[float]) -> None:
    """Raise ConfigError, before the first round, for what cannot keep the promise; nothing where `private` is None.

    Refused are class weights, which come from counts without noise, layers that mix cases, whose running statistics no noise
    leaves sound, and in the record modes whatever Opacus' validator refuses.
    """
    if private is None:
        return
    if len(set(class_weights)) > 1:
        raise ConfigError(
            "task.class_weights: the task weighs classes by the sites' counts, opened without noise; write none"
        )
    check_model(built(spec), spec.name, each_case=private.mode != "clinic")


def check_model(model: nn.Module, name: str, each_case: bool = True) -> None:
    """Raise ConfigError naming each layer that mixes cases and its replacement; with `each_case`, also what Opacus refuses.

    Raises MissingPart without Opacus where it is asked.
    """
    faults = [
        f"{place} is {type(layer).__name__}, which mixes the cases of a batch: use GroupNorm"
        for place, layer in model.named_modules()
        if isinstance(layer, nn.modules.batchnorm._BatchNorm)
    ]
    if each_case and not faults:
        faults = [str(error) for error in _validator().validate(model, strict=False)]
    faults += [] if trained(model) else ["it has no weights to train"]
    if faults:
        more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise ConfigError(f"model {name} cannot be trained under differential privacy: {'; '.join(faults[:SHOWN])}{more}")


def _validator() -> Any:
    try:
        from opacus.validators import ModuleValidator
    except ImportError as error:
        raise MissingPart(
            "training under differential privacy needs Opacus; install it with: pip install 'fedmed[dp]'"
        ) from error
    return ModuleValidator
