"""The in-process engine over an app that obeys, and messages for it."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, Message, RecordDict

from fedmed.flower import arrays, identity
from fedmed.flower.apps import AppRef
from fedmed.flower.inprocess import InProcessGrid

OBEDIENT = AppRef(Path(__file__).parent / "apps", "obedient:app", ("flwr.clientapp", "fedmed.flower.arrays"))


@pytest.fixture(autouse=True, scope="session")
def _little_garbage() -> None:
    gc.freeze()  # some of Flower's rules collect garbage for every answer, which takes long in a process of many tests


@pytest.fixture(autouse=True)
def _the_server() -> None:
    identity.assume(identity.SERVER_NODE)


@pytest.fixture
def grids() -> Iterator[Callable[..., InProcessGrid]]:
    """Makes grids of obedient sites, and closes them."""
    made: list[InProcessGrid] = []

    def make(sites: int = 4, workers: int = 2, ref: AppRef = OBEDIENT) -> InProcessGrid:
        made.append(InProcessGrid(ref, [{"partition-id": i} for i in range(sites)], [1.0] * sites, workers))
        return made[-1]

    yield make
    for grid in made:
        grid.close()


@pytest.fixture
def messages() -> Callable[..., list[Message]]:
    """Training messages that share one record, one a node."""

    def make(nodes: list[int], model: dict[str, Any] | None = None, kind: str = "train", **order: Any) -> list[Message]:
        tensors = {"w": np.arange(6, dtype=np.float32).reshape(2, 3)} if model is None else model
        content = RecordDict({"arrays": arrays.borrow(tensors), "config": ConfigRecord(order)})
        return [Message(content, node, kind) for node in nodes]

    return make
