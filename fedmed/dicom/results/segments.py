"""A mask as DICOM SEG on the images that it was drawn on; an empty one as an SR that says that nothing was marked."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmed.dicom.faults import UNREADABLE
from fedmed.dicom.limits import LIMITS, Limits
from fedmed.dicom.reasons import Reason, Untrusted
from fedmed.dicom.results import vocabulary, writing
from fedmed.dicom.results.finding import Finding
from fedmed.dicom.results.identifiers import uid_of
from fedmed.dicom.results.origin import CARRIED, Origin, check_one_study, opened, origin_of
from fedmed.dicom.results.report import parameters, report_on
from fedmed.dicom.results.vocabulary import class_concept, code
from fedmed.errors import first_line

SERIES_NUMBER = 9002
MOST_MM = 1000.0
"""Of a slice's thickness."""
COLOURS = ((54, 70, 58), (63, 8, -55), (87, -58, 60), (60, 75, -50), (73, 25, 74), (82, -35, -22))
"""CIELab, of segments in turn, for viewers that would else choose: red, blue, green, magenta, orange, cyan."""


def segmentation(sources: Sequence[bytes], finding: Finding, limits: Limits = LIMITS) -> bytes:
    """Binary SEG (PS3.3 A.51) of a finding's mask on `sources`, as a PS3.10 file; an SR where the mask is empty.

    `sources`: the single-frame images of one series in the mask's order, or one image of one or several frames. Frames
    get their place from the sources (PS3.3 C.7.6.16.2); frames in which nothing is marked are left out. A SEG needs one
    frame at least, so nothing marked is told by a report in which each class is absent.
    Raises Untrusted for sources that are not of one patient, study, series and shape, or that are several and do not say
    where they lie; and for a mask of another shape. ValueError for a finding without a mask.
    """
    if finding.mask is None:
        raise ValueError("this finding has probabilities, no mask; report() tells them")
    if not sources:
        raise ValueError("a mask lies on one image at least")
    datasets = [opened(source, limits) for source in sources]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of values and planes that are odd; they are written as they are
        try:
            origins = [origin_of(dataset) for dataset in datasets]
            _check_one_series(origins)
            mask = _on(finding.mask, origins)
            if not mask.any():
                return report_on(origins, finding)
            return writing.finished(_made(datasets, origins, mask, finding), origins[0], finding)
        except UNREADABLE as error:
            raise Untrusted(Reason.NO_GEOMETRY, f"No SEG can be laid on it: {_why(error, datasets[0])}.") from error


def _check_one_series(origins: Sequence[Origin]) -> None:
    check_one_study(origins)
    for reason, what, values in (
        (Reason.MIXED_MEANING, "series", {each.series for each in origins}),
        (Reason.MIXED_SHAPE, "sizes", {(each.rows, each.columns) for each in origins}),
    ):
        if len(values) > 1:
            raise Untrusted(reason, f"{len(values)} {what} in {len(origins)} images; a SEG lies on one.")


def _on(mask: NDArray[np.integer], origins: Sequence[Origin]) -> NDArray[np.uint8]:
    """The mask `(D, H, W)` uint8, once its shape is that of the sources."""
    frames = origins[0].frames if len(origins) == 1 else len(origins)
    found = mask[np.newaxis] if mask.ndim == 2 else mask
    expected = (frames, origins[0].rows, origins[0].columns)
    if found.shape != expected:
        raise Untrusted(Reason.MASK_MISMATCH, f"The mask has shape {found.shape}; the images have {expected}.")
    return found.astype(np.uint8)


