"""Fed-Heart-Disease as tables, and federated logistic regressions on it: many seeds and methods in one tensor.

The data is the UCI heart disease set (CC BY 4.0) with the split of FLamby (Ogier du Terrail et al. 2022): four
hospitals, 486 training and 254 test patients. A model is a vector `(features + 1,)` with the bias last; inputs end in a
column of ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor

NAMES = ("cleveland", "hungarian", "switzerland", "va")
POOLED_ORDER = (0, 2, 1, 3)
"""The published pooled tables list the files as the original machine did: Switzerland before Hungary."""
SEEDS = (42, 43, 44, 45, 46)


@dataclass(frozen=True)
class Site:
    """One hospital: raw UCI columns `(n, 14)` with NaN for '?', and which rows are its test set."""

    name: str
    rows: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Table:
    """Scaled features with a column of ones `(n, d)` float32, and labels `(n,)` float32."""

    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class Tables:
    """What the published methods train and are tested on."""

    train: list[Table]
    test: list[Table]
    pooled_train: Table
    pooled_test: Table


@dataclass(frozen=True)
class Server:
    """Rule that turns the weighted mean update into the next model (Reddi et al. 2021, algorithm 2)."""

    kind: str = "avg"
    eta: float = 1.0
    beta1: float = 0.9
    beta2: float = 0.999
    tau: float = 1e-8
    corrected: bool = False
    """Flower's FedAdam scales eta by sqrt(1 - beta2^(t+1)) / (1 - beta1^(t+1)), t counted from 1."""


@dataclass(frozen=True)
class Method:
    """One federated recipe: the sites' learning rate and loss, and the server's rule."""

    name: str
    lr: float
    server: Server = Server()
    mu: float = 0.0
    """FedProx: mu/2 |w - w_global|^2."""
    l2: float = 0.0
    """l2 |w|^2 over weights, the bias left out."""
    scaffold: bool = False


def read_sites(folder: Path) -> list[Site]:
    """The four hospitals' rows with columns 0-9 known, and FLamby's split: .66 of each trains, seed 43."""
    return [_read_site(folder / f"processed.{name}.data", name) for name in NAMES]


def _read_site(path: Path, name: str) -> Site:
    text = path.read_text().replace("?", "nan").split()
    rows = np.array([[float(cell) for cell in line.split(",")] for line in text])
    rows = rows[~np.isnan(rows[:, :10]).any(axis=1)]
    sick = rows[:, 13] > 0
    # Switzerland is not stratified: the original wants three rows of each class.
    stratify = sick if min(sick.sum(), (~sick).sum()) > 2 else None
    numbers = np.arange(len(rows))
    _, held = train_test_split(numbers, test_size=1 - 0.66, train_size=0.66, random_state=43, stratify=stratify)
    return Site(name, rows, np.isin(numbers, held))


def published_features(rows: np.ndarray) -> np.ndarray:
    """13 columns `(n, 13)` in the original's order: eight numbers, then chest pain 2-4 and ECG 1-2 one-hot."""
    dummies = [rows[:, 2] == level for level in (2, 3, 4)] + [rows[:, 6] == level for level in (1, 2)]
    return np.column_stack([rows[:, [0, 1, 3, 4, 5, 7, 8, 9]], *dummies])


def labels(rows: np.ndarray) -> np.ndarray:
    """1 where any narrowing was found, else 0: `(n,)` float32."""
    return (rows[:, 13] > 0).astype(np.float32)


def published_tables(sites: list[Site]) -> Tables:
    """Sites scaled by their own training rows, pooled tables by all: the pooled test is scaled as no site was."""
    parts: list[tuple[Tensor, ...]] = []
    for site in sites:
        x = torch.from_numpy(published_features(site.rows)).float()
        y = torch.from_numpy(labels(site.rows))
        test = torch.from_numpy(site.test)
        parts.append((x[~test], y[~test], x[test], y[test]))
    x_train, y_train, x_test, y_test = (torch.cat([parts[k][i] for k in POOLED_ORDER]) for i in range(4))
    return Tables(
        [_scaled(x, y, x) for x, y, _, _ in parts],
        [_scaled(x, y, like) for like, _, x, y in parts],
        _scaled(x_train, y_train, x_train),
        _scaled(x_test, y_test, x_train),
    )


def _scaled(x: Tensor, y: Tensor, like: Tensor) -> Table:
    return Table(with_ones((x - like.mean(dim=0)) / (like.std(dim=0) + 1e-9)), y)


def with_ones(x: Tensor) -> Tensor:
    """`x (..., n, d)` with a column of ones behind, for the bias."""
    return torch.cat([x, torch.ones(*x.shape[:-1], 1)], dim=-1)


def initial_models(width: int, seeds: tuple[int, ...]) -> Tensor:
    """Default-initialised logistic regressions `(seeds, width + 1)`."""
    models = []
    for seed in seeds:
        torch.manual_seed(seed)
        layer = torch.nn.Linear(width, 1)
        models.append(torch.cat([layer.weight.detach()[0], layer.bias.detach()]))
    return torch.stack(models)


def padded(rows: list[int], size: int) -> list[int]:
    """One batch of row numbers, filled up with -1."""
    return rows + [-1] * (size - len(rows))


def gradient(x: Tensor, y: Tensor, valid: Tensor, models: Tensor) -> Tensor:
    """Gradient `(s, m, d)` of the mean binary cross-entropy over the valid rows.

    x `(s, batch, d)`, y and valid `(s, batch)`, models `(s, m, d)`: seed s has its own batch, shared by its m methods.
    """
    p = torch.sigmoid(torch.einsum("sbd,smd->smb", x, models))
    weight = valid / valid.sum(dim=1, keepdim=True).clamp(min=1)
    return torch.einsum("smb,sbd->smd", (p - y[:, None]) * weight[:, None], x)


def column(values: list[float]) -> Tensor:
    """One value a method `(m, 1)`."""
    return torch.tensor(values)[:, None]


def server_step(rule: Server, state: dict[str, Tensor], delta: Tensor, turn: int) -> Tensor:
    """What the server adds to the model after round `turn` (from 1), for the mean update `delta`."""
    if rule.kind == "avg":
        return delta
    zero = torch.zeros_like(delta)
    m = state["m"] = rule.beta1 * state.get("m", zero) + (1 - rule.beta1) * delta
    v, square = state.get("v", zero), delta * delta
    if rule.kind == "adam":
        v = rule.beta2 * v + (1 - rule.beta2) * square
    elif rule.kind == "yogi":
        v = v - (1 - rule.beta2) * square * torch.sign(v - square)
    else:
        v = v + square
    state["v"] = v
    eta = rule.eta
    if rule.corrected:
        eta *= math.sqrt(1 - rule.beta2 ** (turn + 1)) / (1 - rule.beta1 ** (turn + 1))
    return eta * m / (torch.sqrt(v) + rule.tau)


class Servers:
    """The server rules of all methods side by side, each with its own state."""

    def __init__(self, methods: tuple[Method, ...]) -> None:
        self._rules = [method.server for method in methods]
        self._states: list[dict[str, Tensor]] = [{} for _ in methods]

    def step(self, delta: Tensor, turn: int) -> Tensor:
        """Additions to the models `(s, m, d)` after round `turn`, for mean updates `(s, m, d)`."""
        pairs = zip(self._rules, self._states, strict=True)
        return torch.stack([server_step(rule, state, delta[:, i], turn) for i, (rule, state) in enumerate(pairs)], 1)
