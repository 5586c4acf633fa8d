"""What identifies somebody in an object, collected from its own header, and found again in texts however it is written."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

MIN_PART = 3
"""Letters of a name's part that is searched on its own; initials and particles are not."""
MIN_ID = 4
"""Characters of an identifier that is searched inside texts; `1` would be found everywhere."""
_SPLIT = re.compile(r"[\s^=,;.&/\\_()]+")
_HAN = re.compile(r"[\u3400-\u9fff\uac00-\ud7af\u3040-\u30ff]")
_PARTICLES = re.compile("von|van|der|den|del|las|los|the|and|for|jr|sr|iii|dr|prof|mr|mrs|ms|md|phd|rn")


def fold(text: str) -> tuple[str, list[int]]:
    """Text without case and accents, and for each of its characters the index that it had."""
    if text.isascii():
        return text.lower(), list(range(len(text)))
    out, places = [], []
    for place, character in enumerate(text):
        for piece in unicodedata.normalize("NFKD", character).casefold():
            if not unicodedata.combining(piece):
                out.append(piece)
                places.append(place)
    return "".join(out), places


def name_parts(name: str) -> list[str]:
    """The parts of a person's name (PS3.5 6.2.1) that say who it is, folded; of a Chinese name also the whole."""
    parts: list[str] = []
    for group in name.split("="):
        pieces = [fold(piece)[0] for piece in _SPLIT.split(group) if piece]
        if pieces and all(_HAN.search(piece) for piece in pieces):
            parts.append("".join(pieces))
        elif len(pieces) > 1 and not all(_telling(piece) for piece in pieces[:2]):
            parts += [f"{pieces[0]} {pieces[1]}", f"{pieces[1]} {pieces[0]}"]  # `Wu, Li`: too short apart
        parts.extend(piece for piece in pieces if _telling(piece))
    return list(dict.fromkeys(parts))


def _telling(part: str) -> bool:
    if _HAN.search(part):
        return len(part) >= 2
    return len(part) >= MIN_PART and not _PARTICLES.fullmatch(part) and not part.isdigit()


@dataclass(frozen=True)
class Known:
    """Names, identifiers and phrases of one object, and where they occur in a text."""

    names: tuple[str, ...] = ()
    """Persons' names as the header writes them."""
    identifiers: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    """Institutions, addresses, phone numbers: searched as a whole."""

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """Folded, longest first; a name's parts, whole identifiers, whole phrases."""
        found = [part for name in self.names for part in name_parts(name)]
        found += [fold(one.strip())[0] for one in self.identifiers if len(one.strip()) >= MIN_ID]
        found += [fold(one.strip())[0] for one in self.phrases if len(one.strip()) >= MIN_ID]
        return tuple(sorted(set(found), key=lambda part: (-len(part), part)))

    @cached_property
    def pattern(self) -> re.Pattern[str] | None:
        """Finds any of the parts in a folded text."""
        if not self.parts:
            return None
        return re.compile("|".join(_bounded(part) for part in self.parts))

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Where in `text` something known stands, as first and last-but-one index."""
        if self.pattern is None:
            return
        folded, places = fold(text)
        for found in self.pattern.finditer(folded):
            yield places[found.start()], places[found.end() - 1] + 1

    def occurs(self, text: str) -> bool:
        """Whether anything known stands in `text`."""
        return self.pattern is not None and self.pattern.search(fold(text)[0]) is not None


def _bounded(part: str) -> str:
    """Whole words only, so that the name `Ann` is not found in `annual`; Chinese is written without gaps."""
    gap = r"[\s^,._-]"
    if _HAN.search(part):
        escaped = f"{gap}*".join(re.escape(character) for character in part)
    else:
        escaped = f"{gap}+".join(re.escape(word) for word in part.split())
    before = r"(?<![^\W_])" if part[0].isalnum() and not _HAN.match(part[0]) else ""
    after = r"(?![^\W_])" if part[-1].isalnum() and not _HAN.match(part[-1]) else ""
    return f"{before}{escaped}{after}"


def merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans in order, those that touch made one."""
    out: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if out and first <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], last))
        else:
            out.append((first, last))
    return out
