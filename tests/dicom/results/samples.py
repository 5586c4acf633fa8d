"""Findings and the images that they are about, for the tests of results."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from fedmed.dicom.results.finding import Concept, Finding
from fedmed.dicom.synthetic.ct_phantom import Protocol, synthesise
from tests.dicom.files import dataset, encoded

CLASSES = ("pneumonia", "clear")
PNEUMONIA = Concept("233604007", "SCT", "Pneumonia")
FINDING = Finding(
    model="chest",
    version="1.2.0",
    digest="ab" * 32,
    pipeline="cd" * 32,
    device="box-7",
    precision="int8",
    unix=1_800_000_000.5,
    classes=CLASSES,
    probabilities=(0.9312, 0.0688),
    concepts={"pneumonia": PNEUMONIA},
)
SMALL = Protocol(slices=4, rows=12, columns=10, gap_mm=5.0, spacing_mm=(3.6, 3.2))


def found(**changes: Any) -> Finding:
    return replace(FINDING, **changes)


def masked(mask: np.ndarray, classes: tuple[str, ...] = ("liver", "tumour"), **changes: Any) -> Finding:
    return found(**({"mask": mask, "classes": classes, "probabilities": None, "concepts": {}} | changes))


def image(**attributes: Any) -> Dataset:
    """A flat image of a patient, 6 x 5 pixels."""
    named = {
        "PatientID": "P1",
        "PatientName": "Doe^Jane",
        "PatientBirthDate": "19700102",
        "PatientSex": "F",
        "StudyDate": "20260102",
        "StudyTime": "030405",
        "AccessionNumber": "A17",
        "StudyID": "S3",
        "ReferringPhysicianName": "Who^Dr",
        "StudyDescription": "Thorax",
        "InstanceNumber": 12,
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1",
        "Modality": "CR",
        "PatientOrientation": ["L", "F"],
    }
    made = dataset(np.zeros((6, 5), "<u2"), 12)
    for keyword, value in (named | attributes).items():
        if value is None:
            made.pop(keyword, None)
        else:
            setattr(made, keyword, value)
    return made


def source(**attributes: Any) -> bytes:
    """The file of `image`; an attribute of None is left out."""
    return encoded(image(**attributes))


def series(protocol: Protocol = SMALL, name: str = "ct") -> list[bytes]:
    """The files of a small CT series in space."""
    return [encoded(one) for one in synthesise(7, name, protocol).slices]


def reread(content: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(content))


def items(made: Dataset, *path: str) -> list[Dataset]:
    """Content items (PS3.3 C.17.3) below the root whose concept names, from the top down, mean `path`."""
    level = [made]
    for meaning in path:
        level = [
            item
            for each in level
            for item in each.get("ContentSequence", [])
            if item.ConceptNameCodeSequence[0].CodeMeaning == meaning
        ]
    return level


def group_texts(group: Dataset) -> dict[str, list[Any]]:
    """What the items of a measurement group say, by concept."""
    texts: dict[str, list[Any]] = {}
    for item in group.ContentSequence:
        name = item.ConceptNameCodeSequence[0].CodeMeaning
        if item.ValueType == "TEXT":
            value: Any = item.TextValue
        elif item.ValueType == "NUM":
            value = float(item.MeasuredValueSequence[0].NumericValue)
        elif item.ValueType == "CODE":
            value = item.ConceptCodeSequence[0].CodeMeaning
        elif item.ValueType == "UIDREF":
            value = item.UID
        else:
            value = item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        texts.setdefault(name, []).append(value)
    return texts
