"""The run that is tapped, and what its sites must not tell, as bytes to search for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from fedmed.learning.histograms import macro_auc
from fedmed.wire import tensors as wire
from tests.attacks.secagg import tap as search
from tests.attacks.secagg.watched import Secret

SIZES = {"east": 5501, "north": 6373, "south": 7349, "west": 4801}
SCENARIO = """\
name: tapped
title: Four sites on a tapped wire
rounds: 3
data: {reader: csv, options: {site: site}, normalise: federated, split: {test: 0.1, validation: 0.45}}
task: {name: tabular-mlp, model_options: {hidden: 32}}
training: {learning_rate: 0.05, batch_size: 256, epochs: 1}
strategy: {name: fedavg}
evaluation: {baselines: false}
engine: {workers: 4}
"""


def cases(folder: Path, sites: Iterable[str] = SIZES) -> Path:
    rng, lines = np.random.default_rng(0), ["a,b,c,d,e,f,site,label"]
    for site in sites:
        x = rng.normal(3.0, 2.0, size=(SIZES[site], 6))
        ill = (x - 3.0).sum(axis=1) + rng.normal(size=len(x)) > 0
        lines += [
            ",".join(f"{v:.4f}" for v in row) + f",{site},{'ill' if y else 'well'}" for row, y in zip(x, ill, strict=True)
        ]
    (folder / "cases.csv").write_text("\n".join(lines) + "\n")
    return folder


def of_kind(secrets: list[Secret], kind: str) -> list[Secret]:
    return [each for each in secrets if each.kind == kind]


def vectors(secrets: list[Secret]) -> np.ndarray:
    """Trained weights, their changes, sums of features, and lanes before their masks."""
    trained = [_flat(each.tensors) for each in of_kind(secrets, "train")]
    changes = [
        _flat({name: made - each.model[name] for name, made in each.tensors.items()}) for each in of_kind(secrets, "train")
    ]
    sums = [np.asarray(value, np.float64) for each in of_kind(secrets, "query.census") for value in each.tensors.values()]
    return search.long_needles(*trained, *changes, *sums, *(each.lanes for each in secrets))


def _flat(tensors: wire.Tensors) -> np.ndarray:
    return np.concatenate([value.reshape(-1) for value in tensors.values()])


def counts(secrets: list[Secret]) -> set[int]:
    """Training and validation cases, in all and of each class."""
    (census,) = of_kind(secrets, "query.census")
    train = census.tensors["classes"].tolist()
    validation = of_kind(secrets, "evaluate")[0].tensors["scores"].reshape(2, -1).sum(axis=1).tolist()
    return {*train, *validation, sum(train), sum(validation)}


def measures(secrets: list[Secret]) -> list[float]:
    """Losses and AUCs, in any form in which an app could tell them."""
    scored = of_kind(secrets, "evaluate")
    losses = [each.values["loss"] for each in of_kind(secrets, "train")]
    losses += [float(each.tensors["loss.sum"]) for each in scored]
    losses += [float(each.tensors["loss.sum"]) / each.tensors["scores"].sum() for each in scored]
    areas = [macro_auc(each.tensors["scores"].reshape(1, 2, -1))[0] for each in scored]
    return [*losses, *(area for area in areas if area is not None)]
