"""What a strategy remembers between rounds, saved and put back so that a resumed run goes on as if nothing had happened.

A strategy may say itself what to keep, with `state_dict()` and `load_state_dict(state)`; otherwise its attributes are kept:
numbers, texts, arrays, Flower records and lists or dicts of these. What has changed since the strategy was built and is
none of them cannot be saved, and is refused by name rather than forgotten.
"""

from __future__ import annotations

import hashlib
import inspect
import math
import pickle
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, MetricRecord
from flwr.serverapp.strategy import Strategy

from fedmed.errors import StoreError
from fedmed.flower import arrays
from fedmed.wire.tensors import CODES, Tensors

PLAIN = (bool, int, float, str, type(None))


class Memory:
    """Saves and restores the state of one strategy."""

    def __init__(self, strategy: Strategy) -> None:
        self._owners = dict(owners(strategy))
        self._at_first = {
            path: {name: (value, _fingerprint(value)) for name, value in vars(owner).items() if not _keepable(value)}
            for path, owner in self._owners.items()
        }

    def save(self) -> tuple[Tensors, dict[str, Any]]:
        """The state as named tensors and a JSON value that refers to them, by the path of each nested strategy."""
        tensors: Tensors = {}
        values: dict[str, Any] = {}
        for path, owner in self._owners.items():
            own = getattr(owner, "state_dict", None)
            state = self._said(own(), owner) if callable(own) else self._attributes(path, owner)
            values[path] = {name: _encode(value, f"{path}{name}", tensors) for name, value in state.items()}
        return tensors, values

    def load(self, tensors: Tensors, values: dict[str, Any]) -> None:
        """Put a saved state back. Raises KeyError for a tensor or a nested strategy that is missing."""
        states = {path: {name: _decode(value, tensors) for name, value in values[path].items()} for path in self._owners}
        for path, state in states.items():
            owner = self._owners[path]
            own = getattr(owner, "load_state_dict", None)
            if callable(own):
                own(state)
            else:
                vars(owner).update(state)

    def _attributes(self, path: str, owner: Strategy) -> dict[str, Any]:
        state = {}
        for name, value in vars(owner).items():
            if _keepable(value):
                state[name] = value
            elif not self._is_as_at_first(path, name, value):
                raise _refusal(f"attribute {name!r}", owner, value)
        return state

    def _is_as_at_first(self, path: str, name: str, value: Any) -> bool:
        first, fingerprint = self._at_first[path].get(name, (None, None))
        return first is value and _fingerprint(value) == fingerprint

    def _said(self, state: dict[str, Any], owner: Strategy) -> dict[str, Any]:
        for name, value in state.items():
            if not _keepable(value):
                raise _refusal(f"state_dict()[{name!r}]", owner, value)
        return state


def owners(strategy: Strategy, path: str = "") -> Iterator[tuple[str, Strategy]]:
    """The strategy and those it wraps (differential privacy does), by the path of their attribute."""
    yield path, strategy
    for name, value in vars(strategy).items():
        if isinstance(value, Strategy):
            yield from owners(value, f"{path}{name}/")


def _refusal(what: str, owner: Strategy, value: Any) -> StoreError:
    return StoreError(
        f"{what} of {type(owner).__name__} is a {type(value).__name__} that a commit cannot hold; give the strategy "
        "state_dict() and load_state_dict(state) methods that speak of numbers, texts, arrays, lists and dicts"
    )


def _fingerprint(value: Any) -> str | None:
    """Tells a value that was changed in place from what it was; None for what is code, another strategy or unknowable."""
    if inspect.isroutine(value) or isinstance(value, (type, Strategy)):
        return None
    try:
        return hashlib.sha256(pickle.dumps(value)).hexdigest()
    except (pickle.PicklingError, TypeError, AttributeError, ValueError, RuntimeError):
        return None


def _keepable(value: Any) -> bool:
    if isinstance(value, (np.ndarray, np.generic)):
        return value.dtype.name in CODES
    if isinstance(value, ConfigRecord):
        return all(map(_keepable, value.values()))
    if isinstance(value, dict):
        own = type(value) in (dict, OrderedDict)
        return own and all(type(key) in (str, int) and _keepable(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return type(value) in (list, tuple) and all(map(_keepable, value))
    return isinstance(value, (*PLAIN, ArrayRecord, MetricRecord))


def _encode(value: Any, path: str, tensors: Tensors) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        name = f"{path}#{len(tensors)}"
        tensors[name] = np.asarray(value)
        return {"tensor" if isinstance(value, np.ndarray) else "scalar": name}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, ArrayRecord):
        value, kind = arrays.views(value), "arrays"
    else:
        kind = type(value).__name__
    if isinstance(value, (list, tuple)):
        return {kind: [_encode(item, path, tensors) for item in value]}
    return {kind: [[name, _encode(item, f"{path}/{name}", tensors)] for name, item in value.items()]}


def _decode(value: Any, tensors: Tensors) -> Any:
    if isinstance(value, PLAIN):
        return value
    ((kind, inner),) = value.items()
    match kind:
        case "tensor":
            return np.array(tensors[inner])
        case "scalar":
            return tensors[inner][()]
        case "float":
            return float(inner)
        case "list" | "tuple":
            items = [_decode(item, tensors) for item in inner]
            return items if kind == "list" else tuple(items)
    pairs = {name: _decode(item, tensors) for name, item in inner}
    match kind:
        case "OrderedDict":
            return OrderedDict(pairs)
        case "arrays":
            return arrays.own(pairs)
        case "MetricRecord":
            return MetricRecord(pairs)
        case "ConfigRecord":
            return ConfigRecord(pairs)
    return pairs
