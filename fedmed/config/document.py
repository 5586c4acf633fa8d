"""YAML text into plain values that remember where each was written.

Works on the parser's events, not on PyYAML's object graph, so that nothing is ever expanded or constructed: aliases
(the billion-laughs attack), tags and duplicate keys are faults with a line. Plain scalars follow the YAML 1.2 core
schema, as editors do: `1e-3` is a number and `no` is a word; YAML 1.1, PyYAML's own, has both the other way round.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

MAX_BYTES = 256 * 1024
MAX_DEPTH = 20
MAX_DIGITS = 40

Path = tuple["str | int", ...]

_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong, the place it was written at and the key it belongs to."""

    place: str
    """`file:line`, or `--set N`."""
    path: Path
    text: str

    def __str__(self) -> str:
        key = dotted(self.path)
        return f"{self.place}: {key}: {self.text}" if key else f"{self.place}: {self.text}"


@dataclass
class Document:
    """Values, the place of each, and the faults met on the way."""

    value: Any = None
    places: dict[Path, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def place(self, path: Path) -> str:
        """Where `path`, or the nearest section around it, was written."""
        while path not in self.places and path:
            path = path[:-1]
        return self.places.get(path, "")


def dotted(path: Path) -> str:
    """`("training", "epochs")` as `training.epochs`; list items by index."""
    return ".".join(str(part) for part in path)


def read_document(text: str, source: str) -> Document:
    """Parse one YAML document of at most 256 KiB; never raises: faults are collected."""
    document = Document(places={(): f"{source}:1"})
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        fault = f"got more than {MAX_BYTES // 1024} KiB of text, allowed: a scenario of at most that size"
        document.faults.append(Fault(f"{source}:1", (), fault))
        return document
    try:
        _Builder(document, source, yaml.parse(text, Loader=yaml.SafeLoader)).run()
    except _Unreadable as error:
        document.faults.append(Fault(error.place, (), error.text))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{source}:{mark.line + 1}" if mark else source
        document.faults.append(Fault(place, (), f"not valid YAML: {error.problem or error.context}"))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        document.faults.append(Fault(f"{source}:{line}", (), f"not text: {error.reason}"))
    except (ValueError, OverflowError) as error:
        # PyYAML turns escapes such as "\U00110000" into characters, and huge version numbers into ints, unchecked.
        document.faults.append(Fault(source, (), f"not valid YAML: {error}"))
    return document


class _Unreadable(Exception):
    """The rest of the text cannot be made sense of."""

    def __init__(self, place: str, text: str) -> None:
        super().__init__(text)
        self.place = place
        self.text = text


class _Builder:
    """Walks the events of one document; recursion is bounded by MAX_DEPTH."""

    def __init__(self, document: Document, source: str, events: Iterator[yaml.Event]) -> None:
        self._document = document
        self._source = source
        self._events = events

    def run(self) -> None:
        event = self._content()
        if isinstance(event, yaml.StreamEndEvent):
            return
        self._document.value = self._node(event, ())
        event = self._content()
        if not isinstance(event, yaml.StreamEndEvent):
            self._fault(event, (), "got a second document (after `---`), allowed: one per file")

    def _content(self) -> yaml.Event:
        """The next event that is not the mere start or end of a document."""
        skipped = (yaml.StreamStartEvent, yaml.DocumentStartEvent, yaml.DocumentEndEvent)
        return next(event for event in self._events if not isinstance(event, skipped))

    def _place(self, event: yaml.Event) -> str:
        return f"{self._source}:{event.start_mark.line + 1 if event.start_mark else 1}"

    def _fault(self, event: yaml.Event, path: Path, text: str) -> None:
        self._document.faults.append(Fault(self._place(event), path, text))

    def _node(self, event: yaml.Event, path: Path) -> Any:
        self._document.places.setdefault(path, self._place(event))
        if len(path) > MAX_DEPTH:
            raise _Unreadable(self._place(event), f"nested deeper than {MAX_DEPTH} keys")
        if isinstance(event, yaml.AliasEvent):
            self._fault(event, path, f"got the alias *{event.anchor}; write the value out")
            return None
        if tag := getattr(event, "tag", None):
            self._fault(event, path, f"got the tag {tag}; write the value without it")
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, path)
        raise _Unreadable(self._place(event), "ends where a value is due")

    def _sequence(self, path: Path) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event, (*path, len(items))))
        return items

    def _mapping(self, path: Path) -> dict[str, Any]:
        items: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise _Unreadable(self._place(event), "got a list or section as a key, allowed: text")
            key = event.value
            inner = (*path, key)
            if not _is_text(key):
                self._fault(event, path, "got a key with half a surrogate pair, allowed: text")
                self._node(next(self._events), inner)
            elif key in items:
                self._fault(event, inner, f"written twice, first at {self._document.places[inner]}; keep one")
                self._node(next(self._events), inner)
            else:
                self._document.places[inner] = self._place(event)
                items[key] = self._node(next(self._events), inner)
        return items

    def _scalar(self, event: yaml.ScalarEvent, path: Path) -> str | int | float | bool | None:
        text = event.value
        if event.style is not None:
            if not _is_text(text):
                self._fault(event, path, "got half a surrogate pair, allowed: text")
                return None
            return str(text)
        if text in _WORDS:
            return _WORDS[text]
        if _NOT_FINITE.fullmatch(text):
            self._fault(event, path, f"got {text}, allowed: finite numbers")
        elif _FLOAT.fullmatch(text):
            return self._number(event, path)
        return str(text)

    def _number(self, event: yaml.ScalarEvent, path: Path) -> int | float | None:
        text = event.value
        if len(text) > MAX_DIGITS:
            self._fault(event, path, f"got a number of {len(text)} characters, allowed: at most {MAX_DIGITS}")
            return None
        number = int(text) if _INTEGER.fullmatch(text) else float(text)
        if not math.isfinite(number):
            self._fault(event, path, f"got {text}, allowed: finite numbers")
            return None
        return number


def _is_text(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
