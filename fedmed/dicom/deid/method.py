"""What a de-identified object must say of itself (PS3.15 E.1.1, steps 4 and 6; CID 7050)."""

from __future__ import annotations

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID

from fedmed.dicom import implementation
from fedmed.dicom.deid.actions import Policy
from fedmed.dicom.deid.table import EDITION

METHOD = f"fedmed, DICOM PS3.15 {EDITION} Annex E"

BASIC, PIXELS, STRUCTURED, DESCRIPTORS, DATES, DEVICE = "113100", "113101", "113104", "113105", "113107", "113109"
MEANINGS = {
    BASIC: "Basic Application Confidentiality Profile",
    PIXELS: "Clean Pixel Data Option",
    STRUCTURED: "Clean Structured Content Option",
    DESCRIPTORS: "Clean Descriptors Option",
    DATES: "Retain Longitudinal Temporal Information Modified Dates Option",
    DEVICE: "Retain Device Identity Option",
}


def codes_of(policy: Policy, pixels_cleaned: bool) -> tuple[str, ...]:
    """The codes of what was applied, the profile's first."""
    asked = (
        (BASIC, True),
        (PIXELS, pixels_cleaned),
        (STRUCTURED, policy.structured_content),
        (DESCRIPTORS, policy.descriptors),
        (DATES, policy.modified_dates),
        (DEVICE, policy.device),
    )
    return tuple(code for code, applied in asked if applied)


def declare(dataset: Dataset, policy: Policy, codes: tuple[str, ...]) -> None:
    """Writes into `dataset` that, and by which options, identity was removed."""
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = METHOD
    items = []
    for code in codes:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, "DCM", MEANINGS[code]
        items.append(item)
    dataset.DeidentificationMethodCodeSequence = Sequence(items)
    dataset.LongitudinalTemporalInformationModified = "MODIFIED" if policy.modified_dates else "REMOVED"
    if PIXELS in codes:
        dataset.BurnedInAnnotation = "NO"


def file_meta(dataset: Dataset, transfer_syntax: str) -> FileMetaDataset:
    """A File Meta Information of our own (PS3.10 7.1): nothing of the original's is taken over but the encoding."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = UID(transfer_syntax)
    meta.ImplementationClassUID = UID(implementation.IMPLEMENTATION_UID)
    meta.ImplementationVersionName = implementation.IMPLEMENTATION_NAME
    return meta
