"""An object's names before and after, by which labels and references find it again."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset

from fedmed.dicom.deid.values import text_of

TAGS = {"patient": 0x00100020, "study": 0x0020000D, "series": 0x0020000E, "instance": 0x00080018, "accession": 0x00080050}


@dataclass(frozen=True)
class Identity:
    """For each of `patient`, `study`, `series`, `instance`, `accession`: the value before and after."""

    before: dict[str, str]
    after: dict[str, str]


def identity_of(original: Dataset, cleaned: Dataset) -> Identity:
    """The names of one object, empty where it has none."""
    return Identity(_names(original), _names(cleaned))


def _names(dataset: Dataset) -> dict[str, str]:
    return {kind: ((text_of(dataset, tag) or "") if tag in dataset else "").strip(" \0") for kind, tag in TAGS.items()}
