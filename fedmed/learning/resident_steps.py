"""A resident model's training steps without what is the same at each site: optimiser, autograd's graph, module calls.

The kernels of one step are recorded once for a shape of batch and run again from the list. Those are the kernels that
`fedmed.learning.training` runs, in its order, so that the weights are the same to the last bit. One order is changed: a
ReLU before a max-pooling comes after it, on a quarter of the values. That is exact in both directions: of a window with a
positive value the same place is the largest, and of one without both give 0 and no gradient.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from fedmed.clock import derive_seed
from fedmed.learning.kinds import KINDS, Batch
from fedmed.learning.order import Order
from fedmed.learning.prediction import channels_last, device_of
from fedmed.learning.training import optimiser_of, penalty

Gradients = Callable[..., "Sequence[Tensor | None]"]
"""`(class weights, x (N, ...), y (N, ...), weights at the start..., weights...)` -> the cases' loss, and the gradients, None
of a weight that is not used."""
PAYS_AFTER = 100
"""Steps with a shape of batch before it is recorded: recording takes as long as so many steps save, about."""
NOT_RECORDABLE = RuntimeError, TypeError, ValueError, AttributeError
"""What PyTorch raises where a model does more than call kernels: looks at values, leaves PyTorch."""


def obstacles(model: nn.Module, order: Order) -> list[str]:
    """Why this order's steps cannot be recorded; empty where they can."""
    found = {
        "state that is not trained": any(True for _ in model.buffers()),
        "frozen tensors": bool(order.frozen) or not all(each.requires_grad for each in model.parameters()),
        f"device {order.device}": device_of(order.device).type != "cpu",
    }
    return [name for name, is_so in found.items() if is_so]


def seed_of(order: Order, site: str) -> int:
    """What a clinic's training draws from in a round."""
    return derive_seed(order.seed, "train", site, order.round)


def batches_of(cases: Batch, order: Order, site: str) -> Iterator[Batch]:
    """The batches of a clinic's training in a round."""
    generator = torch.Generator().manual_seed(seed_of(order, site))
    return KINDS[order.model.kind].batches(cases, order, generator)


class PoolingFirst(TorchFunctionMode):
    """Within, a max-pooling of a ReLU's result is the ReLU of a max-pooling."""

    def __init__(self) -> None:
        super().__init__()
        self._before: dict[int, tuple[Tensor, Tensor, tuple[int, int]]] = {}

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """One call of PyTorch's."""
        given = dict(kwargs or {})
        if function is functional.max_pool2d and (found := self._before.get(id(args[0]) if args else 0)):
            made, before, versions = found
            if versions == (made._version, before._version):  # nobody has written into either since
                return torch.relu(function(before, *args[1:], **given))
        made = function(*args, **given)
        if function in (functional.relu, torch.relu) and args and not given.get("inplace", False):
            self._before[id(made)] = made, args[0], (made._version, args[0]._version)  # held: its number stays its own
        return made


class _Measured(nn.Module):
    """A model with its loss, in one."""

    def __init__(self, model: nn.Module, order: Order) -> None:
        super().__init__()
        self.model, self._loss, self._training = model, KINDS[order.model.kind].loss, order.training

    def forward(self, classes: Tensor, x: Tensor, y: Tensor, anchors: list[Tensor]) -> tuple[Tensor, Tensor]:
        """The loss of the cases, and what a step makes smaller."""
        loss = self._loss(self.model(x).float(), y, classes)
        if self._training.l2 or anchors:
            return loss, loss + penalty(self.model, anchors, self._training)
        return loss, loss


def gradients_of(model: nn.Module, order: Order) -> Gradients:
    """A step's gradients by autograd."""
    measured = _Measured(model, order)
    names = [name for name, _ in measured.named_parameters()]

    def gradients(classes: Tensor, x: Tensor, y: Tensor, *given: Tensor) -> Sequence[Tensor | None]:
        leaves = [each.detach().requires_grad_() for each in given[-len(names) :]]
        anchors = list(given[: -len(names)])
        with torch.enable_grad(), PoolingFirst():
            loss, whole = functional_call(measured, dict(zip(names, leaves, strict=True)), (classes, x, y, anchors))
            return loss.detach(), *torch.autograd.grad(whole, leaves, allow_unused=True)

    return gradients


def recorded(gradients: Gradients, given: Sequence[Tensor]) -> Gradients | None:
    """The kernels that `gradients` runs on what has the shapes of `given`; None where they are not the same each time.

    Looked at are the outcome, to the last bit, and whether Python's or NumPy's own generator was drawn from.
    """
    try:
        from torch.fx.experimental.proxy_tensor import make_fx  # a second to load
    except ImportError:  # PyTorch calls it experimental
        return None
    drawn = _other_generators()
    with torch.random.fork_rng(devices=[]):
        before = torch.get_rng_state()
        expected = gradients(*given)
        torch.set_rng_state(before)
        try:
            graph = make_fx(gradients)(*given)
            _without_idle(graph)
            _laid_alike(graph, given)
            torch.set_rng_state(before)
            found = graph(*given)
        except NOT_RECORDABLE:
            return None
    if drawn != _other_generators():
        return None
    same = all(
        (one is None and other is None) or (one is not None and other is not None and torch.equal(one, other))
        for one, other in zip(expected, found, strict=True)
    )
    return graph if same else None


