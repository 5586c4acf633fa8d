"""Takes names, identifiers, dates, phones and addresses out of running text, and counts what may be left."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from fedmed.dicom.deid.known import Known, merged
from fedmed.dicom.deid.patterns import PATTERNS, SUSPECTS

MAX_TEXT = 4 * 1024 * 1024
"""Characters of one text that are searched; patterns take time in proportion."""

_MARKS = re.compile(rf"\[(?:{'|'.join(sorted({kind for kind, _ in PATTERNS}))})\]")


@dataclass(frozen=True)
class Cleaned:
    """A text and what was taken out of it."""

    text: str
    removed: Counter[str]
    """By kind: name, id, national-id, date, phone, email, url, uid, address, postcode, age."""


def mark(kind: str) -> str:
    """What stands in a report where something was taken out."""
    return f"[{kind}]"


def clean(text: str, known: Known, put: Callable[[str], str] = mark) -> Cleaned:
    """`text` without what identifies somebody.

    Names and identifiers that `known` lists go first, whatever their case, accents and order; then all that looks like
    a name with its title, a number of a person, a date, a phone, an address. `put` says what stands for each kind.
    """
    found: list[tuple[int, int, str]] = [(first, last, "name") for first, last in known.spans(text)]
    for kind, pattern in PATTERNS:
        for match in pattern.finditer(text):
            span = match.span("gone") if "gone" in pattern.groupindex else match.span()
            if span[0] < span[1]:
                found.append((*span, kind))
    return _cut(text, found, put)


def _cut(text: str, found: list[tuple[int, int, str]], put: Callable[[str], str]) -> Cleaned:
    """Takes out the union of what was found; each piece is of the kind that was found first in it."""
    pieces, removed, place = [], Counter[str](), 0
    for first, last in merged((first, last) for first, last, _ in found):
        kind = next(kind for begin, end, kind in found if first <= begin and end <= last)
        removed[kind] += 1
        pieces += [text[place:first], put(kind)]
        place = last
    return Cleaned("".join([*pieces, text[place:]]), removed)


def left(text: str, known: Known) -> Counter[str]:
    """What a cleaned text may still hold, by kind: what is known of the person, and what looks suspicious.

    The suspicion is wider than the cleaning, so that a figure of zero means something and any other a look at the text.
    """
    text = _MARKS.sub(" ", text)
    found = Counter[str]({"known": sum(1 for _ in known.spans(text))})
    for kind, pattern in SUSPECTS:
        found[kind] += sum(1 for _ in pattern.finditer(text))
    return +found
