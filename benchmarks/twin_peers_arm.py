"""One arm of `twin_peers.py` as a process: does a round whenever it is told to, and says how long that took.

    python -m benchmarks.twin_peers_arm KIND TASK_FOLDER SOCKET ROUNDS

It is told in lines, `round` or `weights PATH`, and answers each with a line of JSON. Nothing but the round is timed.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from benchmarks.twin_peers_task import RATE, Cases, Floats, fill, flat, network, train

PEERS = "FEDMED_PEERS"


class Learner(Protocol):
    """What is asked round by round."""

    def round(self, members: list[int], weights: list[Floats]) -> list[Floats]:
        """The mean of what the members learn from these weights."""
        ...


class Line:
    """The other end of the benchmark's line to this arm."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._file = self._socket.makefile("rw")

    def say(self, **told: object) -> None:
        """Answer."""
        self._file.write(json.dumps(told) + "\n")
        self._file.flush()

    def awaited(self, weights: list[Floats]) -> bool:
        """Wait until a round is asked for, and give the weights meanwhile; False where nobody will ask any more."""
        for line in self._file:
            what, _, path = line.strip().partition(" ")
            if what == "round":
                return True
            np.save(path, flat(weights))
            self.say(saved=path)
        return False


class Sequential:
    """A model, an optimiser, one client after the other: the reference."""

    def __init__(self, cases: Cases) -> None:
        self._cases, self._model = cases, network(cases.task)
        self._optimiser, self._number = torch.optim.SGD(self._model.parameters(), lr=RATE), 0

    def round(self, members: list[int], weights: list[Floats]) -> list[Floats]:
        """The mean of what the members learn from these weights."""
        total, sums = 0, [torch.zeros(each.shape) for each in weights]
        for client in members:
            fill(self._model, weights)
            x, y = self._cases.of(client, self._number)
            train(self._model, self._optimiser, x, y)
            with torch.no_grad():
                for one, parameter in zip(sums, self._model.parameters(), strict=True):
                    one.add_(parameter, alpha=float(len(y)))
            total += len(y)
        self._number += 1
        return [(each / total).numpy() for each in sums]


def serve(line: Line, cases: Cases, learner: Learner) -> None:
    """Rounds until the line ends."""
    weights, number = cases.task.first(), 0
    while line.awaited(weights):
        began = time.perf_counter()
        weights = learner.round(cases.task.members(number), weights)
        line.say(seconds=time.perf_counter() - began)
        number += 1


def main() -> None:
    """Be the arm that the arguments name."""
    kind, folder, path, rounds = sys.argv[1:5]
    torch.set_num_threads(1)
    if kind == "pfl":  # for it alone: what it needs is not what the others need
        sys.path[1:1] = [each for each in os.environ.get(PEERS, "").split(os.pathsep) if each]
    cases = Cases(Path(folder))
    if kind in ("pfl", "flower"):
        import_module(f"benchmarks.twin_peers_{kind}").run(path, cases, int(rounds))
        return
    if kind == "fedmed":
        learner: Learner = import_module("benchmarks.twin_peers_fedmed").Engine(cases)
    else:
        _ = cases.x, cases.y
        learner = Sequential(cases)
    serve(Line(path), cases, learner)


if __name__ == "__main__":
    main()
