"""What a result takes over from the image it is about: patient, study and references, read from a stranger's bytes."""

from __future__ import annotations

import io
import re
import struct
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fedmed.dicom import elements, tags
from fedmed.dicom.faults import UNREADABLE
from fedmed.dicom.limits import LIMITS, Limits
from fedmed.dicom.reasons import Reason, Untrusted
from fedmed.dicom.sources import Source, of_bytes
from fedmed.errors import first_line

PATIENT = (
    "PatientName PatientID IssuerOfPatientID IssuerOfPatientIDQualifiersSequence TypeOfPatientID PatientBirthDate"
    " PatientBirthTime PatientBirthDateInAlternativeCalendar PatientAlternativeCalendar PatientSex OtherPatientNames"
    " OtherPatientIDs OtherPatientIDsSequence EthnicGroup PatientComments QualityControlSubject ResponsiblePerson"
    " ResponsiblePersonRole ResponsibleOrganization PatientSpeciesDescription PatientSpeciesCodeSequence"
    " PatientIdentityRemoved DeidentificationMethod DeidentificationMethodCodeSequence"
)
"""PS3.3 table C.7-1."""
TRIAL = (
    "ClinicalTrialSponsorName ClinicalTrialProtocolID ClinicalTrialProtocolName ClinicalTrialSiteID ClinicalTrialSiteName"
    " ClinicalTrialSubjectID ClinicalTrialSubjectReadingID"
)
"""PS3.3 table C.7-2b."""
STUDY = (
    "StudyInstanceUID StudyDate StudyTime ReferringPhysicianName ReferringPhysicianIdentificationSequence StudyID"
    " AccessionNumber IssuerOfAccessionNumberSequence StudyDescription PhysiciansOfRecord NameOfPhysiciansReadingStudy"
    " RequestingService ReferencedStudySequence ProcedureCodeSequence ConsultingPhysicianName"
)
"""PS3.3 table C.7-3."""
VISIT = (
    "AdmittingDiagnosesDescription AdmittingDiagnosesCodeSequence PatientAge PatientSize PatientWeight Occupation"
    " AdditionalPatientHistory AdmissionID IssuerOfAdmissionIDSequence PatientSexNeutered"
)
"""PS3.3 table C.7-4a."""
CARRIED = (*f"{PATIENT} {TRIAL} {STUDY} {VISIT}".split(), "TimezoneOffsetFromUTC")
IDENTITY = ("PatientName", "PatientID", "StudyInstanceUID")
NEEDED = (
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "InstanceNumber",
    "Rows",
    "Columns",
    "NumberOfFrames",
)
MAX_CARRIED_CHARACTERS = 64 * 1024
"""Of all that is taken over: a comment of a gigabyte would go into every result."""
REPLACEMENT = "\ufffd"
"""What a decoder puts where bytes are not of the declared set."""
UID_FORM, MAX_UID = re.compile(r"[0-9]+(\.[0-9]+)*"), 64


@dataclass(frozen=True)
class Origin:
    """The image that a result is about."""

    study: str
    series: str
    sop_class: str
    sop_instance: str
    modality: str
    instance_number: int
    rows: int
    columns: int
    frames: int
    character_set: tuple[str, ...]
    """Specific Character Set; empty where the source declares none, whatever bytes its texts hold."""
    carried: Any
    """Data set of the patient and study modules, its texts decoded."""


def read_origin(source: bytes, limits: Limits = LIMITS) -> Origin:
    """The patient, study and references of the image in `source`, a file of PS3.10.

    Raises Untrusted for what cannot be read, names no patient (neither name nor identifier), lacks a UID, or holds texts
    that its Specific Character Set does not read; NoImage for what is no DICOM.
    """
    dataset = opened(source, limits, [*CARRIED, *NEEDED])
    try:
        return origin_of(dataset)
    except UNREADABLE as error:
        raise Untrusted(Reason.UNREADABLE, f"{type(error).__name__} while its header was read.") from error


def without_pixels(source: Source, limits: Limits = LIMITS) -> bytes:
    """A file up to its pixels: all that a result takes over of an image. One that is deflated stays whole.

    Raises Untrusted, NoImage as `elements.skim`.
    """
    pixels = elements.skim(source, {tags.SOP_INSTANCE: "UI"}, limits).pixels
    if pixels is None or pixels.source is not source:
        return source.head(source.size)
    before, tag = source.head(pixels.offset), pixels.tag
    starts = tuple(struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF) for order in "<>")
    return next((before[:-length] for length in (8, 12) if before[-length:].startswith(starts)), before)


