from __future__ import annotations

import json

from fedmed.config.scenario import Scenario

LINES = {
    "fibre": {"up": "1 Gbit/s", "down": "1 Gbit/s"},
    "dsl": {"up": "10 Mbit/s", "down": "50 Mbit/s", "latency": "20 ms"},
}
LARGE = {"name": "large", "count": 8, "machine": "a100", "line": "fibre", "cases": {"median": 1000}}
SMALL = {"name": "small", "count": 32, "machine": "t4", "line": "dsl", "cases": {"median": 100}}


def scenario(*clinics, lines=LINES, training=None, privacy=None, federation=None, **topology) -> Scenario:
    given = {"lines": lines, "center": {"machine": "a100", "line": "fibre"}, "clinics": clinics or (LARGE, SMALL)}
    written = {
        "name": "region",
        "title": "Many clinics",
        "rounds": 50,
        "data": {"reader": "phantom"},
        "task": {"name": "segmentation"},
        "training": {"epochs": 1, "batch_size": 16} | (training or {}),
        "privacy": privacy or {},
        "federation": federation or {},
        "topology": given | topology,
    }
    return Scenario.model_validate_json(json.dumps(written))
