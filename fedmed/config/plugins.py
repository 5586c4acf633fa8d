"""Parts that other installed packages add by entry points: tasks, models, strategies."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from fedmed.errors import ConfigError


def names(group: str) -> list[str]:
    """Names that installed packages add to `group`."""
    return sorted({point.name for point in entry_points(group=group)})


def load(group: str, name: str, key: str) -> Any | None:
    """What the entry point `name` of `group` points to, or None where nobody adds that name.

    Raises ConfigError, naming the scenario's `key`, where it cannot be imported.
    """
    for point in entry_points(group=group, name=name):
        try:
            return point.load()
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"{key}: {name!r} ({point.value}, entry point {group}) cannot be loaded: {error}") from error
    return None
