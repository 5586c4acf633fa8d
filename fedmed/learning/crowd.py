"""Many small sites trained one after the other on one resident model, their models added up as they come.

A site's model is never kept: it begins as the global one, is trained, and is added to one flat sum with the weight of its
cases (McMahan et al. 2017, algorithm 1). What cannot be reckoned in closed form is trained by `fedmed.learning.training`
itself, so that batches, draws and steps are those of a clinic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from fedmed.errors import ConfigError, DataError, UpdateRefused
from fedmed.learning import weights
from fedmed.learning.closed_form import Linear, hindrances
from fedmed.learning.kinds import Batch, steps_of
from fedmed.learning.order import Order
from fedmed.learning.prediction import device_of
from fedmed.learning.resident_fold import Fold, mixing, objections
from fedmed.learning.resident_stacked import Stacked
from fedmed.learning.resident_steps import Steps, obstacles
from fedmed.learning.training import train
from fedmed.wire.tensors import Tensors

FOLDED = 1024
"""Cases that are joined to one batch at a time."""


@dataclass(frozen=True)
class Member:
    """One site of a crowd: its name, which its draws come from, and its prepared training cases `x (N, ...)`, `y (N,)`."""

    name: str
    cases: Batch
    validation: Batch | None = None
    """Its prepared validation cases, where the crowd validates."""


@dataclass
class Told:
    """What became of the members that a process trained: each one's mean loss, or why it is not in the sum."""

    losses: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


Folding = Callable[[Sequence[Batch], Order, Sequence[Tensor], Sequence[Tensor]], "list[float] | None"]
"""`(each member's cases, order, start, sums)` -> each member's mean loss, or None where nothing was added."""
Judge = Callable[[Tensors, int], None]
"""`(a member's model, its cases)`; raises UpdateRefused for one that may not be added."""


def check(order: Order) -> None:
    """Raise ConfigError for what a sum of whole models cannot be: noise and clipping are of each site's own update."""
    if order.privacy is not None:
        raise ConfigError("the crowd engine: got differential privacy, allowed: none; use the engine without `crowd`")
    if order.local or order.training.scaffold or order.training.ditto is not None:
        raise ConfigError("the crowd engine: got an algorithm by which sites keep something, allowed: none of these")


