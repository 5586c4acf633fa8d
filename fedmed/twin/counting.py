"""What a model costs, counted by running it on tensors that have shapes and no numbers: no memory, no waiting.

PyTorch is imported here, and only once something is counted.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmed.config.scenario import Scenario
from fedmed.errors import ConfigError
from fedmed.twin.planning.cost import Cost

if TYPE_CHECKING:
    from torch import Tensor, nn

    from fedmed.learning.order import ModelSpec

TWO = 2  # cases that are counted with; a model may want more than one

_HALVED = ("conv", "linear", "matmul", "bmm", "addmm", "baddbmm", "einsum", "prelu")
_WHOLE = ("group_norm", "layer_norm", "softmax", "cross_entropy", "binary_cross_entropy_with_logits")


def spec_of(
    scenario: Scenario, data: Path | None = None, inputs: tuple[int, ...] | None = None, classes: int | None = None
) -> tuple[ModelSpec, tuple[int, ...]]:
    """The model of a scenario and the shape of a case, channels first: as given, or from the cases, which are read.

    Raises ConfigError or DataError as a run would, and ConfigError where only one of `inputs` and `classes` is given.
    """
    from fedmed.learning import tasks
    from fedmed.learning.order import ModelSpec

    task = tasks.resolve(scenario.task)
    if (inputs is None) != (classes is None):
        raise ConfigError("give both of --inputs and --classes, such as 1x128x128 and 2, or none and --data")
    if inputs is None or classes is None:
        inputs, classes = _seen_in(scenario, data)
    patches = scenario.task.patches
    seen = inputs if patches is None else (inputs[0], *patches.size)
    if len(seen) != len(inputs):
        raise ConfigError(f"cases of shape {list(inputs)} have no patches of {list(seen[1:])}: the axes are not as many")
    options = scenario.task.model_options
    return ModelSpec(name=task.model, options=options, inputs=seen, classes=classes, kind=task.kind), inputs


def _seen_in(scenario: Scenario, data: Path | None) -> tuple[tuple[int, ...], int]:
    import numpy as np

    from fedmed.learning.inputs import featurise
    from fedmed.learning.plan import first_preparation
    from fedmed.sites.readers import read

    cases = read(scenario.data, data, scenario.seed, scenario.source)  # whoever they will be dealt to
    sample = featurise(cases.take(np.arange(1)), first_preparation(scenario))
    return tuple(int(side) for side in sample.shape[1:]), len(cases.classes)


def cost_of(spec: ModelSpec, frozen: tuple[str, ...] = ()) -> Cost:
    """Parameters, operations and what forward keeps, of the model of `spec`.

    Raises ConfigError where it cannot be made for inputs of this shape, MissingPart where it needs MONAI.
    """
    import torch

    from fedmed.learning import models, weights

    with torch.device("meta"):
        model = models.build(spec.name, spec.inputs, spec.outputs, spec.options, spec.kind)
        x = torch.zeros(TWO, *spec.inputs)
    held = weights.frozen_in(model, frozen)
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    return Cost(
        name=spec.name,
        inputs=tuple(spec.inputs),
        parameters=sum(sizes.values()),
        trained=sum(size for name, size in sizes.items() if name not in held),
        operations=_operations(model, x),
        kept=_kept(model, x, is_mixed=False),
        kept_mixed=_kept(model, x, is_mixed=True),
        logits=4 * spec.outputs * (math.prod(spec.inputs[1:]) if spec.kind == "segmentation" else 1),
    )


def _operations(model: nn.Module, x: Tensor) -> float:
    """Of one case forward, convolutions and products: the rest is below a hundredth in networks of images."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(x)
    return float(counter.get_total_flops()) / TWO


def _kept(model: nn.Module, x: Tensor, is_mixed: bool) -> tuple[int, ...]:
    """Bytes of each tensor that autograd saves, weights left out, each once; of one case."""
    import torch
    from torch.autograd.graph import saved_tensors_hooks

    weights = {_storage(each) for each in [*model.parameters(), *model.buffers()]}
    found: dict[int, int] = {}
    alive: list[Tensor] = []  # so that no number of a storage is used twice

    def pack(saved: Tensor) -> Tensor:
        if (key := _storage(saved)) not in weights and key not in found:
            found[key] = saved.untyped_storage().nbytes()
            alive.append(saved)
        return saved

    casts = _autocast(weights, alive) if is_mixed else torch.enable_grad()
    with torch.enable_grad(), saved_tensors_hooks(pack, lambda kept: kept), casts:
        model(x)
    return tuple(size // TWO for size in found.values())


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _autocast(weights: set[int], alive: list[Tensor]) -> Any:
    """CUDA's autocast for tensors without numbers: products in half precision, normalisations and losses in float32
    (PyTorch's documentation, "CUDA Ops that can autocast"). Casts of weights are weights."""
    import torch
    from torch.overrides import TorchFunctionMode

    def cast(value: Any, kind: torch.dtype) -> Any:
        if not isinstance(value, torch.Tensor) or not value.is_floating_point() or value.dtype == kind:
            return value
        made = value.to(kind)
        if _storage(value) in weights:
            weights.add(_storage(made))
            alive.append(made)
        return made

    class Casts(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            name = getattr(func, "__name__", "")
            kind = None
            if name.startswith(_HALVED):
                kind = torch.bfloat16
            elif name.startswith(_WHOLE):
                kind = torch.float32
            if kind is not None:
                args = tuple(cast(each, kind) for each in args)
                kwargs = {key: cast(each, kind) for key, each in (kwargs or {}).items()}
            return func(*args, **(kwargs or {}))

    return Casts()
