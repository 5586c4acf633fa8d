"""Between a PyTorch model and named tensors; one resident model a spec and process."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fedmed.clock import derive_seed
from fedmed.errors import ConfigError
from fedmed.learning import models
from fedmed.learning.order import ModelSpec
from fedmed.wire.tensors import Tensors

NAMES_SHOWN = 3
FROZEN_SHOWN = 40


def fresh(spec: ModelSpec, seed: int) -> Tensors:
    """Initial weights of a run."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "init"))
        return {name: value.copy() for name, value in read(built(spec)).items()}


@lru_cache(maxsize=4)
def _resident(text: str) -> nn.Module:
    spec = ModelSpec.model_validate_json(text)
    model = built(spec)
    if len(spec.inputs) > 3:  # kernels of volumes have five axes, which that order does not know
        return model
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def built(spec: ModelSpec) -> nn.Module:
    """A new model of this spec, its weights drawn from torch's global generator. Raises ConfigError."""
    return models.build(spec.name, spec.inputs, spec.outputs, spec.options, spec.kind)


def loaded(spec: ModelSpec, tensors: Mapping[str, NDArray[np.generic]]) -> nn.Module:
    """The process's own model of this spec, filled with `tensors`. Raises ConfigError where they do not fit it."""
    model = _resident(spec.model_dump_json()).cpu()
    check_fit(model, tensors)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            value.copy_(torch.from_numpy(_writable(tensors[name])))
    return model


def check_fit(model: nn.Module, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Raise ConfigError unless `tensors` have the names and shapes of the model's state."""
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    got = {name: tuple(value.shape) for name, value in tensors.items()}
    if wanted == got:
        return
    differ = [
        f"{n}: got {got.get(n)}, allowed {wanted.get(n)}" for n in sorted({*wanted, *got}) if got.get(n) != wanted.get(n)
    ]
    more = f" and {len(differ) - NAMES_SHOWN} more" if len(differ) > NAMES_SHOWN else ""
    raise ConfigError(f"these weights are not the model's: {'; '.join(differ[:NAMES_SHOWN])}{more}")


def fit_spec(spec: ModelSpec, tensors: Mapping[str, NDArray[Any]]) -> Tensors:
    """A copy of `tensors` in the order and dtypes of a model of this spec. Raises ConfigError where they do not fit it."""
    model = built(spec)
    check_fit(model, tensors)
    return {name: np.array(tensors[name], like.dtype) for name, like in read(model).items()}


def frozen_in(model: nn.Module, patterns: Sequence[str], key: str = "task.frozen") -> tuple[str, ...]:
    """Names of the model's tensors that a pattern names, `*` standing for any text.

    Raises ConfigError for a pattern that names none, and where nothing would be left to train.
    """
    names = list(model.state_dict())
    named = {pattern: fnmatch.filter(names, pattern) for pattern in patterns}
    if idle := [pattern for pattern, found in named.items() if not found]:
        raise ConfigError(f"{key}: {', '.join(map(repr, idle))} names no tensor of the model, which has {_some(names)}")
    chosen = {name for found in named.values() for name in found}
    if chosen.issuperset(name for name, _ in model.named_parameters(remove_duplicate=False)):
        raise ConfigError(
            f"{key}: {list(patterns)} names every weight of the model, which leaves nothing to share; leave out some of "
            f"{_some(names)}"
        )
    return tuple(name for name in names if name in chosen)


def frozen_names(spec: ModelSpec, patterns: Sequence[str], key: str = "task.frozen") -> tuple[str, ...]:
    """The tensors of a model of this spec that stay as they began; raises as `frozen_in` does."""
    return frozen_in(built(spec), patterns, key) if patterns else ()


def trained_names(spec: ModelSpec, held: Collection[str]) -> frozenset[str]:
    """The weights of a model of this spec that are trained, but for those `held`."""
    return frozenset(name for name, _ in built(spec).named_parameters(remove_duplicate=False)) - frozenset(held)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - FROZEN_SHOWN} more" if len(names) > FROZEN_SHOWN else ""
    return ", ".join(names[:FROZEN_SHOWN]) + more


def read(model: nn.Module) -> Tensors:
    """Views of the model's state on the CPU, C-contiguous; valid until the model changes."""
    return {name: value.detach().cpu().contiguous().numpy() for name, value in model.state_dict().items()}


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    """The weights that are trained, by name."""
    return {name: value for name, value in model.named_parameters() if value.requires_grad}


def _writable(value: NDArray[Any]) -> NDArray[Any]:
    # torch warns of read-only memory, which it only reads here
    view = value.view()
    if not view.flags.writeable:
        view = np.array(view)
    return view
