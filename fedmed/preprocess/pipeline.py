"""How a site makes tensors of images, as a description that has one digest: equal digests, equal preparation."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedmed.wire.canonical import canonical, digest

DEFINITION = 1
"""Goes up whenever a step of the same name and parameters gives other values than before."""
MAX_STEPS, MAX_BYTES, MAX_TEXT = 64, 16 * 1024, 300

Value = str | int | float | bool | tuple[float, ...] | tuple[str, ...] | None


@dataclass(frozen=True)
class Step:
    """One step and its parameters, units in their names: `Step("resample", {"spacing_mm": (1.0, 1.0, 1.0)})`.

    Names in use: `read`, `orient`, `resample`, `crop`, `window`, `normalise`, `channels`, `cast`.
    """

    name: str
    parameters: Mapping[str, Value]


@dataclass(frozen=True)
class Pipeline:
    """Steps in the order in which they are taken."""

    steps: tuple[Step, ...]
    definition: int = DEFINITION

    def record(self) -> dict[str, Any]:
        """The description as plain JSON values."""
        steps = [{"name": step.name, "parameters": dict(step.parameters)} for step in self.steps]
        record: dict[str, Any] = json.loads(canonical({"definition": self.definition, "steps": steps}))
        return record

    def fingerprint(self) -> str:
        """SHA-256 of the canonical JSON of the record, as hex."""
        return digest(self.record())


AS_STORED = Pipeline((Step("read", {"values": "as stored"}),))


def parse(record: object) -> Pipeline:
    """The pipeline that a site sent. Raises ValueError for what is none or is too large."""
    if not isinstance(record, dict) or len(canonical(record)) > MAX_BYTES or record.keys() != {"definition", "steps"}:
        raise ValueError(f"a pipeline is an object of a definition and steps, of at most {MAX_BYTES} bytes")
    steps, definition = record["steps"], record["definition"]
    if not isinstance(steps, list) or len(steps) > MAX_STEPS or type(definition) is not int:
        raise ValueError(f"a pipeline has a list of at most {MAX_STEPS} steps and a whole number as definition")
    return Pipeline(tuple(_step(each) for each in steps), definition)


def _step(record: object) -> Step:
    if not isinstance(record, dict) or record.keys() != {"name", "parameters"} or not _is_text(record["name"]):
        raise ValueError("a step has a name and parameters")
    if not isinstance(record["parameters"], dict) or not all(map(_is_text, record["parameters"])):
        raise ValueError("parameters are an object with printable names")
    return Step(record["name"], {name: _value(value) for name, value in record["parameters"].items()})


def _is_text(value: object) -> bool:
    """Whether it may be shown on somebody's terminal."""
    return isinstance(value, str) and value.isprintable() and len(value) <= MAX_TEXT


def _value(value: object) -> Value:
    if isinstance(value, list) and all(_is_text(each) for each in value):
        return tuple(value)
    if isinstance(value, list) and all(isinstance(each, (int, float)) and math.isfinite(each) for each in value):
        return tuple(value)
    if value is None or _is_text(value) or (isinstance(value, (bool, int, float)) and math.isfinite(value)):
        single: Value = value  # type: ignore[assignment]
        return single
    raise ValueError(f"a parameter is {type(value).__name__}; text, numbers and lists of them are allowed")


def differences(mine: Pipeline, others: Pipeline) -> list[str]:
    """What `mine` does otherwise than `others`, a line each, in the order of the steps."""
    if mine.definition != others.definition:
        return [f"definition {mine.definition} instead of {others.definition}: another version of fedmed"]
    names = [[step.name for step in each.steps] for each in (mine, others)]
    if names[0] != names[1]:
        return [f"steps {', '.join(names[0]) or 'none'} instead of {', '.join(names[1]) or 'none'}"]
    found = []
    for own, other in zip(mine.steps, others.steps, strict=True):
        for name in sorted({*own.parameters, *other.parameters}):
            if own.parameters.get(name) != other.parameters.get(name):
                found.append(f"{own.name}.{name} {own.parameters.get(name)} instead of {other.parameters.get(name)}")
    return found
