"""What a strategy remembers between rounds, saved and put back so that a resumed run goes on as if nothing had happened.

A strategy may say itself what to keep, with `state_dict()` and `load_state_dict(state)`; otherwise its attributes are kept:
numbers, texts, arrays, Flower records and lists or dicts of these. What has changed since the strategy was built and is
none of them cannot be saved, and is refused by name rather than forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, MetricRecord
from flwr.serverapp.strategy import Strategy

from fedmed.errors import StoreError
from fedmed.flower import arrays
from fedmed.wire.tensors import Tensors

PLAIN = (bool, int, float, str, type(None))


class Memory:
    """Saves and restores the state of one strategy."""

    def __init__(self, strategy: Strategy) -> None:
        self._owners = dict(_owners(strategy))
        self._at_first = {prefix: dict(vars(owner)) for prefix, owner in self._owners.items()}

    def save(self) -> tuple[Tensors, dict[str, Any]]:
        """The state as named tensors and a JSON value that refers to them."""
        state: dict[str, Any] = {}
        for prefix, owner in self._owners.items():
            own = getattr(owner, "state_dict", None)
            mine = own() if callable(own) else self._attributes(prefix, owner)
            state |= {prefix + name: value for name, value in mine.items()}
        tensors: Tensors = {}
        return tensors, {name: _encode(value, name, tensors) for name, value in state.items()}

    def load(self, tensors: Tensors, values: dict[str, Any]) -> None:
        """Put a saved state back. Raises KeyError for a tensor or a nested strategy that is missing."""
        grouped: dict[str, dict[str, Any]] = {prefix: {} for prefix in self._owners}
        for path, value in values.items():
            prefix, slash, name = path.rpartition("/")
            grouped[prefix + slash][name] = _decode(value, tensors)
        for prefix, state in grouped.items():
            owner = self._owners[prefix]
            own = getattr(owner, "load_state_dict", None)
            if callable(own):
                own(state)
            else:
                vars(owner).update(state)

    def _attributes(self, prefix: str, owner: Strategy) -> dict[str, Any]:
        state = {}
        for name, value in vars(owner).items():
            if _keepable(value):
                state[name] = value
            elif self._at_first[prefix].get(name) is not value:
                raise StoreError(
                    f"attribute {name!r} of {type(owner).__name__} is a {type(value).__name__}, which a commit "
                    "cannot hold; give the strategy state_dict() and load_state_dict(state) methods"
                )
        return state


def _owners(strategy: Strategy, prefix: str = "") -> Iterator[tuple[str, Strategy]]:
    """The strategy and those it wraps (differential privacy does), by the path of their attribute."""
    yield prefix, strategy
    for name, value in vars(strategy).items():
        if isinstance(value, Strategy):
            yield from _owners(value, f"{prefix}{name}/")


def _keepable(value: Any) -> bool:
    if isinstance(value, (*PLAIN, np.ndarray, np.generic, ArrayRecord, MetricRecord, ConfigRecord)):
        return True
    if isinstance(value, dict):
        return all(isinstance(key, str) and _keepable(item) for key, item in value.items())
    return isinstance(value, (list, tuple)) and all(map(_keepable, value))


def _encode(value: Any, path: str, tensors: Tensors) -> Any:
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        tensors[path] = value
        return {"tensor": path}
    if isinstance(value, ArrayRecord):
        return {"arrays": {name: _encode(item, f"{path}/{name}", tensors) for name, item in arrays.views(value).items()}}
    if isinstance(value, (MetricRecord, ConfigRecord)):
        return {type(value).__name__: dict(value)}
    if isinstance(value, dict):
        return {"dict": {name: _encode(item, f"{path}/{name}", tensors) for name, item in value.items()}}
    kind = "list" if isinstance(value, list) else "tuple"
    return {kind: [_encode(item, f"{path}/{i}", tensors) for i, item in enumerate(value)]}


def _decode(value: Any, tensors: Tensors) -> Any:
    if isinstance(value, PLAIN):
        return value
    ((kind, inner),) = value.items()
    match kind:
        case "tensor":
            return np.array(tensors[inner])
        case "arrays":
            return arrays.own({name: np.array(_decode(item, tensors)) for name, item in inner.items()})
        case "dict":
            return {name: _decode(item, tensors) for name, item in inner.items()}
        case "MetricRecord":
            return MetricRecord(inner)
        case "ConfigRecord":
            return ConfigRecord(inner)
    items = [_decode(item, tensors) for item in inner]
    return items if kind == "list" else tuple(items)
