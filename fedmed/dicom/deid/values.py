"""Values of data elements, read without trusting them: what cannot be read is None, never an exception."""

from __future__ import annotations

import re
from copy import deepcopy
from math import inf

from pydicom.datadict import dictionary_has_tag, dictionary_VM, dictionary_VR, repeater_has_tag
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filewriter import correct_ambiguous_vr_element
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag
from pydicom.valuerep import VR

from fedmed.dicom.faults import UNREADABLE

REPRESENTATIONS = frozenset(one.value for one in VR)
# Bytes of one value of each binary value representation (PS3.5 table 6.2-1).
WIDTH = {
    "US": 2,
    "SS": 2,
    "OW": 2,
    "UL": 4,
    "SL": 4,
    "FL": 4,
    "AT": 4,
    "OF": 4,
    "OL": 4,
    "FD": 8,
    "OD": 8,
    "OV": 8,
    "SV": 8,
    "UV": 8,
}
# Bytes of the longest text that is looked at, several times what PS3.5 allows: what is longer has swallowed other elements.
LONGEST = {"CS": 2048, "SH": 2048, "LO": 4096, "PN": 4096, "ST": 16_384, "LT": 65_536, "UT": 2**20, "UC": 2**20}
_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?"
# What a value may be made of, padding left off; a text in a number's place is no number, whoever it names.
GRAMMAR = {
    "DS": re.compile(rf"(?: *{_NUMBER} *)?(?:\\ *(?:{_NUMBER})? *)*", re.ASCII),
    "IS": re.compile(r"(?: *[+-]?\d{1,12} *)?(?:\\ *(?:[+-]?\d{1,12})? *)*", re.ASCII),
    "AS": re.compile(r"\d{3}[DWMY]|", re.ASCII),
    "CS": re.compile(r"[A-Za-z0-9 _./+*()&:%#\\-]*"),
    "UI": re.compile(r"[0-9.\\]*"),
}


def known_tag(tag: int) -> bool:
    """Whether PS3.6 lists the attribute."""
    return bool(dictionary_has_tag(tag) or repeater_has_tag(tag))


def vr_of(dataset: Dataset, tag: BaseTag) -> str:
    """The value representation that the file declares, or PS3.6's where it declares none or UN."""
    declared = dataset.get_item(tag, keep_deferred=True).VR
    if (declared is None or declared == "UN") and known_tag(tag):
        return str(dictionary_VR(tag))
    return str(declared or "UN")


def text_of(dataset: Dataset, tag: int) -> str | None:
    """The value as text, several values between backslashes; None for what cannot be decoded or is no text."""
    item = dataset.get_item(tag, keep_deferred=True)
    if isinstance(item, RawDataElement) and (vr := vr_of(dataset, item.tag).split(" ")[0]) not in WIDTH:
        value = item.value or b""
        if len(value) > LONGEST.get(vr, len(value)):
            return None
        if value.isascii() and b"\x1b" not in value:
            return value.decode("ascii").rstrip(" \0")
    element = element_of(dataset, tag)
    if element is None or element.VR == "SQ" or isinstance(element.value, (bytes, bytearray)):
        return None
    value = element.value
    if value is None:
        return ""
    return "\\".join(str(one) for one in value) if isinstance(value, (MultiValue, list)) else str(value)


def element_of(dataset: Dataset, tag: int) -> DataElement | None:
    """The decoded element, or None where its bytes are not what its value representation says."""
    try:
        element: DataElement = dataset[tag]
        return element if element.VR != "SQ" or element.value is not None else None
    except UNREADABLE:
        return None


def items_of(dataset: Dataset, tag: int) -> list[Dataset] | None:
    """The items of a sequence; None where it is none."""
    element = element_of(dataset, tag)
    try:
        return list(element.value) if element is not None and element.VR == "SQ" else None
    except UNREADABLE:
        return None


def settled(dataset: Dataset, tag: int) -> DataElement | None:
    """The decoded element with one value representation, where PS3.6 leaves a choice that other attributes decide."""
    element = element_of(dataset, tag)
    if element is None or " or " not in element.VR:
        return element
    try:
        return correct_ambiguous_vr_element(deepcopy(element), dataset, dataset.original_encoding[1] is not False)
    except UNREADABLE:
        return None


def sound(dataset: Dataset, tag: BaseTag, vr: str) -> bool:
    """Whether a value that is to stay is written as its value representation, and PS3.6's for the attribute, demand."""
    item = dataset.get_item(tag, keep_deferred=True)
    if isinstance(item, RawDataElement) and not item.is_implicit_VR and item.VR not in REPRESENTATIONS:
        return False  # two bytes that name no value representation: everything behind may have slipped into this value
    width = WIDTH.get(vr.split(" ")[0])
    if width is not None:
        size = len(item.value or b"") if isinstance(item, RawDataElement) else 0
        return size % width == 0 and size // width <= _most_values(tag)
    grammars = [GRAMMAR[one] for one in {vr, *_dictionary(tag)} if one in GRAMMAR]
    if not grammars:
        return True
    text = text_of(dataset, tag)
    return text is not None and all(grammar.fullmatch(text.strip(" \0")) for grammar in grammars)


def _most_values(tag: int) -> float:
    """How many values the attribute may have (value multiplicity, PS3.6); a text hidden in numbers has more."""
    multiplicity = str(dictionary_VM(tag)) if known_tag(tag) else "1-n"
    last = multiplicity.split(" or ")[0].split("-")[-1]
    return int(last) if last.isdigit() and not _bulk(tag) else inf


def _bulk(tag: int) -> bool:
    return bool({"OW", "OF", "OD", "OL", "OV"} & set(_dictionary(tag)))


def _dictionary(tag: int) -> list[str]:
    return str(dictionary_VR(tag)).split(" or ") if known_tag(tag) else []