class Resident:
    """One process's model and what it adds up. All state is float32, flat in the order of the model's state."""

    def __init__(self, order: Order, fast: bool = True, folds: bool = True) -> None:
        """`folds`: sites of one step may be one batch, where nobody looks at each one's update.

        Raises ConfigError for privacy, for state of another type than float32, and for a model that cannot be built.
        """
        check(order)
        self._folds = folds
        self._model = weights.built(order.model)
        self._state = list(self._model.state_dict().values())
        if odd := {str(each.dtype) for each in self._state if each.dtype != torch.float32}:
            raise ConfigError(f"the crowd engine: the model has state of {', '.join(sorted(odd))}; allowed: float32")
        if len(order.model.inputs) == 3:
            self._model = self._model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            self._state = list(self._model.state_dict().values())
        self._names = list(self._model.state_dict())
        self.why_not = hindrances(self._model, order) if fast else ["switched off"]
        """Why the generic loop is taken; empty where the closed form is."""
        self._spec = order.model
        is_network = fast and bool(self.why_not)
        self._steps = Steps(self._model, order) if is_network and not obstacles(self._model, order) else None
        self._is_alone = is_network and not objections(order) and not mixing(self._model, order.model.inputs)
        self._joining = Fold(self._model) if self._is_alone else None
        self._stacked: Stacked | None = None

    @property
    def size(self) -> int:
        """Words of the flat model."""
        return sum(each.numel() for each in self._state)

    @property
    def model(self) -> nn.Module:
        """The resident model, as the last member left it."""
        return self._model

    def take(self, start: Tensor) -> None:
        """Give the resident model the weights `start (P,)`."""
        with torch.no_grad():
            torch._foreach_copy_(self._state, self._views(start))

    def tensors(self, model: Iterable[Tensor]) -> Tensors:
        """A model of `each`, by name; views."""
        return {name: each.numpy() for name, each in zip(self._names, model, strict=True)}

    def named(self, flat: Tensor) -> Tensors:
        """The tensors of a flat model, by name; views."""
        return self.tensors(self._views(flat))

    def add(self, members: Iterable[Member], order: Order, start: Tensor, total: Tensor, judge: Judge | None = None) -> Told:
        """Add each member's model after its training from `start (P,)` to `total (P,)`, times its number of cases.

        A member that fails, or whose model `judge` refuses, is not in the sum; it is named with the reason.
        """
        told, sums, folded = Told(), self._views(total), list[Member]()
        for member, model, loss in self.each(self._alone_of(members, order, folded), order, start, told, judge):
            torch._foreach_add_(sums, model, alpha=float(len(member.cases[1])))
            told.losses[member.name] = loss
        with torch.no_grad():
            self._fold(folded, order, start, total, judge, told)
        return told

    def each(
        self, members: Iterable[Member], order: Order, start: Tensor, told: Told, judge: Judge | None = None
    ) -> Iterator[tuple[Member, list[Tensor], float]]:
        """Each member with its model after its training from `start (P,)`, lent until the next, and its mean loss.

        Those that are not yielded are in `told`.
        """
        check(order)
        train_one = self._loop(order, start) if self.why_not else self._closed(order, start)
        those = _those_with_cases(members, told)
        if stacked := self._side_by_side(order):
            those, train_one = _ahead(stacked, list(those), order, self._views(start))
        for member in those:
            try:
                model, loss = train_one(member)
                if judge is not None:
                    judge(self.tensors(model), len(member.cases[1]))
            except UpdateRefused as error:
                told.refused[member.name] = str(error)
            except (DataError, RuntimeError, ValueError) as error:  # as a clinic's app would answer
                told.failed[member.name] = f"{type(error).__name__}: {error}"
            else:
                yield member, model, loss

    def _loop(self, order: Order, start: Tensor) -> Callable[[Member], tuple[list[Tensor], float]]:
        shapes = self._views(start)
        steps = None if obstacles(self._model, order) else self._steps

        def train_one(member: Member) -> tuple[list[Tensor], float]:
            with torch.no_grad():
                torch._foreach_copy_(self._state, shapes)
                if steps:
                    return self._state, steps.train(member.cases, order, member.name)
            loss = train(self._model, member.cases, order, member.name)
            if device_of(order.device).type != "cpu":  # moving a model gives it other memory
                self._state, self._steps = list(self._model.cpu().state_dict().values()), None
            return self._state, loss

        return train_one

    def _closed(self, order: Order, start: Tensor) -> Callable[[Member], tuple[list[Tensor], float]]:
        step = Linear(self._views(start), order)

        def train_one(member: Member) -> tuple[list[Tensor], float]:
            with torch.no_grad():
                loss = step.train(member.name, member.cases)
            return step.model, loss

        return train_one

    def _folding(self, order: Order) -> Folding | None:
        """How members of one step are one batch; None where they cannot be."""
        if not self.why_not:
            return _linear
        if self._joining is None or objections(order) or obstacles(self._model, order):
            return None
        return self._joining.add

    def _side_by_side(self, order: Order) -> Stacked | None:
        """On an accelerator, where float32 is asked for and nothing stands against it."""
        device = device_of(order.device)
        if device.type != "cuda" or not self._is_alone or objections(order) or order.training.precision != "float32":
            return None
        self._stacked = self._stacked or Stacked(weights.built(self._spec), device)
        return self._stacked

    def _views(self, flat: Tensor) -> list[Tensor]:
        parts = torch.split(flat, [each.numel() for each in self._state])
        return [part.view(each.shape) for part, each in zip(parts, self._state, strict=True)]

    def _alone_of(self, members: Iterable[Member], order: Order, folded: list[Member]) -> Iterator[Member]:
        """The members that are trained one by one; the others go to `folded`."""
        folds = self._folds and order.augment == "none" and self._folding(order) is not None
        for member in members:
            count = len(member.cases[1])
            if folds and 0 < count <= order.training.batch_size and steps_of(count, order) == 1:
                folded.append(member)
            else:
                yield member

    def _fold(
        self, members: list[Member], order: Order, start: Tensor, total: Tensor, judge: Judge | None, told: Told
    ) -> None:
        sums, fold = self._views(total), self._folding(order)
        for part in _parts(members):
            assert fold is not None  # else nobody was told to be joined
            losses = fold([member.cases for member in part], order, self._views(start), sums)
            if losses is not None:
                told.losses.update(zip((member.name for member in part), losses, strict=True))
                continue
            for member, model, loss in self.each(part, order, start, told, judge):  # each by itself says who is not finite
                torch._foreach_add_(sums, model, alpha=float(len(member.cases[1])))
                told.losses[member.name] = loss


def _linear(cases: Sequence[Batch], order: Order, start: Sequence[Tensor], sums: Sequence[Tensor]) -> list[float] | None:
    return Linear(start, order).fold(cases, sums)


def _ahead(
    stacked: Stacked, members: Sequence[Member], order: Order, start: Sequence[Tensor]
) -> tuple[Iterator[Member], Callable[[Member], tuple[list[Tensor], float]]]:
    """Members in the order in which they are trained side by side, and what became of each once it has come."""
    found, by_name = dict[str, tuple[list[Tensor], float]](), {member.name: member for member in members}

    def coming() -> Iterator[Member]:
        for name, model, loss in stacked.each([(member.name, member.cases) for member in members], order, start):
            found[name] = model, loss
            yield by_name[name]

    return coming(), lambda member: found.pop(member.name)


def _parts(members: Iterable[Member]) -> Iterator[list[Member]]:
    """Members with `FOLDED` cases together, or one with more, so that what is joined does not grow with the cohort."""
    part, cases = list[Member](), 0
    for member in members:
        if part and cases + len(member.cases[1]) > FOLDED:
            yield part
            part, cases = [], 0
        part.append(member)
        cases += len(member.cases[1])
    if part:
        yield part


def _those_with_cases(members: Iterable[Member], told: Told) -> Iterator[Member]:
    for member in members:
        if len(member.cases[1]) == 0:
            told.failed[member.name] = f"DataError: site {member.name} has no training cases"
        else:
            yield member
