"""Loading Flower apps from the role folders, as a Flower App Bundle would: their root goes first on the path."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedmed.errors import MissingPart


@dataclass(frozen=True)
class AppRef:
    """Where an app is: `root` is the folder its module is imported from, `name` reads `module:attribute`.

    `preload` names modules that the app's processes will need and that take long to import. `gate` names what stands
    between the app and the wire, as `module:function` of the installed library: it makes a node's `guard.Gate` from the
    node's configuration. `around` names in the same way what is put around the app, within the gate.
    """

    root: Path
    name: str
    preload: tuple[str, ...] = ()
    gate: str | None = None
    around: str | None = None

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
    return _attribute(ref.name, f"app {ref.name!r} cannot be loaded from {ref.root}")


def load_gate(ref: AppRef) -> Callable[[dict[str, Any]], Any]:
    """What makes a node's gate. Raises MissingPart where it cannot be imported."""
    found: Callable[[dict[str, Any]], Any] = _attribute(str(ref.gate), f"gate {ref.gate!r} cannot be loaded")
    return found


def load_around(ref: AppRef) -> Callable[[Any], Any]:
    """What is put around the app. Raises MissingPart where it cannot be imported."""
    found: Callable[[Any], Any] = _attribute(str(ref.around), f"{ref.around!r} cannot be loaded")
    return found


def _attribute(name: str, fault: str) -> Any:
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise MissingPart(f"{fault}: {error}") from error
