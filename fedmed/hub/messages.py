"""What travels between a device and its hub: a head in canonical JSON and a body of bytes, both capped.

    0  4  "fmh1"      4  4  bytes of the head, big-endian      8  the head      then the body

A request's head always names the `device` and its `version`. Nothing here trusts the other side: every field is looked at
before it is used, and a head is refused that is not written as `wire.canonical` writes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fedmed.errors import ProtocolRefused
from fedmed.wire.canonical import canonical
from fedmed.wire.visible import visible

MAGIC, PREFIX = b"fmh1", 8
MOST_HEAD, MOST_BODY = 256 << 10, 1 << 20
"""Bytes of each."""
MOST_MESSAGE = PREFIX + MOST_HEAD + MOST_BODY
MOST_PARTS = 512
"""Objects that one message speaks of."""
MOST_OBJECT = 1 << 31
"""Bytes of one object."""
MOST_FACTS = 16 << 10
"""Bytes of the facts of one object, or of a heartbeat, as canonical JSON."""
DIGEST, KIND = re.compile(r"[0-9a-f]{64}"), re.compile(r"[a-z]{1,16}")
HELD = -1
"""The offset of an object that is there already, whole."""
_MOST_TEXT = 256


@dataclass(frozen=True)
class Message:
    """One request or one answer."""

    head: Mapping[str, Any] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Piece:
    """One object on its way to the hub, named by its content."""

    digest: str
    """SHA-256 of the content, in hexadecimal."""
    kind: str
    """`study`, `update` or another that the hub has a place for."""
    size: int
    """Bytes of the whole."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What is to be known of it, JSON."""

    def record(self) -> dict[str, Any]:
        """For a head."""
        return {"digest": self.digest, "facts": dict(self.facts), "kind": self.kind, "size": self.size}


@dataclass(frozen=True)
class Owed:
    """Something that a device is to have: its configuration, a file of a release, a task."""

    kind: str
    name: str
    """A relative path of letters, digits, '_', '.', '-' and '/'."""
    digest: str
    """SHA-256 of the content, in hexadecimal."""
    size: int

    def record(self) -> dict[str, Any]:
        """For a head."""
        return {"digest": self.digest, "kind": self.kind, "name": self.name, "size": self.size}


def encoded(message: Message) -> bytes:
    """As it travels. Raises ProtocolRefused for what is larger than either cap, or holds no JSON."""
    try:
        head = canonical(dict(message.head))
    except (ValueError, TypeError, RecursionError) as error:
        raise ProtocolRefused(f"a head that is no JSON ({type(error).__name__})") from error
    _check_sizes(len(head), len(message.body))
    return b"".join((MAGIC, len(head).to_bytes(4, "big"), head, message.body))


def decoded(content: bytes) -> Message:
    """The message. Raises ProtocolRefused for what is too large, cut short, or not written as `encoded` writes."""
    if len(content) < PREFIX or content[:4] != MAGIC:
        raise ProtocolRefused(f"a message of {len(content)} bytes that does not begin with {MAGIC.decode()!r}")
    size = int.from_bytes(content[4:PREFIX], "big")
    _check_sizes(size, max(0, len(content) - PREFIX - size))
    head = content[PREFIX : PREFIX + size]
    if len(head) != size:
        raise ProtocolRefused(f"a message whose head of {size} bytes is cut short after {len(head)}")
    try:
        read = json.loads(head)
        is_canonical = isinstance(read, dict) and canonical(read) == head
    except (ValueError, RecursionError) as error:
        raise ProtocolRefused(f"a head that is no JSON ({type(error).__name__})") from error
    if not is_canonical:
        raise ProtocolRefused("a head that is no object in canonical JSON; sorted keys, no spaces, each key once")
    return Message(read, content[PREFIX + size :])


def _check_sizes(head: int, body: int) -> None:
    if head > MOST_HEAD or body > MOST_BODY:
        raise ProtocolRefused(
            f"a message with {head} + {body} bytes; allowed are {MOST_HEAD} of a head, {MOST_BODY} of a body"
        )


def text(head: Mapping[str, Any], key: str, allowed: re.Pattern[str] | None = None, most: int = _MOST_TEXT) -> str:
    """A text of the head, matched whole by `allowed`. Raises ProtocolRefused."""
    found = head.get(key)
    if not isinstance(found, str) or len(found) > most or (allowed is not None and not allowed.fullmatch(found)):
        raise ProtocolRefused(f"{key} is {_told(found)}; it is a text of at most {most} letters{_as(allowed)}")
    return found


def whole(head: Mapping[str, Any], key: str, most: int) -> int:
    """A whole number from 0 to `most`. Raises ProtocolRefused."""
    found = head.get(key)
    if type(found) is not int or not 0 <= found <= most:
        raise ProtocolRefused(f"{key} is {_told(found)}; it is a whole number from 0 to {most}")
    return found


def number(head: Mapping[str, Any], key: str, most: float) -> float:
    """A number from 0 to `most`. Raises ProtocolRefused."""
    found = head.get(key)
    if type(found) not in (int, float) or not 0 <= found <= most:  # type: ignore[operator]
        raise ProtocolRefused(f"{key} is {_told(found)}; it is a number from 0 to {most:g}")
    return float(found)  # type: ignore[arg-type]


def rows(head: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
    """A list of objects, at most `MOST_PARTS`. Raises ProtocolRefused."""
    found = head.get(key)
    if not isinstance(found, list) or len(found) > MOST_PARTS or not all(isinstance(each, dict) for each in found):
        raise ProtocolRefused(f"{key} is {_told(found)}; it is a list of at most {MOST_PARTS} objects")
    return found


def facts(head: Mapping[str, Any], key: str = "facts") -> Mapping[str, Any]:
    """An object of JSON, at most `MOST_FACTS` bytes. Raises ProtocolRefused."""
    found = head.get(key)
    if not isinstance(found, dict) or len(canonical(found)) > MOST_FACTS:
        raise ProtocolRefused(f"{key} are no object, or one of more than {MOST_FACTS} bytes")
    return found


def piece(row: Mapping[str, Any]) -> Piece:
    """What a head says of one object. Raises ProtocolRefused."""
    size = whole(row, "size", MOST_OBJECT)
    return Piece(text(row, "digest", DIGEST), text(row, "kind", KIND), size, facts(row))


def owed(row: Mapping[str, Any]) -> Owed:
    """What a head says of something owed. Raises ProtocolRefused, also for a name that leads out of a folder."""
    name = text(row, "name", NAME)
    if any(part in (".", "..") for part in name.split("/")):
        raise ProtocolRefused(f"name is {_told(name)}; it stays below its folder")
    return Owed(text(row, "kind", KIND), name, text(row, "digest", DIGEST), whole(row, "size", MOST_OBJECT))


NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}(/[A-Za-z0-9_.-]{1,64}){0,3}")
"""Of something owed."""


def _told(found: object) -> str:
    return visible(repr(found))[:80]


def _as(allowed: re.Pattern[str] | None) -> str:
    return "" if allowed is None else f" as {allowed.pattern}"
