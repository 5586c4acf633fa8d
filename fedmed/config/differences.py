"""What differs between two scenarios, key by key; shown when a run is resumed with another one, or approved anew."""

from __future__ import annotations

import json
from typing import Any

from fedmed.config.allowed import shown
from fedmed.config.scenario import Scenario

_ABSENT = "absent"


def differences(a: Scenario, b: Scenario) -> list[str]:
    """`key: old -> new` for every key whose value differs, in the order of the file; empty when they are equal."""
    return between(a.model_dump(mode="json"), b.model_dump(mode="json"))


def between(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """As `differences`, of plain JSON values; what is too long to tell apart when cut is shown whole."""
    old, new = _flat(a), _flat(b)
    changed = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    return [f"{key}: {' -> '.join(_told(old.get(key), new.get(key)))}" for key in changed]


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Dotted keys and their values as JSON; lists of sections by index, other lists whole, empty sections are `{}`."""
    flat: dict[str, str] = {}
    for key, item in value.items():
        if isinstance(item, dict) and item:
            flat |= _flat(item, f"{prefix}{key}.")
        elif isinstance(item, list) and item and all(isinstance(each, dict) and each for each in item):
            flat |= _flat({str(index): each for index, each in enumerate(item)}, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = json.dumps(item, ensure_ascii=False)
    return flat


def _told(*values: str | None) -> list[str]:
    cut = [_ABSENT if value is None else "{}" if value == "{}" else shown(json.loads(value)) for value in values]
    return cut if len(set(cut)) == len(cut) else [_ABSENT if value is None else value for value in values]
