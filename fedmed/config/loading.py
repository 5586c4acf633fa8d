"""Reads a scenario file and reports every fault at once: place, key, value found, values allowed."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from fedmed.config.allowed import KEY, allowed, choices, keys, nearest, shown
from fedmed.config.attackers import attacker_faults
from fedmed.config.buffer_faults import buffer_faults
from fedmed.config.document import MAX_BYTES, Document, Fault, Path, read_document
from fedmed.config.overrides import apply_overrides
from fedmed.config.scenario import Scenario
from fedmed.config.topology_faults import faults_in
from fedmed.config.written import BetweenKeys, Written
from fedmed.errors import ConfigError

_MOST_FAULTS = 200


def load(path: FilePath, overrides: Sequence[str] = (), machines: Collection[str] | None = None) -> Scenario:
    """Read the scenario file `path` (UTF-8 YAML, at most 256 KiB), with `--set` overrides.

    `machines` are the names of the built-in profiles that a topology's machines may be; where they are not given, no
    machine's name is looked up.

    Raises ConfigError, which lists every fault of the file and of the overrides.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 4)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}; give a scenario file (YAML)") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if len(content) <= MAX_BYTES:
            line = content.count(b"\n", 0, error.start) + 1
            raise ConfigError(f"{path}:{line}: not UTF-8 text: byte 0x{content[error.start]:02x}") from error
        text = content.decode("utf-8-sig", "replace")  # cut within a character: refused for its size below
    return parse(text, str(path), overrides, machines)


def parse(text: str, source: str, overrides: Sequence[str] = (), machines: Collection[str] | None = None) -> Scenario:
    """As `load`, from text; `source` is the name that faults are reported under."""
    document = read_document(text, source)
    if document.value is None and not document.faults and not overrides:
        document.faults.append(Fault(f"{source}:1", (), f"got nothing, allowed: {allowed(())}"))
    if document.value is not None or not document.faults:
        apply_overrides(document, overrides)
    faults = list(document.faults)
    scenario = _validate(document, faults, machines) if document.value is not None else None
    if scenario is None or faults:
        raise ConfigError(_report(faults))
    return scenario


def _validate(document: Document, faults: list[Fault], machines: Collection[str] | None) -> Scenario | None:
    """The scenario, or None with a fault added for each thing that pydantic finds; one, too, for each thing between keys.

    Validated as JSON: there, strict mode takes whole numbers for floats and lists for tuples, which is all YAML has.
    """
    scenario, found = None, []
    try:
        scenario = Scenario.model_validate_json(json.dumps(document.value))
    except ValidationError as error:
        found = [
            (_path(each), _explain(_path(each), dict(each))) for each in error.errors(include_url=False) if _counts(each)
        ]
    known = [fault.path for fault in faults if fault.path]
    whole = document.value
    between = (*faults_in(whole, machines), *buffer_faults(whole), *attacker_faults(Written(whole)))
    for path, text in (*found, *between):
        if not any(path[: len(fault)] == fault for fault in known):
            faults.append(Fault(document.place(path), path, text))
    if scenario is None and not faults:  # a fault that was read as null and is nothing else
        faults.append(Fault(document.place(()), (), "cannot be read"))
    return scenario


def _path(found: ErrorDetails) -> Path:
    path = tuple(found["loc"])
    return path[:-1] if path[-1:] == (KEY,) else path


def _counts(found: ErrorDetails) -> bool:
    """Whether it is to be told: not what is between keys, which has no line here and is found again with one; nor that a
    list is too short where pydantic counts only those of its items that have no fault."""
    context = found.get("ctx", {})
    if found["type"] == "too_short":
        return len(found["input"]) < int(context["min_length"])
    return not isinstance(context.get("error"), BetweenKeys)


def _explain(path: Path, found: dict[str, Any]) -> str:
    kind = found["type"]
    if kind == "missing":
        return f"missing, allowed: {allowed(path)}"
    if kind == "extra_forbidden":
        known = keys(path[:-1])
        return f"unknown key{nearest(str(path[-1]), known)}, allowed here: {', '.join(known)}"
    if kind == "value_error":
        return str(found["ctx"]["error"])
    if found["loc"][-1:] == (KEY,):
        return f"got the name {shown(found['input'])}, allowed: {allowed((*path[:-1], KEY))}"
    text = f"got {shown(found['input'])}, allowed: {allowed(path)}"
    if kind == "literal_error" and isinstance(found["input"], str):
        return text + nearest(found["input"], choices(path))
    return text


def _report(faults: list[Fault]) -> str:
    lines = list(dict.fromkeys(str(fault) for fault in sorted(faults, key=_by_place)))
    rest = len(lines) - _MOST_FAULTS
    more = [f"... and {rest} more"] if rest > 0 else []
    head = "the scenario has 1 fault:" if len(lines) == 1 else f"the scenario has {len(lines)} faults:"
    return "\n  ".join([head, *lines[:_MOST_FAULTS], *more])


def _by_place(fault: Fault) -> tuple[bool, int]:
    """Lines of the file first, in order, then the overrides in theirs."""
    override = fault.place.startswith("--")
    number = fault.place.rpartition(" " if override else ":")[2]
    return override, int(number) if number.isdigit() else 0
