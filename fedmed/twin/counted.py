"""What the models of the built-in scenarios cost, as `counting` found it: a modelled run of one starts without PyTorch.

What a scenario changes of its data or its task is counted anew.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import TypeAdapter, ValidationError

from fedmed.config.catalogue import shipped
from fedmed.config.scenario import Scenario
from fedmed.errors import ConfigError
from fedmed.twin.planning.cost import Cost

FILE = "machines/costs.json"


def counts_for(scenario: Scenario) -> dict[str, Any]:
    """All of a scenario that its cost depends on: the shape of a case, the classes, and the network."""
    data = {"reader": scenario.data.reader, "options": dict(scenario.data.options)}
    return {"data": data, "task": scenario.task.model_dump(mode="json", exclude_defaults=True)}


def stored(scenario: Scenario) -> Cost | None:
    """None where it has to be counted. Raises ConfigError where the file that travels with fedmed was damaged."""
    if scenario.data.folder:  # cases of the user's own, which may have any shape
        return None
    path, wanted = shipped("simulations") / FILE, counts_for(scenario)
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        found = next((each["cost"] for each in entries if each["for"] == wanted), None)
        return None if found is None else TypeAdapter(Cost).validate_json(json.dumps(found), strict=True)
    except (OSError, ValueError, LookupError, TypeError, ValidationError) as error:
        raise ConfigError(f"{path} cannot be read: {error}; install fedmed again") from error
