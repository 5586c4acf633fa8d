"""Words that describe an examination and name nobody: what a short description may keep without anyone looking at it."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

import pydicom.datadict

FILE = "protocol_words.txt"
SCHEMES = ("DCM", "SCT", "RADLEX", "FMA", "NEU")
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_WORDS = re.compile(r"[A-Za-z]+")
# Numbers, sizes and sequence shorthand: T2, 5mm, 3.0, 1.5T, b1000, L4, 256x256, 2D, +C, 120kV.
_SHORTHAND = re.compile(
    r"[A-Za-z]{0,3}\d{1,4}(?:[.,]\d{1,4})?(?:[A-Za-z%]{0,3})|\d{1,4}(?:[xX*]\d{1,4}){1,2}(?:mm|cm)?|[A-Z]{1,3}|[a-z]{1,3}|[A-Z][a-z]"
)
_HAN = re.compile(r"[\u3400-\u9fff]+")


@cache
def words() -> frozenset[str]:
    """Lower-case words of the coding schemes that pydicom ships, of DICOM's own attributes, and of scanners' protocols."""
    from pydicom.sr.codedict import codes  # 13 MB, which a process that never de-identifies does without

    found = set(_listed())
    for scheme in SCHEMES:
        for name in getattr(codes, scheme).dir():
            found.update(piece.lower() for piece in _CAMEL.findall(name))
    for entry in pydicom.datadict.DicomDictionary.values():
        found.update(word.lower() for word in _WORDS.findall(entry[2]))
    return frozenset(word for word in found if len(word) > 1)


@cache
def _listed() -> frozenset[str]:
    lines = files(__package__).joinpath(FILE).read_text(encoding="utf-8").splitlines()
    return frozenset(word.lower() for line in lines if not line.startswith("#") for word in line.split())


@cache
def _han() -> re.Pattern[str]:
    terms = sorted((word for word in _listed() if _HAN.fullmatch(word)), key=len, reverse=True)
    return re.compile(f"(?:{'|'.join(terms)})+")


def known_word(token: str) -> bool:
    """Whether a piece of a description, without blanks, is surely no name and no number of a person."""
    if _HAN.search(token):
        return _han().fullmatch(token) is not None
    return token.lower() in words() or _SHORTHAND.fullmatch(token) is not None


def protocol_word(token: str) -> bool:
    """Whether it is one of the words of scanners' protocols, the shortest of the lists."""
    return token.strip().lower() in _listed()
