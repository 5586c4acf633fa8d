"""Coded concepts of results (PS3.16), and fedmed's own coding scheme for classes that nobody has a code for."""

from __future__ import annotations

import hashlib
from typing import Any

from fedmed.dicom.results.finding import LONG_STRING, Finding

SCHEME = "99FEDMED"
"""Private coding schemes begin with 99 (PS3.3 section 8.2)."""
SCHEME_UID = "2.25.228367155418938215413098466133294526261"
MAKER = "fedmed"
NOT_FOR_DIAGNOSIS = "Research use only, not for diagnosis"


def code(value: str, scheme: str, meaning: str) -> Any:
    """One triple of code value, designator and meaning (PS3.3 section 8.8)."""
    from highdicom.sr import CodedConcept

    return CodedConcept(value, scheme, meaning)


def class_concept(name: str, finding: Finding) -> Any:
    """The code of a class; our own is a digest of its name, so that one name has one code in all models."""
    concept = finding.concepts.get(name)
    if concept is not None:
        return code(concept.value, concept.scheme, concept.meaning)
    return code(f"C{hashlib.sha256(name.encode()).hexdigest()[:15].upper()}", SCHEME, name)


def scheme_items() -> list[Any]:
    """Coding Scheme Identification Sequence (PS3.3 C.12.1.1.13): what a stranger needs to tell our codes from others'."""
    from highdicom.coding_schemes import CodingSchemeIdentificationItem

    return [
        CodingSchemeIdentificationItem(
            SCHEME, name="Classes of models run by fedmed", uid=SCHEME_UID, responsible_organization=MAKER
        )
    ]


def acquisition_concept(modality: str) -> Any:
    """CID 29 Acquisition Modality; None for a modality that is not in it."""
    from pydicom.sr.codedict import codes

    found = {concept.value: concept for concept in (getattr(codes.cid29, name) for name in codes.cid29.dir())}
    return found.get(modality)


def description(finding: Finding) -> str:
    """Series Description: what a reader sees in the list of a study."""
    use = " (research, not for diagnosis)" if finding.is_research else ""
    return f"AI: {finding.model[: LONG_STRING - len(use) - 4]}{use}"
