"""Small worlds for tests."""

from __future__ import annotations

import json
from typing import Any

from fedmed.config.topology import Topology
from fedmed.twin.world import World

PACES = {"t4": 0.01, "nano": 0.2, "a100": 0.001}
"""Seconds a case."""
LINES = {
    "hall": {"up": "10 Gbit/s", "down": "10 Gbit/s"},
    "slow": {"up": "8 Mbit/s", "down": "16 Mbit/s", "latency": "20 ms"},
    "lan": {"up": "1 Gbit/s", "down": "1 Gbit/s"},
}


def topology(*clinics: dict[str, Any], **more: Any) -> Topology:
    groups = [{"machine": "t4", "line": "slow", **each} for each in clinics or ({"name": "large", "count": 4},)]
    lines = {**LINES, **more.pop("lines", {})}
    return Topology.model_validate_json(json.dumps({"lines": lines, "center": {"line": "hall"}, "clinics": groups, **more}))


def world(*clinics: dict[str, Any], seed: int = 7, **more: Any) -> World:
    return World(topology(*clinics, **more), seed, PACES)