def _give_thickness(datasets: Sequence[Any]) -> None:
    """Slice Thickness, which a SEG in space needs (PS3.3 C.7.6.16.2.1), from the slices' distance where it is empty."""
    lacking = [each for each in datasets if "ImagePositionPatient" in each and not each.get("SliceThickness")]
    if not lacking:
        return
    places = [np.array(each.ImagePositionPatient, dtype=np.float64) for each in datasets]
    apart = [float(np.linalg.norm(one - other)) for one, other in itertools.pairwise(places)]
    thickness = abs(float(datasets[0].get("SpacingBetweenSlices") or 0)) or (min(apart) if apart else 0.0)
    if not 0 < thickness < MOST_MM:
        raise Untrusted(
            Reason.NO_GEOMETRY, "It states neither Slice Thickness nor Spacing Between Slices, and is one slice."
        )
    for each in lacking:
        each.SliceThickness = round(thickness, 6)


def _made(datasets: Sequence[Any], origins: Sequence[Origin], mask: NDArray[np.uint8], finding: Finding) -> Any:
    hd = writing.highdicom()
    if origins[0].frames > 1 and "PerFrameFunctionalGroupsSequence" not in datasets[0]:
        raise Untrusted(Reason.NO_GEOMETRY, f"It has {origins[0].frames} frames and no functional groups that place them.")
    _give_thickness(datasets)
    orientation = datasets[0].get("PatientOrientation")
    uids = [origin.sop_instance for origin in origins]
    made = hd.seg.Segmentation(
        [_without_patient(dataset) for dataset in datasets],
        mask,
        "BINARY",
        [_segment(name, number, uids, finding) for number, name in enumerate(finding.classes, 1)],
        series_number=SERIES_NUMBER,
        series_description=vocabulary.description(finding),
        content_label="AI",
        content_description=vocabulary.NOT_FOR_DIAGNOSIS if finding.is_research else None,
        coding_schemes=vocabulary.scheme_items(),
        **writing.named("SEG", uids, origins[0], finding),
    )
    if finding.replaces:
        made.DerivationDescription = f"It replaces {finding.replaces[-1]}: more images of the series came."  # (0008,2111)
    [shared] = made.SharedFunctionalGroupsSequence
    if "PlaneOrientationSequence" not in shared:
        made.PatientOrientation = orientation  # type 2C (PS3.3 C.7.6.1): all that a flat image tells of directions
        shared.pop("PixelMeasuresSequence", None)  # highdicom writes one without thickness, which it then cannot read
    return made


def _why(error: BaseException, dataset: Any) -> str:
    sop_class = str(dataset.get("SOPClassUID", ""))
    if isinstance(error, KeyError) and sop_class in str(error):
        return f"its SOP class {sop_class} is private or retired, and its modules are not known"
    return first_line(error).rstrip(".")


def _without_patient(dataset: Any) -> Any:
    """The source with empty patient and study: highdicom refuses values that `writing.finished` takes over as they are."""
    study = dataset.StudyInstanceUID
    for keyword in CARRIED:
        if keyword in dataset:
            del dataset[keyword]
    for keyword in writing.EMPTY:
        setattr(dataset, keyword, None)
    dataset.StudyInstanceUID = study
    for keyword in ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        if keyword in dataset and not dataset[keyword].value:
            del dataset[keyword]  # of type 1C: none is better than an empty one
    return dataset


def _segment(name: str, number: int, sources: Sequence[str], finding: Finding) -> Any:
    """Segment Description Macro (PS3.3 C.8.20.4): what it shows, and which algorithm drew it."""
    hd = writing.highdicom()
    return hd.seg.SegmentDescription(
        number,
        name,
        code("309825002", "SCT", "Spatial and Relational Concept"),
        class_concept(name, finding),
        "AUTOMATIC",
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            finding.model,
            code("123110", "DCM", "Artificial Intelligence"),
            finding.version,
            source=vocabulary.MAKER,
            parameters=parameters(finding),
        ),
        tracking_uid=uid_of(f"segment {name}", sources, finding),
        tracking_id=f"{finding.model}: {name}",
        display_color=hd.color.CIELabColor(*COLOURS[(number - 1) % len(COLOURS)]),
    )
