"""Runs of the tiny federation with sites that misbehave."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedmed.flower.apps import AppRef
from fedmed.simulate import engines
from tests.faults.apps import FAULTS

Simulate = Callable[..., dict[str, Any]]


@pytest.fixture
def faulty(simulated: Simulate, monkeypatch: pytest.MonkeyPatch) -> Simulate:
    """Runs the tiny federation with sites that misbehave as planned: `{site: {"train ROUND": fault}}`."""
    root = Path(__file__).resolve().parents[2]
    monkeypatch.setattr(engines, "CLIENT", AppRef(root, "tests.faults.apps:app", engines.CLIENT.preload))

    def run(plan: dict[str, dict[str, str]], out: Path, *overrides: str, resume: bool = False) -> dict[str, Any]:
        (out.parent / FAULTS).write_text(json.dumps(plan))
        return simulated(out, *overrides, resume=resume)

    return run
