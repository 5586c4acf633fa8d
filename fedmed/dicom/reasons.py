"""Why a file or series is set aside: a word for machines, a sentence for the person who must decide about it."""

from __future__ import annotations

from enum import Enum

from fedmed.errors import DataError


class Reason(str, Enum):
    """Machine-readable reasons; the value is what `fedmed data scan --json` and the quarantine show."""

    TOO_LARGE = "too-large"
    UNREADABLE = "unreadable"
    NO_TRANSFER_SYNTAX = "no-transfer-syntax"
    UNKNOWN_TRANSFER_SYNTAX = "unknown-transfer-syntax"
    NO_DECODER = "no-decoder"
    BAD_ATTRIBUTE = "bad-attribute"
    TRUNCATED = "truncated"
    DECODE_FAILED = "decode-failed"
    NO_GEOMETRY = "no-geometry"
    MIXED_SHAPE = "mixed-shape"
    MIXED_ORIENTATION = "mixed-orientation"
    MIXED_SPACING = "mixed-spacing"
    MIXED_MEANING = "mixed-meaning"
    MIXED_PATIENTS = "mixed-patients"
    BAD_ORIENTATION = "bad-orientation"
    DUPLICATE_SLICES = "duplicate-slices"
    MISSING_SLICES = "missing-slices"
    IRREGULAR_SPACING = "irregular-spacing"
    SHIFTED_SLICES = "shifted-slices"
    COLOUR = "colour"
    BURNED_IN_TEXT = "burned-in-text"
    DUPLICATE_INSTANCE = "duplicate-instance"
    DOCUMENT = "document"
    MEDIA_DIRECTORY = "media-directory"
    MASK_MISMATCH = "mask-mismatch"
    NO_PATIENT = "no-patient"
    NO_IDENTITY = "no-identity"
    BAD_TEXT = "bad-text"


SENTENCES: dict[Reason, str] = {
    Reason.TOO_LARGE: "It is larger than the limits allow to be opened.",
    Reason.UNREADABLE: "It begins like DICOM but cannot be read to its end.",
    Reason.NO_TRANSFER_SYNTAX: "It does not say how its pixels are encoded, and that is never guessed.",
    Reason.UNKNOWN_TRANSFER_SYNTAX: "Its pixels are encoded in a way that is not in the standard.",
    Reason.NO_DECODER: "No installed decoder reads its compression.",
    Reason.BAD_ATTRIBUTE: "An attribute that decides about its pixels is missing or makes no sense.",
    Reason.TRUNCATED: "Its pixels are shorter than its header says.",
    Reason.DECODE_FAILED: "Its pixels could not be decoded.",
    Reason.NO_GEOMETRY: "It does not say where in the patient its slices lie.",
    Reason.MIXED_SHAPE: "Its slices have different numbers of rows or columns.",
    Reason.MIXED_ORIENTATION: "Its slices do not lie parallel.",
    Reason.MIXED_SPACING: "Its slices have different pixel spacings.",
    Reason.MIXED_MEANING: "Its slices do not show the same quantity, so their values cannot be compared.",
    Reason.MIXED_PATIENTS: "Its slices say that they are of different patients.",
    Reason.BAD_ORIENTATION: "The directions of its rows and columns are no right angle of unit length.",
    Reason.DUPLICATE_SLICES: "Two of its slices lie at the same place.",
    Reason.MISSING_SLICES: "Slices are missing between those that are there.",
    Reason.IRREGULAR_SPACING: "The distances between its slices differ.",
    Reason.SHIFTED_SLICES: "Its slices do not lie on one straight line.",
    Reason.COLOUR: "Its pixels are colours, which measure nothing that slices could share.",
    Reason.MASK_MISMATCH: "Its masks do not lie on the series that they are said to be drawn on.",
    Reason.BURNED_IN_TEXT: "It may show a person's name in its pixels, and says nothing of where.",
    Reason.DUPLICATE_INSTANCE: "Another file has the same SOP Instance UID.",
    Reason.DOCUMENT: "It holds a document whose text nobody has looked through.",
    Reason.NO_PATIENT: "It names no patient, so that a result about it would be nobody's.",
    Reason.NO_IDENTITY: "It lacks a UID, so that nothing can refer to it.",
    Reason.BAD_TEXT: "Its texts cannot be read as it says that they are written.",
    Reason.MEDIA_DIRECTORY: "It is the directory of a disc, no study.",
}

OVERRULABLE = frozenset({Reason.BURNED_IN_TEXT, Reason.IRREGULAR_SPACING, Reason.SHIFTED_SLICES})
"""What a person who has looked may overrule: judgements. What is missing or cannot be decoded stays so whoever looks."""


class Status(str, Enum):
    """How a file ends: its pixels can be had, it is set aside, it has none, it is no DICOM."""

    OK = "ok"
    QUARANTINED = "quarantined"
    NO_PIXELS = "no-pixels"
    NOT_DICOM = "not-dicom"


class NoImage(DataError):
    """Nothing is wrong with a file, it is just no image: DICOM without pixels, or no DICOM."""

    def __init__(self, status: Status, detail: str) -> None:
        """`status` is NO_PIXELS or NOT_DICOM."""
        super().__init__(detail)
        self.status, self.detail = status, detail


class Untrusted(DataError):
    """One file or series cannot be trusted; it is set aside, and everything else goes on."""

    def __init__(self, reason: Reason, detail: str) -> None:
        """`detail` says what was found and what was expected, without a patient's name or identifier."""
        super().__init__(f"{SENTENCES[reason]} {detail}")
        self.reason, self.detail = reason, detail
