"""The end of a real run: the model, and the report of what the center knows. It has seen no case and measured none."""

from __future__ import annotations

import json
from pathlib import Path

from fedmed.config.scenario import Scenario
from fedmed.errors import StoreError
from fedmed.federation.outcome import final_model, machine, outcome
from fedmed.identity import files
from fedmed.learning.order import Preparation
from fedmed.learning.plan import scale_tensors
from fedmed.report import write_report
from fedmed.store.commits import Commits
from fedmed.wire import tensors as wire

MODEL = "model.safetensors"
EVALUATED_BY = "the clinics, each on its own validation cases; the center saw {}"


def conclude(folder: Path, scenario: Scenario, seconds: float) -> None:
    """Write model and report of a run whose last round is committed. Raises StoreError."""
    commit, _ = Commits(folder).latest()
    if commit is None or commit.round < scenario.rounds:
        raise StoreError(f"the last commit in {folder} cannot be read; put a copy of it back")
    preparation = Preparation.model_validate(commit.state["preparation"])
    sha256 = wire.save({**final_model(commit, scenario), **scale_tensors(preparation)}, folder / f".{MODEL}")
    (folder / f".{MODEL}").replace(folder / MODEL)
    report = {
        **outcome(commit, scenario),
        "engine": "a real federation",
        "evaluated_by": EVALUATED_BY.format("sums only" if scenario.privacy.is_masked else "each one's figures"),
        "seconds": {"total": seconds, "phases": {"federate": seconds}},
        "model_sha256": sha256,
        "machine": machine(0),
    }
    files.replace(
        folder / "report.json", json.dumps(report, indent=1, ensure_ascii=False).encode("utf-8", "backslashreplace")
    )
    write_report(folder)
