"""Members whose training is one step, as one batch from the common weights: no member has a model of its own.

With FedAvg's weights (McMahan et al. 2017, algorithm 1) a member of n_i cases adds n_i (w - rate * mean gradient_i), so all
of them add w * sum n_i - rate * the sum of their cases' gradients at w. That holds where a case's gradient depends on no
other case, and nothing but the gradient enters the step. Sums have another order than one by one: equal up to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from fedmed.learning.kinds import Batch
from fedmed.learning.order import Order
from fedmed.learning.prediction import channels_last
from fedmed.learning.resident_steps import Gradients, PoolingFirst, Replayed, descend

AT_ONCE = 64
"""Cases that go through the network together: more do not fit into a core's cache."""
PROBES, CLOSE = 4, 1e-4


def objections(order: Order) -> list[str]:
    """What of an order stands against one batch of members of one step; empty where nothing does."""
    training = order.training
    found = {
        f"the optimiser is {training.optimiser}": training.optimiser != "sgd",
        "momentum": training.momentum != 0,
        "weight decay": training.weight_decay != 0,
        "an l2 penalty": training.l2 != 0,
        "a proximal term": training.proximal_mu != 0,
        "frozen tensors": bool(order.frozen),
        "differential privacy": order.privacy is not None,
        f"augmentation {order.augment}": order.augment != "none",
        f"a task of {order.model.kind}": order.model.kind != "classification",
    }
    return [name for name, is_so in found.items() if is_so]


def mixing(model: nn.Module, inputs: Sequence[int]) -> list[str]:
    """Why a case's gradient may depend on draws or on other cases: by the layers' types, and by trying.

    `inputs`: a case's shape. The model is on the CPU; it is looked at in training, and not changed.
    """
    layers = list(model.modules())
    if any(isinstance(each, nn.modules.batchnorm._BatchNorm) for each in layers) or any(True for _ in model.buffers()):
        return ["batch normalisation, or other state that is not trained"]
    if any(isinstance(each, nn.modules.dropout._DropoutNd) and each.p > 0 for each in layers):
        return ["dropout"]
    if len(list(model.parameters())) != len(model.state_dict()):
        return ["weights with two names"]
    x = torch.randn(PROBES, *inputs, generator=torch.Generator().manual_seed(0))
    x = channels_last(x.to(next(model.parameters()).dtype))
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        before = torch.get_rng_state()
        whole, parts = model(x), torch.cat([model(part) for part in torch.split(x, PROBES // 2)])
        if not torch.equal(before, torch.get_rng_state()):
            return ["draws of the model's own"]
    if not torch.allclose(whole, parts, CLOSE, CLOSE * float(whole.abs().max())):
        return ["logits that depend on other cases"]
    return []


class Fold:
    """Sums of gradients of a model for which `mixing` finds nothing."""

    def __init__(self, model: nn.Module) -> None:
        self._gradients = Replayed(_summed(model))

    def add(
        self, members: Sequence[Batch], order: Order, start: Sequence[Tensor], sums: Sequence[Tensor]
    ) -> list[float] | None:
        """Add to `sums` what members of one step add; both and `start` are the model's weights in their order.

        The mean loss of each member; None where something was not finite, and nothing is added then.
        """
        sizes = [len(y) for _, y in members]
        x, y = torch.cat([x for x, _ in members]), torch.cat([y for _, y in members])
        shares = shares_of(y, sizes, torch.tensor(order.class_weights, dtype=x.dtype))
        step, losses = [torch.zeros_like(each) for each in start], list[Tensor]()
        for part in zip(*(torch.split(each, AT_ONCE) for each in (shares, x, y)), strict=True):
            loss, *found = self._gradients((part[0], channels_last(part[1]), part[2], *start))
            assert loss is not None
            losses.append(loss)
            descend(step, found, order.learning_rate)
        if not all(math.isfinite(float(each.sum())) for each in step):
            return None
        torch._foreach_add_(list(sums), list(start), alpha=float(sum(sizes)))
        torch._foreach_add_(list(sums), step)
        return means_of(torch.cat(losses), sizes)


def means_of(losses: Tensor, sizes: Sequence[int]) -> list[float]:
    """Mean of each group of `losses (N,)`, one group after the other."""
    counts = torch.tensor(list(sizes))
    found: list[float] = (torch.segment_reduce(losses, "sum", lengths=counts) / counts).tolist()
    return found


def shares_of(y: Tensor, sizes: Sequence[int], classes: Tensor) -> Tensor:
    """`(N,)`: what each case's loss counts in n_i times its member's mean weighted by class; `sizes` are the n_i."""
    each = classes[y]
    return torch.cat([part * (len(part) / part.sum()) for part in torch.split(each, list(sizes))])


def losses_of(logits: Tensor, y: Tensor) -> Tensor:
    """`(N,)`: each case's cross-entropy; one logit is that of the second class."""
    if logits.shape[1] == 1:
        return functional.binary_cross_entropy_with_logits(logits[:, 0], y.to(logits.dtype), reduction="none")
    return functional.cross_entropy(logits, y, reduction="none")


def _summed(model: nn.Module) -> Gradients:
    names = [name for name, _ in model.named_parameters()]

    def gradients(shares: Tensor, x: Tensor, y: Tensor, *weights: Tensor) -> Sequence[Tensor | None]:
        leaves = [each.detach().requires_grad_() for each in weights]
        with torch.enable_grad(), PoolingFirst():
            logits = functional_call(model, dict(zip(names, leaves, strict=True)), (x,))
            losses = losses_of(logits, y) * shares
            return losses.detach(), *torch.autograd.grad(losses.sum(), leaves, allow_unused=True)

    return gradients
