"""Where a model comes from: what the center says of a committed round, and the record that is signed with the model."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from fedmed.errors import StoreError
from fedmed.wire.canonical import canonical

MAX_BYTES = 4 << 20
KIND, VERSION = "fedmed-model-lineage", 1
PACKAGES = ("fedmed", "flwr", "torch", "numpy", "opacus", "safetensors", "cryptography")


@dataclass(frozen=True)
class Committed:
    """One committed round, in plain values; nothing of a patient is among them."""

    run: str
    round: int
    scenario_sha256: str
    spec: Mapping[str, Any]
    """The model's specification, as JSON has it."""
    cohort: tuple[str, ...]
    """Names of the sites whose updates are in it."""
    measures: Mapping[str, float] = field(default_factory=dict)
    """Of the round's federated validation; empty where none was due."""
    metric: str = ""
    """The one of `measures` that models are compared by."""
    higher_is_better: bool = True
    epsilon: float | None = None
    """What the run has cost in privacy so far, where it is private."""
    delta: float | None = None
    members: Mapping[str, str] = field(default_factory=dict)
    """Fingerprints of the sites' keys, in hex, by name."""
    pipeline: str = ""
    """Fingerprint of the preparation of images."""
    parent: str | None = None
    """SHA-256, in hex, of the model that the round began with (`wire.tensors`); None for a first one."""

    @property
    def score(self) -> float | None:
        """The measure that models are compared by; None where there is none, or it is no number."""
        found = self.measures.get(self.metric)
        return float(found) if found is not None and math.isfinite(found) else None


@dataclass(frozen=True)
class Weights:
    """What is known of the tensors."""

    sha256: str
    bytes: int
    parameters: int


def record(said: Committed, federation: str, unix: float, weights: Weights) -> bytes:
    """The lineage as canonical JSON. Raises StoreError for what JSON does not carry, and for more than `MAX_BYTES`."""
    told = {name: _finite(value) for name, value in said.measures.items()}
    body = {
        "kind": KIND,
        "version": VERSION,
        "federation": federation,
        "run": said.run,
        "round": said.round,
        "unix": unix,
        "cohort": list(said.cohort),
        "scenario_sha256": said.scenario_sha256,
        "spec": dict(said.spec),
        "measures": told,
        "metric": said.metric,
        "higher_is_better": said.higher_is_better,
        "epsilon": said.epsilon,
        "delta": said.delta,
        "members": dict(said.members),
        "pipeline": said.pipeline,
        "parent": said.parent,
        "model": {"sha256": weights.sha256, "bytes": weights.bytes, "parameters": weights.parameters},
        "software": software(),
    }
    try:
        content = canonical(body)
    except (TypeError, ValueError, RecursionError) as error:
        raise StoreError(f"the lineage of {said.run}:{said.round} is not what JSON carries ({error})") from error
    if len(content) > MAX_BYTES:
        raise StoreError(f"the lineage of {said.run}:{said.round} has {len(content)} bytes; allowed are {MAX_BYTES}")
    return content


def read(content: bytes) -> dict[str, Any]:
    """The record in a file. Raises ValueError for what is none."""
    try:
        said = json.loads(content)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if not isinstance(said, dict) or (said.get("kind"), said.get("version")) != (KIND, VERSION):
        raise ValueError("it is no lineage of this version")
    return said


def software() -> dict[str, str]:
    """Versions of Python and of the packages that make a model, those that are installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
