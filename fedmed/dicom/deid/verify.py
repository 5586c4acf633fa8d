"""Looks for what identified the original in the bytes of its copy, whatever the code that made the copy thinks of it.

Which values are looked for is told by the same table and the same list of known people as de-identification uses: a name
that neither knows, in a text that was thought harmless, is not found.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.uid import UID_dictionary

from fedmed.dicom.deid.actions import TEXTS
from fedmed.dicom.deid.known import MIN_PART
from fedmed.dicom.deid.subject import known_of
from fedmed.dicom.deid.table import row_of
from fedmed.dicom.deid.values import items_of, known_tag, text_of, vr_of
from fedmed.dicom.deid.vocabulary import known_word, protocol_word
from fedmed.dicom.limits import Limits

ENCODINGS = (
    "utf-8",
    "gb18030",
    "latin-1",
    "iso8859-2",
    "iso8859-5",
    "iso8859-7",
    "shift_jis",
    "euc_kr",
    "utf-16-le",
    "utf-16-be",
)
IN_PIXELS = 6
"""Bytes of the shortest value that is looked for among pixels; shorter ones are found in noise."""
SHORT_NUMBER = 6
"""Digits of the shortest number that is looked for; shorter ones are in every header."""
_PIECES = re.compile(r"[^\W_]+")
_DAY = re.compile(r"\d{8}")
_WORD = re.compile(rb"[0-9a-z]")
# What an image is drawn, measured and compared by: gone or changed, the copy is of no use.
CORE = re.compile(
    "Rows|Columns|BitsAllocated|BitsStored|HighBit|PixelRepresentation|NumberOfFrames|PixelSpacing|SliceThickness|"
    "ImageOrientationPatient|ImagePositionPatient|SpacingBetweenSlices|RescaleSlope|RescaleIntercept|RescaleType|"
    "WindowCenter|WindowWidth|Modality|KVP|EchoTime|RepetitionTime|FlipAngle|MagneticFieldStrength|InstanceNumber|"
    "ImageType|PatientPosition|SOPClassUID"
)


@dataclass(frozen=True)
class Check:
    """What was found in one copy."""

    leaks: Counter[str] = field(default_factory=Counter)
    """By place and kind, as `header: name`; places are preamble, meta, header, private, pixels and after."""
    searched: int = 0
    """How many different values were looked for."""
    gone: Counter[str] = field(default_factory=Counter)
    """Attributes that the profile keeps and the copy has not, by keyword."""
    changed: Counter[str] = field(default_factory=Counter)
    """Attributes of the image itself whose value is another."""


def check(original: Dataset, copy: Path, limits: Limits) -> Check:
    """Searches the copy's raw bytes for every name, identifier, date and UID of the original, in every usual encoding."""
    data = copy.read_bytes()
    again = pydicom.dcmread(copy)
    needles: dict[bytes, str] = {}
    for needle, kind in _needles(original, limits.depth):
        needles.setdefault(needle, kind)
    leaks = Counter[str]()
    bounds = _bounds(again, data)
    lowered = data.lower()
    for needle, kind in needles.items():
        for place in _places(needle, lowered, bounds):
            leaks[f"{place}: {kind}"] += 1
    leaks["private: element"] += sum(1 for tag in list(again.keys()) if tag.is_private)
    if any(data[:128]):
        leaks["preamble: bytes"] += 1
    gone, changed = Counter[str](), Counter[str]()
    _compare(original, again, limits.depth, gone)
    for tag in list(original.keys()):
        if CORE.fullmatch(name := keyword_for_tag(tag)) and tag in again and text_of(original, tag) != text_of(again, tag):
            changed[name] += 1
    return Check(+leaks, len(needles), gone, changed)


