"""What differs between two scenarios, key by key; shown when a run is resumed with another scenario."""

from __future__ import annotations

from typing import Any

from fedmed.config.allowed import shown
from fedmed.config.scenario import Scenario

_ABSENT = "absent"


def differences(a: Scenario, b: Scenario) -> list[str]:
    """`key: old -> new` for every key whose value differs, in the order of the file; empty when they are equal."""
    old, new = flatten(a.model_dump(mode="json")), flatten(b.model_dump(mode="json"))
    changed = [key for key in {**old, **new} if old.get(key, _ABSENT) != new.get(key, _ABSENT)]
    return [f"{key}: {old.get(key, _ABSENT)} -> {new.get(key, _ABSENT)}" for key in changed]


def flatten(value: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Dotted keys and the written form of their values; lists stay whole, empty sections are `{}`."""
    flat: dict[str, str] = {}
    for key, item in value.items():
        if isinstance(item, dict) and item:
            flat |= flatten(item, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = "{}" if item == {} else shown(item)
    return flat
