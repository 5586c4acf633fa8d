"""All that one finding gives: the objects for the PACS and the JSON beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedmed.dicom.limits import LIMITS, Limits
from fedmed.dicom.reasons import Reason, Untrusted
from fedmed.dicom.results.finding import Finding
from fedmed.dicom.results.origin import read_origin
from fedmed.dicom.results.record import record
from fedmed.dicom.results.report import report_on
from fedmed.dicom.results.segments import segmentation


@dataclass(frozen=True)
class Results:
    """What a finding became."""

    objects: tuple[bytes, ...]
    """PS3.10 files, for the PACS."""
    record: bytes
    """Canonical JSON, see `record`."""
    why: str = ""
    """Why a mask is told by a report alone; empty where nothing is lost."""


def results_of(sources: Sequence[bytes], finding: Finding, limits: Limits = LIMITS) -> Results:
    """A report for probabilities, a SEG for a mask.

    Where no SEG can lie on the images (a loop of ultrasound has no place in space, a private class no modules), a report
    tells which classes are present, so that the finding is not lost, and `why` says what is.
    Raises Untrusted for sources that not even a report can be about.
    """
    why = ""
    if finding.mask is None:
        made = report_on([read_origin(source, limits) for source in sources], finding)
    else:
        try:
            made = segmentation(sources, finding, limits)
        except Untrusted as error:
            if error.reason is not Reason.NO_GEOMETRY:
                raise
            why = str(error)
            made = report_on([read_origin(source, limits) for source in sources], finding)
    return Results((made,), record(sources, finding, [made], limits), why)
