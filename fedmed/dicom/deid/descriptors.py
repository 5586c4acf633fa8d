"""Texts inside a DICOM header: descriptions that the Clean Descriptors option keeps, and others that the table lets stay."""

from __future__ import annotations

import re
from functools import lru_cache

from fedmed.dicom.deid.free_text import clean
from fedmed.dicom.deid.known import Known
from fedmed.dicom.deid.vocabulary import known_word

PROSE = frozenset({"LT", "ST", "UT"})
_PIECES = re.compile(r"[^\W_]+(?:[.,'’-][^\W_]+)*|[\W_]+")
_INNER = re.compile(r"[.,'’-]")
_GAPS = re.compile(r"\s{2,}")


def nothing(kind: str) -> str:
    """What stands for something taken out of a description: no word, for it may hold sixteen characters."""
    return " "


def clean_description(text: str, known: Known) -> str:
    """A description without names and numbers, and without every word that is not surely one of imaging or medicine.

    Descriptions are short and formulaic, so a word in none of the vocabularies is rather a name than a loss: when in
    doubt it goes (PS3.15 E.3.5 asks for removal of what identifies, and no list of all names exists).
    """
    return "\\".join(_clean_one(value, known) for value in text.split("\\"))


def _clean_one(text: str, known: Known) -> str:
    cleaned = clean(text, known, nothing).text if known.occurs(text) or not _plain(text) else text
    kept = [piece if _harmless(piece) else " " for piece in _PIECES.findall(cleaned)]
    return _GAPS.sub(" ", "".join(kept)).strip(" -_,.;:/^")


def _harmless(piece: str) -> bool:
    if not piece[0].isalnum() or known_word(piece):
        return True
    parts = _INNER.split(piece)
    return len(parts) > 1 and all(known_word(part) for part in parts)


@lru_cache(maxsize=4096)
def _plain(text: str) -> bool:
    """Whether no pattern finds anything; descriptions repeat over a series."""
    return not clean(text, Known()).removed


def clean_kept(text: str, known: Known, patterns: bool) -> str:
    """A text that stays, less what is known of the people, and less what the patterns find where they are asked for."""
    if not patterns:
        return " " if known.occurs(text) else text
    if not known.occurs(text) and _plain(text):
        return text
    return "\\".join(_GAPS.sub(" ", clean(value, known, nothing).text).strip() for value in text.split("\\"))
