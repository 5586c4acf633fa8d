"""Loading Flower apps from the role folders, as a Flower App Bundle would: their root goes first on the path."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedmed.errors import MissingPart


@dataclass(frozen=True)
class AppRef:
    """Where an app is: `root` is the folder its module is imported from, `name` reads `module:attribute`.

    `preload` names modules that the app's processes will need and that take long to import.
    """

    root: Path
    name: str
    preload: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        """The module part of the name."""
        return self.name.partition(":")[0]


def add_root(ref: AppRef) -> None:
    """Put the app's root first on `sys.path`, for this process and those it starts."""
    root = str(ref.root)
    sys.path[:] = [root, *(entry for entry in sys.path if entry != root)]


def load(ref: AppRef) -> Any:
    """The ServerApp or ClientApp itself. Raises MissingPart where it cannot be imported."""
    add_root(ref)
    attribute = ref.name.partition(":")[2]
    try:
        return getattr(importlib.import_module(ref.module), attribute)
    except (ImportError, AttributeError) as error:
        raise MissingPart(f"app {ref.name!r} cannot be loaded from {ref.root}: {error}") from error
