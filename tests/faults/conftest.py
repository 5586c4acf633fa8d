"""Runs of the tiny federation, in this process or as a command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import killing
from fedmed.config.loading import load
from fedmed.flower.apps import AppRef
from fedmed.simulate import engines
from fedmed.simulate.run import Request, simulate
from tests.faults.apps import FAULTS

Simulate = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny federation's scenario and cases."""
    folder = tmp_path_factory.mktemp("inputs")
    killing.write_inputs(folder)
    return folder


@pytest.fixture(scope="session")
def simulated(inputs: Path) -> Simulate:
    """Runs the tiny federation in this process."""

    def run(out: Path, *overrides: str, resume: bool = False) -> dict[str, Any]:
        return simulate(Request(load(inputs / "tiny.yaml", overrides), inputs, out, resume))

    return run


@pytest.fixture
def faulty(simulated: Simulate, monkeypatch: pytest.MonkeyPatch) -> Simulate:
    """Runs the tiny federation with sites that misbehave as planned: `{site: {"train ROUND": fault}}`."""
    root = Path(__file__).resolve().parents[2]
    monkeypatch.setattr(engines, "CLIENT", AppRef(root, "tests.faults.apps:app", engines.CLIENT.preload))

    def run(plan: dict[str, dict[str, str]], out: Path, *overrides: str, resume: bool = False) -> dict[str, Any]:
        (out.parent / FAULTS).write_text(json.dumps(plan))
        return simulated(out, *overrides, resume=resume)

    return run
