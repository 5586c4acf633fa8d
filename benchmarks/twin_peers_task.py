"""What every arm of `twin_peers.py` does alike: the cases, the cohorts, the order of the batches, the models, one client.

1,000 clients with sizes of a log-normal law (sigma .6), 100 of them a round, one epoch in batches of 20 in an order drawn
for client and round, SGD with a step of .05, and the mean weighted by cases. Cases are 28 x 28 with 62 classes, from a seed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from fedmed.clock import derive_seed

SEED = 3
CLASSES, PIXELS, BATCH, RATE = 62, 784, 20, 0.05
SIGMA, LEAST = 0.6, 2
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Task:
    """One task; `tuned` is the same CNN as our models are written: ReLU after the pooling, channels last."""

    model: str
    mean: int
    clients: int = 1000
    cohort: int = 100
    tuned: bool = False

    def save(self, folder: Path) -> None:
        """Write the task and its cases."""
        draws = np.random.default_rng([1, self.mean])
        drawn = draws.lognormal(math.log(self.mean) - SIGMA**2 / 2, SIGMA, self.clients)
        ends = np.cumsum(np.maximum(LEAST, np.round(drawn)).astype(np.int64))
        labels = draws.integers(0, CLASSES, int(ends[-1]))
        kinds = draws.standard_normal((CLASSES, PIXELS), dtype=np.float32)
        cases = kinds[labels] * 0.5 + draws.standard_normal((len(labels), PIXELS), dtype=np.float32)
        np.save(folder / "cases.npy", cases.astype(np.float32).reshape(-1, 1, 28, 28))
        np.save(folder / "labels.npy", labels)
        np.save(folder / "ends.npy", ends)
        (folder / "task.json").write_text(json.dumps(asdict(self)))

    def members(self, number: int) -> list[int]:
        """The clients of a round, in order."""
        found = np.random.default_rng([7, number]).choice(self.clients, self.cohort, replace=False)
        return [int(each) for each in found]

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of the model's parameters, in order: 48,670 or 213,630 of them."""
        if self.model == "lr":
            return [(CLASSES, PIXELS), (CLASSES,)]
        return [(16, 1, 3, 3), (16,), (32, 16, 3, 3), (32,), (128, 1568), (128,), (CLASSES, 128), (CLASSES,)]

    def first(self) -> list[Floats]:
        """The weights before the first round."""
        draws = np.random.default_rng(3)
        made = [draws.standard_normal(s) / math.sqrt(math.prod(s[1:])) if len(s) > 1 else np.zeros(s) for s in self.shapes]
        return [each.astype(np.float32) for each in made]


class Cnn(nn.Module):
    """Two 3 x 3 convolutions, each with a pooling, and two linear layers."""

    def __init__(self, tuned: bool) -> None:
        super().__init__()
        self.tuned = tuned
        self.c1, self.c2 = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1)
        self.f1, self.f2 = nn.Linear(1568, 128), nn.Linear(128, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        for layer in (self.c1, self.c2):
            x = layer(x)
            x = functional.relu(functional.max_pool2d(x, 2)) if self.tuned else functional.max_pool2d(functional.relu(x), 2)
        return self.f2(functional.relu(self.f1(x.flatten(1))))  # type: ignore[no-any-return]


def network(task: Task) -> nn.Module:
    """The model with the first weights."""
    made = nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, CLASSES)) if task.model == "lr" else Cnn(task.tuned)
    fill(made, task.first())
    return made.to(memory_format=torch.channels_last) if task.tuned else made  # type: ignore[call-overload,no-any-return]


def name_of(client: int) -> str:
    """What our engine knows a client by."""
    return f"site-{client}"


def fill(model: nn.Module, weights: Sequence[Floats]) -> None:
    """Let the model have these weights."""
    with torch.no_grad():
        for parameter, each in zip(model.parameters(), weights, strict=True):
            parameter.copy_(torch.from_numpy(np.array(each)))


def flat(weights: Sequence[Floats]) -> Floats:
    """All of them in one row."""
    return np.concatenate([each.ravel() for each in weights])


@dataclass(frozen=True)
class Cases:
    """The cases of all clients, in memory, as the task in `folder` has them."""

    folder: Path

    @cached_property
    def task(self) -> Task:
        """What they are for."""
        return Task(**json.loads((self.folder / "task.json").read_text()))

    @cached_property
    def ends(self) -> list[int]:
        """Where each client's cases end."""
        return [0, *np.load(self.folder / "ends.npy").tolist()]

    @cached_property
    def x(self) -> Tensor:
        """`(N, 1, 28, 28)`."""
        return torch.from_numpy(np.load(self.folder / "cases.npy"))

    @cached_property
    def y(self) -> Tensor:
        """`(N,)`."""
        return torch.from_numpy(np.load(self.folder / "labels.npy"))

    def all_of(self, client: int) -> tuple[Tensor, Tensor]:
        """One client's cases and labels; views."""
        begin, end = self.ends[client], self.ends[client + 1]
        return self.x[begin:end], self.y[begin:end]

    def of(self, client: int, number: int) -> tuple[Tensor, Tensor]:
        """The same in the order in which round `number` (from 0) goes through them: that of a clinic of ours."""
        x, y = self.all_of(client)
        generator = torch.Generator().manual_seed(derive_seed(SEED, "train", name_of(client), number + 1))
        rows = torch.randperm(len(y), generator=generator)
        return x[rows], y[rows]


def train(model: nn.Module, optimiser: torch.optim.Optimizer, x: Tensor, y: Tensor) -> float:
    """One client's epoch, as anybody would write it; the last loss."""
    for begin in range(0, len(y), BATCH):
        optimiser.zero_grad()
        loss = functional.cross_entropy(model(x[begin : begin + BATCH]), y[begin : begin + BATCH])
        loss.backward()
        optimiser.step()
    return float(loss.detach())
