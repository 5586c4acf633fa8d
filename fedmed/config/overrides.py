"""`--set KEY=VALUE` on the command line: the same keys and values as in the file, and the same faults.

An option that is short for a key is written `--engine engine.name=crowd`, so that its faults are its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fedmed.config.document import Document, Fault, Path, dotted, read_document

SHORT = ("--rounds", "--engine", "--seed")


def apply_overrides(document: Document, overrides: Sequence[str]) -> None:
    """Write each `training.learning_rate=0.1` into the document; faults are collected under `--set N`, or the option.

    Values are YAML: `0.1`, `adam`, `null`, `[a, b]`, `{beta_1: 0.9}`; nothing after the `=` is the empty text. Sections
    that the file leaves out are made; an item of a list is set by its index, or by its name: `topology.clinics.small.count`.
    A later override of the same key wins.
    """
    number = 0
    for override in overrides:
        option = next((each for each in SHORT if override.startswith(f"{each} ")), "")
        written = override[len(option) :]
        number += not option
        place = option or f"--set {number}"
        key, equals, text = written.partition("=")
        path: Path = tuple(key.strip().split("."))
        if not equals or not all(path):
            fault = f"got {written!r}, allowed: KEY=VALUE such as training.learning_rate=0.1"
            document.faults.append(Fault(place, (), fault))
            continue
        part = read_document(text, place) if text.strip() else Document(value="")
        if part.faults:
            document.faults += [Fault(place, (*path, *fault.path), fault.text) for fault in part.faults]
        else:
            _write(document, path, part.value, place)


def _write(document: Document, path: Path, value: Any, place: str) -> None:
    if document.value is None:
        document.value = {}
    section, at = document.value, Path()
    for key in path[:-1]:
        if (found := _place_in(section, key)) is None:
            break
        at = (*at, found)
        if isinstance(section, dict) and found not in section:
            section[found] = {}
            document.places[at] = place
        section = section[found]
    last = _place_in(section, path[-1])
    if len(at) < len(path) - 1 or last is None:
        document.faults.append(Fault(place, path, _nothing_there(section, at, path)))
        return
    section[last] = value
    at = (*at, last)
    for known in [known for known in document.places if known[: len(at)] == at]:
        del document.places[known]
    document.places[at] = place


def _place_in(section: Any, key: str | int) -> str | int | None:
    """The key, or the index in a list of what is numbered or named so; None where there is no such place."""
    if isinstance(section, dict):
        return key
    if not isinstance(section, list):
        return None
    named = (index for index, item in enumerate(section) if isinstance(item, dict) and item.get("name") == key)
    numbered = int(key) if str(key).isascii() and str(key).isdigit() and len(str(key)) < 9 else len(section)
    return next(named, numbered if numbered < len(section) else None)


def _nothing_there(section: Any, at: Path, path: Path) -> str:
    if not isinstance(section, list):
        return f"{dotted(path[: len(at)]) or 'the scenario'} is no section of keys, so that nothing can be set in it"
    names = [str(item["name"]) for item in section if isinstance(item, dict) and "name" in item]
    allowed = [f"0 to {len(section) - 1}"] if section else []
    told = ", ".join([*allowed, *names[:20]]) or "none, for it is empty"
    return f"{dotted(path[: len(at)])} is a list without {path[len(at)]}; allowed: {told}; or set the whole list"