def _needles(original: Dataset, depth: int) -> Iterator[tuple[bytes, str]]:
    """Lower-case bytes to look for, and what they are."""
    known = known_of(original, depth)
    for part in known.parts:
        if len(part) < MIN_PART or protocol_word(part) or (part.isdigit() and len(part) < SHORT_NUMBER):
            continue
        for encoding in ENCODINGS:
            yield part.encode(encoding, "ignore").lower(), "name or identifier"
    for name in (*known.names, *known.phrases):
        for encoding in ENCODINGS:
            whole = name.encode(encoding, "ignore").lower()
            if len(whole) >= SHORT_NUMBER and not protocol_word(name):
                yield whole, "name or identifier"
    for text in _removed_texts(original, depth):
        for encoding in ENCODINGS:
            yield text.encode(encoding, "ignore").lower(), "attribute"
    for vr, text in _dates_and_uids(original, depth):
        for value in text.split("\\"):
            value = value.strip(" \0")
            if vr == "UI" and value and value not in UID_dictionary:
                yield value.encode("ascii", "ignore"), "uid"
            elif vr in ("DA", "DT") and (day := _DAY.match(value)):
                yield day[0].encode(), "date"


def _dates_and_uids(dataset: Dataset, depth: int) -> Iterator[tuple[str, str]]:
    """Values of dates, and of UIDs that are no classes, at every depth."""
    for tag in list(dataset.keys()):
        vr = vr_of(dataset, tag)
        if vr == "SQ" and depth and not tag.is_private:
            for item in items_of(dataset, tag) or ():
                yield from _dates_and_uids(item, depth - 1)
        elif vr in ("DA", "DT", "UI") and "ClassUID" not in keyword_for_tag(tag):
            yield vr, text_of(dataset, tag) or ""


def _removed_texts(dataset: Dataset, depth: int) -> Iterator[str]:
    """Values that the profile lets nobody keep, such as a department's or a protocol committee's name, at every depth."""
    for tag in list(dataset.keys()):
        row, vr = row_of(tag), vr_of(dataset, tag)
        if vr == "SQ" and depth and not tag.is_private:
            for item in items_of(dataset, tag) or ():
                yield from _removed_texts(item, depth - 1)
        elif (
            row
            and not tag.is_private
            and not (row.descriptors or row.device or row.dates)
            and vr in TEXTS | {"PN", "AE", "UR"}
        ):
            for value in (text_of(dataset, tag) or "").split("\\"):
                if len(value.strip()) >= IN_PIXELS and not all(known_word(word) for word in _PIECES.findall(value)):
                    yield value.strip()


def _bounds(again: Dataset, data: bytes) -> tuple[int, int, int]:
    """Where the data set begins, where the pixels' value begins, and where it ends."""
    meta = 144 + int(again.file_meta.get("FileMetaInformationGroupLength", 0))
    if 0x7FE00010 not in again:
        return meta, len(data), len(data)
    item = again.get_item(0x7FE00010)
    start = int(getattr(item, "value_tell", None) or getattr(item, "file_tell", None) or len(data))
    return meta, start, start + len(item.value or b"")


def _places(needle: bytes, data: bytes, bounds: tuple[int, int, int]) -> Iterator[str]:
    if len(needle) < MIN_PART:
        return
    meta, pixels, after = bounds
    at = data.find(needle)
    while at >= 0:
        end = at + len(needle)
        inside_word = (_WORD.match(needle) and at and _WORD.match(data, at - 1)) or (
            _WORD.match(needle[-1:]) and _WORD.match(data, end)
        )
        among_pixels = pixels <= at < after
        if not inside_word and not (among_pixels and len(needle.replace(b"\0", b"")) < IN_PIXELS):
            yield (
                "preamble"
                if at < 128
                else "meta"
                if at < meta
                else "header"
                if at < pixels
                else "pixels"
                if at < after
                else "after"
            )
        at = data.find(needle, end)


def _compare(original: Dataset, again: Dataset, depth: int, gone: Counter[str]) -> None:
    """Counts attributes that no row of the table names, that hold a value, and that the copy has not."""
    for tag in list(original.keys()):
        if tag.is_private or tag.element == 0 or tag.group < 8 or tag.group >> 8 in (0x50, 0x60) or not known_tag(tag):
            continue
        vr = vr_of(original, tag)
        if (
            row_of(tag) is None
            and vr not in ("PN", "AE", "UR", "UN", "OB")
            and tag not in again
            and _has_value(original, tag)
        ):
            gone[keyword_for_tag(tag)] += 1
        elif vr == "SQ" and depth and tag in again:
            for before, after in zip(items_of(original, tag) or (), items_of(again, tag) or (), strict=False):
                _compare(before, after, depth - 1, gone)


def _has_value(dataset: Dataset, tag: int) -> bool:
    item = dataset.get_item(tag, keep_deferred=True)
    return bool(item.value)