def _other_generators() -> tuple[object, ...]:
    return random.getstate(), repr(np.random.get_state())  # noqa: NPY002 - seen, not drawn from


def _without_idle(graph: torch.fx.GraphModule) -> None:
    """Leave out other names of the same tensor, and what nobody uses: a ReLU that `PoolingFirst` has moved."""
    aten = torch.ops.aten
    for node in list(graph.graph.nodes):
        source = node.args[0] if node.target is aten.detach.default else None
        if node.target is aten.t.default and node.args[0].target is aten.t.default:
            source = node.args[0].args[0]
        if source is not None:
            node.replace_all_uses_with(source)
            graph.graph.erase_node(node)
    for node in reversed(graph.graph.nodes):
        if node.target in (aten.relu.default, aten.t.default) and not node.users:
            graph.graph.erase_node(node)
    graph.recompile()


class _Layouts(torch.fx.Interpreter):
    """Runs a list of kernels once and knows then which results lie with channels last."""

    def __init__(self, graph: torch.fx.GraphModule) -> None:
        super().__init__(graph)
        self.last = set[torch.fx.Node]()

    def run_node(self, n: torch.fx.Node) -> Any:
        """One kernel."""
        made = super().run_node(n)
        is_image = isinstance(made, Tensor) and made.ndim == 4 and not made.is_contiguous()
        if is_image and made.is_contiguous(memory_format=torch.channels_last):
            self.last.add(n)
        return made


def _laid_alike(graph: torch.fx.GraphModule, given: Sequence[Tensor]) -> None:
    """Lay a gradient that comes from a linear layer as the images lie that it is of: mixed layouts are slow."""
    aten, layouts = torch.ops.aten, _Layouts(graph)
    layouts.run(*given)
    for node in list(graph.graph.nodes):
        if node.target not in (aten.threshold_backward.default, aten.max_pool2d_with_indices_backward.default):
            continue
        if node.args[0] not in layouts.last and node.args[1] in layouts.last:
            with graph.graph.inserting_before(node):
                laid = graph.graph.call_function(aten.clone.default, (node.args[0],), {"memory_format": torch.channels_last})
            node.replace_input_with(node.args[0], laid)
            layouts.last.add(node)
    graph.recompile()


def descend(weights: Sequence[Tensor], gradients: Sequence[Tensor | None], rate: float) -> None:
    """One step of plain SGD, in place."""
    pairs = [(weight, slope) for weight, slope in zip(weights, gradients, strict=True) if slope is not None]
    torch._foreach_add_([weight for weight, _ in pairs], [slope for _, slope in pairs], alpha=-rate)


class Replayed:
    """Gradients by autograd until a shape of batch has come up often enough to pay, from then on the recorded kernels."""

    def __init__(self, by_autograd: Gradients) -> None:
        self._by_autograd = by_autograd
        self._recorded, self._seen = dict[object, Gradients | None](), Counter[object]()

    def __call__(self, given: Sequence[Tensor]) -> Sequence[Tensor | None]:
        """The gradients of what is given, as `Gradients` takes it."""
        shape = tuple((each.shape, each.stride(), each.dtype) for each in given[:3])
        if shape not in self._recorded:
            self._seen[shape] += 1
            if self._seen[shape] <= PAYS_AFTER:
                return self._by_autograd(*given)
            self._recorded[shape] = recorded(self._by_autograd, given)
        kernels = self._recorded[shape]
        if kernels is None:
            return self._by_autograd(*given)
        with torch.inference_mode():
            return kernels(*given)


class Steps:
    """The training of one site after the other on `model`, float32, on the CPU, for which `obstacles` finds nothing."""

    def __init__(self, model: nn.Module, order: Order) -> None:
        self._model, self._weights = model, [each.detach() for each in model.parameters()]
        self._begin(order)

    def _begin(self, order: Order) -> None:
        self._training, self._optimiser = order.training, optimiser_of(self._model, order)
        self._gradients = Replayed(gradients_of(self._model, order))
        has_anchors = order.training.proximal_mu > 0
        self._anchors = [torch.empty_like(each) for each in self._weights] if has_anchors else []
        training = order.training
        self._is_plain = training.optimiser == "sgd" and training.momentum == 0 and training.weight_decay == 0

    def train(self, cases: Batch, order: Order, site: str) -> float:
        """As `fedmed.learning.training.train`, to the last bit, for an order with the model that the steps were made for."""
        if order.training != self._training:
            self._begin(order)
        torch.manual_seed(seed_of(order, site))  # dropout draws from the global generator
        classes = torch.tensor(order.class_weights)
        for anchor, weight in zip(self._anchors, self._weights, strict=False):
            anchor.copy_(weight)
        self._optimiser.state.clear()
        total, steps = torch.zeros(()), 0
        for x, y in batches_of(cases, order, site):
            loss, *gradients = self._gradients((classes, channels_last(x), y, *self._anchors, *self._weights))
            assert loss is not None
            self._step(gradients, order.learning_rate)
            total, steps = total + loss, steps + 1
        return float(total) / max(1, steps)

    def _step(self, gradients: Sequence[Tensor | None], rate: float) -> None:
        if self._is_plain:
            descend(self._weights, gradients, rate)
            return
        for parameter, gradient in zip(self._model.parameters(), gradients, strict=True):
            parameter.grad = gradient
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.step()
