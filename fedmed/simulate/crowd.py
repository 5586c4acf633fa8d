"""A crowd of simulated sites in a few forked processes: one message a process and round, one partial sum back.

Cases are copied on write; the global model and one sum a process lie in memory without a name, which ends with the last
process. Which process trains which site follows from the sites' steps alone, so that sums have one order.
"""

from __future__ import annotations

import mmap
import multiprocessing
import os
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmed.errors import ConfigError, FederationError, FedmedError
from fedmed.federation import updates
from fedmed.flower.keys import WEIGHT_KEY
from fedmed.flower.lanes import assign
from fedmed.learning.crowd import Judge, Member, Resident, Told
from fedmed.learning.kinds import KINDS, steps_of
from fedmed.learning.order import Order, parse, text_of
from fedmed.learning.prediction import device_of
from fedmed.wire.tensors import Tensors

LOOKS_UP_S = 0.5  # how often a worker sees whether its owner lives
STOP_S = 2.0


@dataclass(frozen=True)
class Trained:
    """A round of a crowd."""

    told: Told
    mean: Tensors | None
    """By cases, of the members that are in the sum; None where nobody is."""


@dataclass(frozen=True)
class _Worker:
    process: Any
    line: Connection
    total: Tensor


class Crowd:
    """Sites that are trained by `workers` processes of one thread each; a context manager.

    One order's model for all rounds. Same seed and number of workers: same bits.
    """

    def __init__(
        self, members: Sequence[Member], order: Order, workers: int, fast: bool = True, most_norm: float | None = None
    ) -> None:
        """Fork. `fast=False` trains every site by the generic loop; an update longer than `most_norm` is refused.

        Raises ConfigError as `Resident` does.
        """
        if workers < 1:
            raise ConfigError(f"a crowd of {workers} workers; allowed: from 1")
        self._members, self._model, self._workers = members, order.model, list[_Worker]()
        self._most_norm = most_norm
        resident = Resident(order, fast, folds=most_norm is None)
        self.why_not_fast = tuple(resident.why_not)
        """Why the closed form is not taken; empty where it is."""
        self._start = _shared(resident.size)
        for _ in range(workers):
            self._workers.append(self._forked(resident))

    def _forked(self, resident: Resident) -> _Worker:
        context = multiprocessing.get_context("fork")
        line, theirs = context.Pipe()
        total = _shared(resident.size)
        process = context.Process(
            target=_serve,
            args=(theirs, os.getpid(), _Work(self._members, resident, self._start, total, self._most_norm)),
            daemon=True,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads of the parent hold no lock that a worker takes
            process.start()
        theirs.close()
        return _Worker(process, line, total)

    def train(self, cohort: Sequence[int], weights: Tensors, order: Order) -> Trained:
        """The mean by cases of the models that the members `cohort` train from `weights`, and what became of each.

        Raises ConfigError for another model than the crowd's or an empty cohort, FederationError where a worker has ended;
        after an error the crowd is of no more use.
        """
        self._give(cohort, weights, order)
        sizes = {self._members[number].name: len(self._members[number].cases[1]) for number in cohort}
        found = Told()
        for part in self._ask("train", cohort, order):
            found = Told(found.losses | part.losses, found.failed | part.failed, found.refused | part.refused)
        cases = sum(sizes[name] for name in found.losses)
        if not cases:
            return Trained(found, None)
        mean = torch.stack([worker.total for worker in self._workers]).sum(0) / float(cases)
        return Trained(found, _shaped(mean.numpy(), weights))

    def validate(self, cohort: Sequence[int], weights: Tensors, order: Order) -> dict[str, dict[str, float]]:
        """Measures of `weights` on each member's validation cases, by name; those without any are left out.

        Raises as `train`.
        """
        self._give(cohort, weights, order)
        found: dict[str, dict[str, float]] = {}
        for part in self._ask("validate", cohort, order):
            found |= part
        return found

    def _give(self, cohort: Sequence[int], weights: Tensors, order: Order) -> None:
        if order.model != self._model or not cohort:
            raise ConfigError(
                "a crowd's round: got another model or nobody; allowed: the crowd's own model, one site or more"
            )
        flat = np.concatenate([np.ravel(each) for each in weights.values()], dtype=np.float32)
        if len(flat) != len(self._start):
            raise ConfigError(f"a crowd's round: got {len(flat)} words of weights, allowed: {len(self._start)}")
        self._start.copy_(torch.from_numpy(flat))

    def _ask(self, what: str, cohort: Sequence[int], order: Order) -> list[Any]:
        """What each worker answers of its part of the cohort."""
        loads = ((number, steps_of(len(self._members[number].cases[1]), order)) for number in cohort)
        groups = assign(loads, len(self._workers))
        text = text_of(order)
        for worker, group in zip(self._workers, groups, strict=True):
            self._tell(worker, (what, group, text))
        answers = [self._hear(worker, group) for worker, group in zip(self._workers, groups, strict=True)]
        for answer in answers:
            if isinstance(answer, FedmedError):
                raise answer
        return answers

    def _tell(self, worker: _Worker, asked: tuple[str, list[int], str]) -> None:
        try:
            worker.line.send(asked)
        except (BrokenPipeError, ConnectionResetError):
            return  # `_hear` finds the line closed and says so

    def _hear(self, worker: _Worker, group: list[int]) -> Any:
        try:
            return worker.line.recv()
        except (EOFError, ConnectionResetError):
            names = ", ".join(self._members[number].name for number in group[:5]) or "nobody"
            return FederationError(stopped(worker.process, f"{len(group)} sites ({names}...)"))

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            worker.process.kill()
            worker.process.join()
            worker.line.close()
        self._workers = []

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _serve(line: Connection, owner: int, work: _Work) -> None:
    torch.set_num_threads(1)
    threading.Thread(target=end_with, args=(owner,), daemon=True).start()
    asked = {"train": work.train, "validate": work.validate}
    while True:
        what, group, text = line.recv()
        try:
            line.send(asked[what](group, parse(text)))
        except FedmedError as error:
            line.send(error)


@dataclass(frozen=True)
class _Work:
    """What a worker does of a round."""

    members: Sequence[Member]
    resident: Resident
    start: Tensor
    total: Tensor
    most_norm: float | None

    def train(self, group: Sequence[int], order: Order) -> Told:
        """Its part of the sum."""
        given = self.resident.named(self.start)

        def judge(model: Tensors, cases: int) -> None:
            updates.check(model, given, {WEIGHT_KEY: cases}, cases, self.most_norm)

        if self.most_norm is None:
            told = self._added(group, order, None)
            if _is_small(self.total):
                return told
        return self._added(group, order, judge)

    def _added(self, group: Sequence[int], order: Order, judge: Judge | None) -> Told:
        self.total.zero_()
        return self.resident.add((self.members[number] for number in group), order, self.start, self.total, judge)

    def validate(self, group: Sequence[int], order: Order) -> dict[str, dict[str, float]]:
        """Measures by name of those that have validation cases."""
        self.resident.take(self.start)
        kind, device, found = KINDS[order.model.kind], device_of(order.device), dict[str, dict[str, float]]()
        for member in (self.members[number] for number in group):
            if member.validation is not None and len(member.validation[1]):
                measured = kind.validate(self.resident.model, member.validation, order, device)
                found[member.name] = {WEIGHT_KEY: len(member.validation[1]), **measured}
        return found


def stopped(process: Any, whose: str) -> str:
    """What is said of a worker that has ended."""
    process.join(STOP_S)
    return (
        f"a worker of the crowd ended with exit code {process.exitcode} while it trained {whose}: run again with fewer "
        "workers if memory was short"
    )


def end_with(owner: int) -> None:
    """End this process once its owner has; to be run in a thread."""
    never = threading.Event()
    while os.getppid() == owner:
        never.wait(LOOKS_UP_S)
    os._exit(1)


def _is_small(total: Tensor) -> bool:
    """Whether a sum's squares have a finite sum, so that `updates.check` would find nothing in any part of it."""
    return bool(torch.isfinite(torch.dot(total, total)))


def _shared(words: int) -> Tensor:
    return torch.frombuffer(mmap.mmap(-1, words * 4), dtype=torch.float32)


def _shaped(flat: NDArray[np.float32], like: Tensors) -> Tensors:
    parts: Tensors = {}
    at = 0
    for name, each in like.items():
        parts[name] = flat[at : at + each.size].reshape(each.shape)
        at += each.size
    return parts
