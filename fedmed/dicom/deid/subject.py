"""Who an object is about: what identifies people in it, and the one name that all of a patient's objects share."""

from __future__ import annotations

from pydicom.dataset import Dataset

from fedmed.dicom.deid.known import Known
from fedmed.dicom.deid.values import items_of, text_of, vr_of

IDENTIFIERS = frozenset(
    {
        0x00100020,  # Patient ID
        0x00101000,  # Other Patient IDs
        0x00101090,  # Medical Record Locator
        0x00080050,  # Accession Number
        0x00200010,  # Study ID
        0x00380010,  # Admission ID
        0x00401001,  # Requested Procedure ID
        0x00402016,  # Placer Order Number
        0x00402017,  # Filler Order Number
        0x00321033,  # Requesting Service
        0x00120040,  # Clinical Trial Subject ID
    }
)
PHRASES = frozenset(
    {
        0x00080080,  # Institution Name
        0x00080081,  # Institution Address
        0x00081040,  # Institutional Department Name
        0x00080094,  # Referring Physician's Telephone Numbers
        0x00101040,  # Patient's Address
        0x00102154,  # Patient's Telephone Numbers
        0x00100021,  # Issuer of Patient ID
    }
)
MOST = 500
"""Names and identifiers of one object that are searched for; a search for more would take the object's time."""


def known_of(dataset: Dataset, depth: int) -> Known:
    """The names, identifiers and phrases that stand in their own attributes, at every depth down to `depth`."""
    names: list[str] = []
    identifiers: list[str] = []
    phrases: list[str] = []
    _collect(dataset, depth, names, identifiers, phrases)
    return Known(*(tuple(sorted(set(found)))[:MOST] for found in (names, identifiers, phrases)))


def _collect(dataset: Dataset, depth: int, names: list[str], identifiers: list[str], phrases: list[str]) -> None:
    for tag in list(dataset.keys()):
        vr = vr_of(dataset, tag)
        if vr == "SQ" and depth > 0 and not tag.is_private:
            for item in items_of(dataset, tag) or ():
                _collect(item, depth - 1, names, identifiers, phrases)
            continue
        kind = names if vr == "PN" else identifiers if tag in IDENTIFIERS else phrases if tag in PHRASES else None
        if kind is not None and (text := text_of(dataset, tag)):
            kind.extend(value for value in (part.strip() for part in text.split("\\")) if value)


def patient_of(dataset: Dataset) -> str:
    """What stands for the patient under the keys: the Patient ID, else name and birth date, else the study."""
    for tags in ((0x00100020,), (0x00100010, 0x00100030), (0x0020000D,), (0x00080018,)):
        found = [(text_of(dataset, tag) or "").strip(" \0") for tag in tags if tag in dataset]
        if any(found):
            return "\n".join(found)
    return ""
