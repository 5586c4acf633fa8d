"""Whole masked rounds between a center and node processes over mutual TLS."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedmed.clock import SystemClock
from fedmed.flower.apps import AppRef
from fedmed.flower.direct import DirectGrid
from fedmed.flower.inprocess import InProcessGrid
from fedmed.flower.transport import Transport
from tests.flower.masked import APP, GATE, clinics, laid_out, loop, train, until_online
from tests.flower.real import federation

NAMES = ["east", "north", "west"]
ROUNDS = 3


def model() -> dict[str, np.ndarray]:
    return {"w": np.random.default_rng(1).standard_normal(20_000, dtype=np.float32)}


def in_process(folder: Path) -> dict[str, np.ndarray]:
    folder.mkdir()
    sites = laid_out(folder, NAMES)
    nodes = [{"partition-id": number, "sites-folder": str(sites)} for number in range(3)]
    with InProcessGrid(AppRef(Path(APP["root"]), APP["name"], gate=GATE), nodes, [1.0] * 3, 0) as grid:
        transport = Transport(grid, SystemClock())
        with loop(transport, dict(zip(transport.nodes(), NAMES, strict=True)), sites, folder) as rounds:
            return train(rounds, model(), ROUNDS)[0]


@pytest.mark.parametrize("database", [pytest.param(None, marks=pytest.mark.nightly), "state.db"])
def test_the_model_of_real_nodes_is_that_of_the_engine_in_one_process(tmp_path: Path, database: str | None):
    sites = laid_out(tmp_path, NAMES)
    with federation(tmp_path, database and tmp_path / database) as fed, clinics(fed, NAMES, sites) as (by_node, started):
        grid = DirectGrid(fed.engine.link, fed.engine.link.start_run("noop"))
        until_online(grid, 3, started)
        with loop(Transport(grid, SystemClock()), by_node, sites, tmp_path) as rounds:
            trained, records = train(rounds, model(), ROUNDS)
        assert [record["verdict"] for record in records] == ["complete"] * ROUNDS
        assert fed.engine.link.state.num_message_ins() == fed.engine.link.state.num_message_res() == 0
    expected = in_process(tmp_path / "one")
    assert np.array_equal(trained["w"], expected["w"])
