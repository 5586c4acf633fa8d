"""A finding as Comprehensive SR: a measurement report (PS3.16 TID 1500) of a device, verified by nobody yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fedmed.dicom.elements import EXPLICIT
from fedmed.dicom.limits import LIMITS, Limits
from fedmed.dicom.results import vocabulary, writing
from fedmed.dicom.results.finding import Finding
from fedmed.dicom.results.identifiers import derived_uid, uid_of
from fedmed.dicom.results.origin import Origin, check_one_study, read_origin
from fedmed.dicom.results.vocabulary import SCHEME, class_concept, code

SERIES_NUMBER = 9001
COMPREHENSIVE_SR = "1.2.840.10008.5.1.4.1.1.88.33"


def report(source: bytes, finding: Finding, limits: Limits = LIMITS) -> bytes:
    """The SR about the image in `source`; see `report_on`."""
    return report_on([read_origin(source, limits)], finding)


def report_on(origins: Sequence[Origin], finding: Finding) -> bytes:
    """Comprehensive SR (PS3.3 A.35.3) about images of one study, as a PS3.10 file, explicit VR little endian.

    One measurement group (TID 1501) for each class: its probability, or whether the mask has it present or absent. Each
    states the algorithm (TID 4019) with package digest, pipeline fingerprint and precision. Completion Flag COMPLETE,
    Verification Flag UNVERIFIED, Preliminary Flag PRELIMINARY: no person has looked (PS3.3 C.17.2).
    Raises Untrusted for images of several patients or studies, and for patients or studies that cannot be written.
    """
    hd = writing.highdicom()
    check_one_study(origins)
    first = origins[0]
    content = hd.sr.MeasurementReport(
        observation_context=_observer(finding),
        procedure_reported=code("363679005", "SCT", "Imaging procedure"),
        imaging_measurements=[_group(name, number, origins, finding) for number, name in enumerate(finding.classes)],
    )
    content[0].ContentSequence.insert(-1, _library(origins))  # before the measurements, as TID 1500 has it
    made = hd.SOPClass(
        study_instance_uid=first.study,
        series_number=SERIES_NUMBER,
        sop_class_uid=COMPREHENSIVE_SR,
        modality="SR",
        transfer_syntax_uid=EXPLICIT,
        series_description=vocabulary.description(finding),
        coding_schemes=vocabulary.scheme_items(),
        **writing.named("SR", [origin.sop_instance for origin in origins], first, finding),
    )
    made.CompletionFlag, made.VerificationFlag, made.PreliminaryFlag = "COMPLETE", "UNVERIFIED", "PRELIMINARY"
    made.PerformedProcedureCodeSequence = made.ReferencedPerformedProcedureStepSequence = []
    made.CurrentRequestedProcedureEvidenceSequence = _evidence(origins)
    if finding.replaces[:1] == (COMPREHENSIVE_SR,):
        made.PredecessorDocumentsSequence = _predecessor(first.study, *finding.replaces[1:])
    made.update(content[0])
    return writing.finished(made, first, finding)


def _observer(finding: Finding) -> Any:
    """TID 1001 and 1004: the device, by its own UID."""
    sr = writing.highdicom().sr
    attributes = sr.DeviceObserverIdentifyingAttributes(
        uid=derived_uid("device", finding.device),
        name=finding.device,
        manufacturer_name=vocabulary.MAKER,
        model_name=finding.model,
        serial_number=finding.device,
    )
    device = code("121007", "DCM", "Device")
    return sr.ObservationContext(
        observer_device_context=sr.ObserverContext(observer_type=device, observer_identifying_attributes=attributes)
    )


def parameters(finding: Finding) -> dict[str, str]:
    """Algorithm Parameters: with these and the version, anybody can tell which weights said it, and of which pixels."""
    elsewhere = {"computed on": finding.computed_on} if finding.computed_on else {}
    told = {"package digest": finding.digest, "pipeline fingerprint": finding.pipeline, "precision": finding.precision}
    return told | elsewhere


def _group(name: str, number: int, origins: Sequence[Origin], finding: Finding) -> Any:
    """TID 1501 for one class."""
    sr = writing.highdicom().sr
    tracked = uid_of(f"class {name}", [origin.sop_instance for origin in origins], finding)
    stated = []
    if finding.probabilities is not None:
        measurement = sr.Measurement(
            name=code("122157", "DCM", "Probability"),
            value=finding.probabilities[number],
            unit=code("1", "UCUM", "no units"),
        )
        stated.append(measurement)
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=tracked, identifier=f"{finding.model}: {name}"),
        finding_type=class_concept(name, finding),
        algorithm_id=sr.AlgorithmIdentification(
            finding.model,
            finding.version,
            parameters=[f"{key}: {value}" for key, value in parameters(finding).items()],
            family=code("123110", "DCM", "Artificial Intelligence"),
        ),
        measurements=stated or None,
        qualitative_evaluations=_evaluations(name, finding),
        source_images=[sr.SourceImageForMeasurementGroup(each.sop_class, each.sop_instance) for each in origins],
    )


def _evaluations(name: str, finding: Finding) -> list[Any]:
    sr = writing.highdicom().sr
    found = []
    if finding.mask is not None:
        is_present = finding.marked()[name] > 0
        value = code("52101004", "SCT", "Present") if is_present else code("272519000", "SCT", "Absent")
        found.append(sr.QualitativeEvaluation(code("121052", "DCM", "Presence of property"), value))
    if finding.is_research:
        use = code("RESEARCH", SCHEME, vocabulary.NOT_FOR_DIAGNOSIS)
        found.append(sr.QualitativeEvaluation(code("INTENDED-USE", SCHEME, "Intended use"), use))
    return found


def _library(origins: Sequence[Origin]) -> Any:
    """TID 1600 to 1602: the images it is about, with what every source states; highdicom's own asks for more."""
    sr = writing.highdicom().sr
    context = sr.RelationshipTypeValues.HAS_ACQ_CONTEXT
    contains = sr.RelationshipTypeValues.CONTAINS
    group = sr.ContainerContentItem(code("126200", "DCM", "Image Library Group"), relationship_type=contains)
    group.ContentSequence = sr.ContentSequence()
    for origin in origins:
        image = sr.ImageContentItem(
            code("260753009", "SCT", "Source"), origin.sop_class, origin.sop_instance, relationship_type=contains
        )
        image.ContentSequence = sr.ContentSequence()
        if (modality := vocabulary.acquisition_concept(origin.modality)) is not None:
            image.ContentSequence.append(sr.CodeContentItem(code("121139", "DCM", "Modality"), modality, context))
        for value, name, size in (
            ("110910", "Pixel Data Rows", origin.rows),
            ("110911", "Pixel Data Columns", origin.columns),
        ):
            pixels = code("{pixels}", "UCUM", "pixels")
            image.ContentSequence.append(
                sr.NumContentItem(code(value, "DCM", name), size, pixels, relationship_type=context)
            )
        group.ContentSequence.append(image)
    library = sr.ContainerContentItem(code("111028", "DCM", "Image Library"), relationship_type=contains)
    library.ContentSequence = sr.ContentSequence([group])
    return library


