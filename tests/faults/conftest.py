"""Runs of the tiny federation with sites that misbehave."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import killing
from fedmed.flower.apps import AppRef
from fedmed.simulate import engines
from tests.faults.apps import FAULTS

Simulate = Callable[..., dict[str, Any]]
FIVE = ("east", "middle", "north", "south", "west")


@pytest.fixture
def faulty(simulated: Simulate, monkeypatch: pytest.MonkeyPatch) -> Simulate:
    """Runs the tiny federation with sites that misbehave as planned: `{site: {"train ROUND": fault}}`."""
    root = Path(__file__).resolve().parents[2]
    monkeypatch.setattr(engines, "CLIENT", AppRef(root, "tests.faults.apps:app", engines.CLIENT.preload))

    def run(plan: dict[str, dict[str, str]], out: Path, *overrides: str, **more: Any) -> dict[str, Any]:
        (out.parent / FAULTS).write_text(json.dumps(plan))
        return simulated(out, *overrides, **more)

    return run


@pytest.fixture(scope="session")
def five(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cases of five sites: a masked sum may be without two of them."""
    folder = tmp_path_factory.mktemp("five")
    killing.write_inputs(folder, FIVE)
    return folder
