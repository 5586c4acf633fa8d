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

from fedmed.errors import ConfigError, DataError, FederationError
from fedmed.flower.lanes import assign
from fedmed.learning.crowd import Member, Resident, steps_of
from fedmed.learning.order import Order, parse, text_of
from fedmed.wire.tensors import Tensors

LOOKS_UP_S = 0.5  # how often a worker sees whether its owner lives
STOP_S = 2.0


@dataclass(frozen=True)
class _Worker:
    process: Any
    line: Connection
    total: Tensor


class Crowd:
    """Sites that are trained by `workers` processes of one thread each; a context manager.

    One order's model for all rounds. Same seed and number of workers: same bits.
    """

    def __init__(self, members: Sequence[Member], order: Order, workers: int, fast: bool = True) -> None:
        """Fork. `fast=False` trains every site by the generic loop. Raises ConfigError as `Resident` does."""
        if workers < 1:
            raise ConfigError(f"a crowd of {workers} workers; allowed: from 1")
        self._members, self._model, self._workers = members, order.model, list[_Worker]()
        resident = Resident(order, fast)
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
            target=_serve, args=(theirs, os.getpid(), self._members, resident, self._start, total), daemon=True
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads of the parent hold no lock that a worker takes
            process.start()
        theirs.close()
        return _Worker(process, line, total)

    def round(self, cohort: Sequence[int], weights: Tensors, order: Order) -> Tensors:
        """The mean by cases of the models that the members `cohort` train from `weights`.

        Raises ConfigError for another model than the crowd's or an empty cohort, DataError for a member without cases,
        FederationError where a worker has ended; after an error the crowd is of no more use.
        """
        if order.model != self._model or not cohort:
            raise ConfigError(
                "a crowd's round: got another model or nobody; allowed: the crowd's own model, one site or more"
            )
        flat = np.concatenate([np.ravel(each) for each in weights.values()], dtype=np.float32)
        if len(flat) != len(self._start):
            raise ConfigError(f"a crowd's round: got {len(flat)} words of weights, allowed: {len(self._start)}")
        self._start.copy_(torch.from_numpy(flat))
        sizes = [len(self._members[number].cases[1]) for number in cohort]
        groups = assign(
            ((number, steps_of(size, order)) for number, size in zip(cohort, sizes, strict=True)), len(self._workers)
        )
        text = text_of(order)
        for worker, group in zip(self._workers, groups, strict=True):
            self._tell(worker, group, text)
        failures = [self._hear(worker, group) for worker, group in zip(self._workers, groups, strict=True)]
        for failure in failures:
            if failure is not None:
                raise failure
        mean = torch.stack([worker.total for worker in self._workers]).sum(0) / float(sum(sizes))
        return _shaped(mean.numpy(), weights)

    def _tell(self, worker: _Worker, group: list[int], text: str) -> None:
        try:
            worker.line.send((group, text))
        except (BrokenPipeError, ConnectionResetError):
            return  # `_hear` finds the line closed and says so

    def _hear(self, worker: _Worker, group: list[int]) -> ConfigError | DataError | FederationError | None:
        try:
            said: ConfigError | DataError | None = worker.line.recv()
        except (EOFError, ConnectionResetError):
            worker.process.join(STOP_S)
            names = ", ".join(self._members[number].name for number in group[:5]) or "nobody"
            return FederationError(
                f"a worker of the crowd ended with exit code {worker.process.exitcode} while it trained {len(group)} sites "
                f"({names}...): run again with fewer workers if memory was short"
            )
        return said

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


def _serve(
    line: Connection, owner: int, members: Sequence[Member], resident: Resident, start: Tensor, total: Tensor
) -> None:
    torch.set_num_threads(1)
    threading.Thread(target=_end_with, args=(owner,), daemon=True).start()
    while True:
        group, text = line.recv()
        total.zero_()
        try:
            resident.add((members[number] for number in group), parse(text), start, total)
        except (ConfigError, DataError) as error:
            line.send(error)
        else:
            line.send(None)


def _end_with(owner: int) -> None:
    never = threading.Event()
    while os.getppid() == owner:
        never.wait(LOOKS_UP_S)
    os._exit(1)


def _shared(words: int) -> Tensor:
    return torch.frombuffer(mmap.mmap(-1, words * 4), dtype=torch.float32)


def _shaped(flat: NDArray[np.float32], like: Tensors) -> Tensors:
    parts: Tensors = {}
    at = 0
    for name, each in like.items():
        parts[name] = flat[at : at + each.size].reshape(each.shape)
        at += each.size
    return parts