def _predecessor(study_uid: str, series_uid: str, instance_uid: str) -> list[Any]:
    """Predecessor Documents Sequence (PS3.3 C.17.2): the report that this one takes the place of."""
    from pydicom.dataset import Dataset

    study, series, item = Dataset(), Dataset(), Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = COMPREHENSIVE_SR, instance_uid
    series.SeriesInstanceUID, series.ReferencedSOPSequence = series_uid, [item]
    study.StudyInstanceUID, study.ReferencedSeriesSequence = study_uid, [series]
    return [study]


def _evidence(origins: Sequence[Origin]) -> list[Any]:
    """Current Requested Procedure Evidence Sequence (PS3.3 C.17.2): the images it refers to, by series."""
    from pydicom.dataset import Dataset

    study = Dataset()
    study.StudyInstanceUID, study.ReferencedSeriesSequence = origins[0].study, []
    for uid in dict.fromkeys(origin.series for origin in origins):
        series = Dataset()
        series.SeriesInstanceUID, series.ReferencedSOPSequence = uid, []
        for origin in origins:
            if origin.series == uid:
                item = Dataset()
                item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = origin.sop_class, origin.sop_instance
                series.ReferencedSOPSequence.append(item)
        study.ReferencedSeriesSequence.append(series)
    return [study]
