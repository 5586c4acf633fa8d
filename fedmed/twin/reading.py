"""A scenario whose machines are known, read from its file: each fault with its line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fedmed.config.document import Fault, read_document
from fedmed.config.loading import load
from fedmed.config.scenario import Scenario
from fedmed.errors import ConfigError
from fedmed.twin import profiles


def read(path: Path, overrides: Sequence[str] = ()) -> Scenario:
    """As `fedmed.config.loading.load`, and its machines are profiles. Raises ConfigError with all faults of the machines."""
    scenario = load(path, overrides)
    if scenario.topology is None:
        return scenario
    document = read_document(path.read_text(encoding="utf-8-sig"), str(path))
    found = [Fault(document.place(at), at, text) for at, text in profiles.faults(scenario.topology)]
    if found:
        head = f"the scenario has {len(found)} fault{'s' if len(found) > 1 else ''}:"
        raise ConfigError("\n  ".join([head, *map(str, found)]))
    return scenario
