"""What a scenario key allows, in words, from the JSON Schema of the models: text and check cannot differ."""

from __future__ import annotations

import difflib
import functools
import json
from typing import Any

from fedmed.config.document import Path
from fedmed.config.scenario import Scenario

_KINDS = {"boolean": "true or false", "array": "a list", "object": "a section of keys", "null": "null"}
KEY = "[key]"
"""In a path, as pydantic writes it: not a value but the name that it is under."""


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the scenario file, with the description of every key, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Scenario.model_json_schema()


@functools.cache
def _schema() -> dict[str, Any]:
    return schema()


def node(path: Path) -> dict[str, Any] | None:
    """Schema node of a key; None where the key is unknown or lies inside free options."""
    found: Any = _schema()
    for part in path:
        if isinstance(part, int):
            found = found.get("items")
        else:
            found = _child(_section(found), part)
        if not isinstance(found, dict):
            return None
        found = _resolve(found)
    return found if isinstance(found, dict) else None


def _child(section: dict[str, Any], key: str) -> Any:
    """Node of a key of a section, or of a name in a section whose keys are names; of these names themselves for `KEY`."""
    named = section.get("patternProperties", {})
    if key == KEY:
        return section.get("propertyNames", {"type": "string", "pattern": next(iter(named), "")})
    return section.get("properties", {}).get(key, next(iter(named.values()), section.get("additionalProperties")))


def _resolve(found: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in found:
        target: dict[str, Any] = _schema()["$defs"][found["$ref"].rsplit("/", 1)[1]]
        return target
    return found


def _section(found: dict[str, Any]) -> dict[str, Any]:
    """The section of keys in a node that is a section or null."""
    return next((each for each in map(_resolve, found.get("anyOf", [])) if each.get("type") == "object"), found)


def keys(path: Path) -> list[str]:
    """The keys a section allows."""
    return list(_section(node(path) or {}).get("properties", {}))


def choices(path: Path) -> list[str]:
    """The words a key allows; empty where it is no choice of words."""
    found = node(path) or {}
    return [word for option in found.get("anyOf", [found]) for word in map(str, option.get("enum", []))]


def nearest(word: str, known: list[str]) -> str:
    """` (did you mean X?)` or nothing."""
    close = difflib.get_close_matches(word[:100], known, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def allowed(path: Path) -> str:
    """Type and bounds of a key in words, such as `a whole number from 1 to 1000, or null`."""
    return describe(node(path) or {})


def describe(found: dict[str, Any]) -> str:
    """A schema node in words."""
    if "anyOf" in found:
        return ", or ".join(describe(_resolve(option)) for option in found["anyOf"])
    if "enum" in found:
        return "one of " + ", ".join(map(str, found["enum"]))
    kind = found.get("type", "")
    if kind in ("integer", "number"):
        return ("a whole number" if kind == "integer" else "a number") + _bounds(found)
    if kind == "string":
        return _such_as(found) if "examples" in found else "text" + _text_bounds(found)
    if kind == "object" and "properties" in found:
        return "a section with the keys " + ", ".join(found["properties"])
    if kind == "array" and "items" in found:
        least = f"at least {found['minItems']} of " if "minItems" in found else ""
        return f"a list of {least}{describe(_resolve(found['items']))}"
    return _KINDS.get(kind, "another value")


def _bounds(found: dict[str, Any]) -> str:
    words = {
        "minimum": "at least",
        "exclusiveMinimum": "greater than",
        "maximum": "at most",
        "exclusiveMaximum": "less than",
    }
    parts = [f"{word} {found[bound]}" for bound, word in words.items() if bound in found]
    return " " + " and ".join(parts) if parts else ""


def _such_as(found: dict[str, Any]) -> str:
    """Text of a form that an example shows better than a pattern does."""
    return f"{found['$comment']}, such as {found['examples'][0]}"


def _text_bounds(found: dict[str, Any]) -> str:
    if "pattern" in found:
        return f" like {found['pattern']}"
    low, high = found.get("minLength", 0), found.get("maxLength")
    if high is None:
        return ""
    return f" of {low} to {high} characters" if low else f" of at most {high} characters"


def shown(value: Any) -> str:
    """A value found, short enough for a message, with its kind where the text alone could mislead."""
    if isinstance(value, dict):
        return "a section of keys"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