def check_one_study(origins: Sequence[Origin]) -> None:
    """Raise Untrusted unless the images are different ones of one patient's one study: a result is in one patient's file."""
    for what, values in (
        ("patient identifiers", {str(each.carried.get("PatientID", "")) for each in origins}),
        ("studies", {each.study for each in origins}),
    ):
        if len(values) > 1:
            raise Untrusted(Reason.MIXED_PATIENTS, f"{len(values)} {what} in {len(origins)} images; a result is about one.")
    if len({each.sop_instance for each in origins}) < len(origins):
        raise Untrusted(Reason.DUPLICATE_INSTANCE, f"{len(origins)} images were given; each may stand once.")


def opened(source: bytes, limits: Limits, keywords: list[str] | None = None) -> Any:
    """The header as pydicom reads it, once our own reader has come to its pixels within the limits."""
    import pydicom

    elements.skim(of_bytes("source", source), {tags.SOP_INSTANCE: "UI"}, limits)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # it remarks on what is checked below
            return pydicom.dcmread(io.BytesIO(source), stop_before_pixels=True, specific_tags=keywords)
    except UNREADABLE as error:
        raise Untrusted(Reason.UNREADABLE, first_line(error)) from error


def origin_of(dataset: Any) -> Origin:
    """See `read_origin`; the data set's texts are decoded on the way."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        character_set = _character_set(dataset)
        carried = _carried(dataset)
        if not (str(carried.get("PatientID", "")).strip() or str(carried.get("PatientName", "")).strip("^= ")):
            raise Untrusted(Reason.NO_PATIENT, "(0010,0010) and (0010,0020) are absent or empty.")
        rows, columns = _positive(dataset, "Rows"), _positive(dataset, "Columns")
        if rows is None or columns is None:
            raise Untrusted(Reason.BAD_ATTRIBUTE, "It has no Rows or no Columns: results are told of images.")
        return Origin(
            study=_uid(dataset, "StudyInstanceUID"),
            series=_uid(dataset, "SeriesInstanceUID"),
            sop_class=_uid(dataset, "SOPClassUID"),
            sop_instance=_uid(dataset, "SOPInstanceUID"),
            modality=str(dataset.get("Modality", "") or ""),
            instance_number=_positive(dataset, "InstanceNumber") or 1,
            rows=rows,
            columns=columns,
            frames=_positive(dataset, "NumberOfFrames") or 1,
            character_set=character_set,
            carried=carried,
        )


def _character_set(dataset: Any) -> tuple[str, ...]:
    from pydicom.charset import python_encoding

    value = dataset.get("SpecificCharacterSet") or ()
    names = (value,) if isinstance(value, str) else tuple(str(name) for name in value)
    names = tuple(name.strip() for name in names)
    if strange := [name for name in names if name not in python_encoding]:
        raise Untrusted(
            Reason.BAD_TEXT, f"Its Specific Character Set is {strange[0][:20]!r}, which is not in PS3.3 C.12.1.1.2."
        )
    return names if any(names) else ()


def _carried(dataset: Any) -> Any:
    from pydicom.datadict import tag_for_keyword
    from pydicom.dataset import Dataset

    found = Dataset()
    if "SpecificCharacterSet" in dataset:
        found.SpecificCharacterSet = dataset.SpecificCharacterSet
    for keyword in CARRIED:
        tag = tag_for_keyword(keyword)
        if tag not in dataset:
            continue
        try:
            found[tag] = dataset[tag]
        except UNREADABLE as error:
            if keyword in IDENTITY:
                raise Untrusted(Reason.BAD_ATTRIBUTE, f"Its {keyword} cannot be read.") from error
    found.decode()
    texts = [(each.keyword, str(each.value)) for each in found.iterall() if each.VR != "SQ"]
    if (size := sum(len(text) for _, text in texts)) > MAX_CARRIED_CHARACTERS:
        raise Untrusted(
            Reason.TOO_LARGE, f"Patient and study have {size} characters; {MAX_CARRIED_CHARACTERS} are taken over."
        )
    if bad := [keyword for keyword, text in texts if REPLACEMENT in text]:
        raise Untrusted(Reason.BAD_TEXT, f"Its {bad[0]} is not written in the Specific Character Set that it declares.")
    return found


def _uid(dataset: Any, keyword: str) -> str:
    value = str(dataset.get(keyword, "") or "").strip()
    if len(value) > MAX_UID or not UID_FORM.fullmatch(value):
        state = "is absent or empty" if not value else f"has {len(value)} characters and is no UID"
        raise Untrusted(Reason.NO_IDENTITY, f"{keyword} {state} (PS3.5 section 9.1).")
    return value


def _positive(dataset: Any, keyword: str) -> int | None:
    """A whole number above 0; None for anything else, which none of these attributes needs to be."""
    try:
        value = int(dataset.get(keyword, 0) or 0)
    except UNREADABLE:
        return None
    return value if 0 < value < 2**31 else None
