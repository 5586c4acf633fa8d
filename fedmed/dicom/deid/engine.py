"""De-identification of one object: a pure function of the object, the clinic's keys and the policy."""

from __future__ import annotations

import warnings

from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRBigEndian, ImplicitVRLittleEndian, UID_dictionary

from fedmed.dicom.deid.actions import POLICY, Policy
from fedmed.dicom.deid.findings import Findings
from fedmed.dicom.deid.method import codes_of, declare, file_meta
from fedmed.dicom.deid.pixels import clean_pixels
from fedmed.dicom.deid.pseudonyms import Pseudonyms
from fedmed.dicom.deid.subject import known_of, patient_of
from fedmed.dicom.deid.values import text_of
from fedmed.dicom.deid.walk import Walk
from fedmed.dicom.faults import UNREADABLE
from fedmed.dicom.limits import LIMITS, Limits
from fedmed.dicom.reasons import Reason, Untrusted

DIRECTORY, DOCUMENT = 0x00041220, 0x00420011
SOP_CLASS, SOP_INSTANCE = 0x00080016, 0x00080018
TRANSFER_SYNTAX, META_CLASS, META_INSTANCE = 0x00020010, 0x00020002, 0x00020003


def deidentify(
    dataset: Dataset, pseudonyms: Pseudonyms, policy: Policy = POLICY, limits: Limits = LIMITS
) -> tuple[Dataset, Findings]:
    """A new object without what identifies anybody, and what was done (PS3.15 E.1.1 and E.3); `dataset` stays as it is.

    The same object, keys and policy give the same bytes in every process.

    Raises Untrusted for what cannot be made safe: text in the pixels without a word of where, a document inside the object,
    the directory of a disc, no transfer syntax, no SOP class or instance, more or deeper elements than the limits allow.
    """
    with warnings.catch_warnings():
        # pydicom remarks on every odd attribute; what is not sound is removed, and counted.
        warnings.simplefilter("ignore", UserWarning)
        syntax = _transfer_syntax(dataset)
        source = _with_names(dataset)
        _refuse(source)
        encoding = (syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian)
        walk = Walk(pseudonyms, policy, known_of(source, limits.depth), patient_of(source), encoding, limits)
        out = walk.dataset(source)
        _refuse_nameless(out)
        walk.findings.pixels, syntax = _cleaned_pixels(source, out, syntax, limits)
        walk.findings.options = codes_of(policy, walk.findings.pixels == "regions")
        declare(out, policy, walk.findings.options)
        out.file_meta = file_meta(out, syntax)
        out.preamble = bytes(128)
        return out, walk.findings


def _transfer_syntax(dataset: Dataset) -> str:
    meta = getattr(dataset, "file_meta", None)
    syntax = _said(meta, TRANSFER_SYNTAX) if meta is not None else ""
    if not syntax:
        raise Untrusted(Reason.NO_TRANSFER_SYNTAX, "its File Meta Information names none")
    if syntax not in UID_dictionary or not UID(syntax).is_transfer_syntax:
        raise Untrusted(Reason.UNKNOWN_TRANSFER_SYNTAX, "it is not one that can be read here")
    return syntax


def _with_names(dataset: Dataset) -> Dataset:
    """The object, with SOP class and instance from the File Meta Information where only that has them."""
    named = ((SOP_CLASS, _said(dataset.file_meta, META_CLASS)), (SOP_INSTANCE, _said(dataset.file_meta, META_INSTANCE)))
    missing = [(tag, uid) for tag, uid in named if uid and not _said(dataset, tag)]
    if not missing:
        return dataset
    whole = Dataset()
    whole.set_original_encoding(*dataset.original_encoding, dataset.original_character_set)
    whole.file_meta = dataset.file_meta
    for tag in list(dataset.keys()):
        if not tag.is_private:
            whole[tag] = dataset.get_item(tag, keep_deferred=True)
    for tag, uid in missing:
        whole.add_new(tag, "UI", uid)
    return whole


def _said(dataset: Dataset, tag: int) -> str:
    return (text_of(dataset, tag) or "").strip(" \0") if tag in dataset else ""


def _refuse(source: Dataset) -> None:
    if DIRECTORY in source:
        raise Untrusted(Reason.MEDIA_DIRECTORY, "the files that it lists are de-identified one by one")
    if DOCUMENT in source:
        raise Untrusted(Reason.DOCUMENT, "an encapsulated document was found")


def _refuse_nameless(out: Dataset) -> None:
    for tag, name in ((SOP_CLASS, "SOP Class UID"), (SOP_INSTANCE, "SOP Instance UID")):
        if not _said(out, tag):
            raise Untrusted(Reason.BAD_ATTRIBUTE, f"it has no {name}, or one that is malformed")


def _cleaned_pixels(source: Dataset, out: Dataset, syntax: str, limits: Limits) -> tuple[str, str]:
    try:
        return clean_pixels(source, out, syntax, limits)
    except UNREADABLE as error:
        raise Untrusted(Reason.BAD_ATTRIBUTE, f"its pixels cannot be judged ({type(error).__name__})") from error
