"""`--set KEY=VALUE` on the command line: the same keys and values as in the file, and the same faults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fedmed.config.document import Document, Fault, Path, dotted, read_document


def apply_overrides(document: Document, overrides: Sequence[str]) -> None:
    """Write each `training.learning_rate=0.1` into the document; faults are collected under `--set N`.

    Values are YAML: `0.1`, `adam`, `null`, `[a, b]`, `{beta_1: 0.9}`; nothing after the `=` is the empty text. Sections
    that the file leaves out are made; a later override of the same key wins.
    """
    for number, override in enumerate(overrides, 1):
        place = f"--set {number}"
        key, equals, text = override.partition("=")
        path: Path = tuple(key.strip().split("."))
        if not equals or not all(path):
            fault = f"got {override!r}, allowed: KEY=VALUE such as training.learning_rate=0.1"
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
    section = document.value
    for depth, key in enumerate(path[:-1], 1):
        if not isinstance(section, dict):
            break
        if key not in section:
            section[key] = {}
            document.places[path[:depth]] = place
        section = section[key]
    if not isinstance(section, dict):
        around = dotted(path[:-1]) or "the scenario"
        document.faults.append(Fault(place, path, f"{around} is no section of keys, so that nothing can be set in it"))
        return
    section[path[-1]] = value
    below = [known for known in document.places if known[: len(path)] == path]
    for known in below:
        del document.places[known]
    document.places[path] = place
