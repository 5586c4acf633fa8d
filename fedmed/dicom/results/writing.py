"""A result as the bytes of a PS3.10 file: made by highdicom, then given the source's own patient, study and texts."""

from __future__ import annotations

import copy
import io
import re
import warnings
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from fedmed.dicom.faults import UNREADABLE
from fedmed.dicom.reasons import Reason, Untrusted
from fedmed.dicom.results.finding import Finding
from fedmed.dicom.results.identifiers import derived_uid, uid_of
from fedmed.dicom.results.origin import CARRIED, Origin
from fedmed.dicom.results.vocabulary import MAKER
from fedmed.errors import MissingPart

EMPTY = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)
"""Of type 2: present in every object, empty where the source has nothing (PS3.5 section 7.4.3)."""
UTF_8 = "ISO_IR 192"
DEFAULT_REPERTOIRE = ("", "ISO_IR 6", "ISO 2022 IR 6")
"""ASCII (PS3.3 table C.12-2)."""
ESCAPE_OF_CHINESE = "\x1b$)A"
"""PS3.3 table C.12-4, ISO 2022 IR 58."""


def highdicom() -> Any:
    """The module, imported when a result is made, for a device that makes none to start without it."""
    try:
        import highdicom
        import highdicom.color
        import highdicom.seg
        import highdicom.sr
    except ImportError as error:
        raise MissingPart("DICOM results need highdicom; install it with: pip install 'fedmed[edge]'") from error
    return highdicom


def moment(finding: Finding, origin: Origin) -> datetime:
    """When it was found, in the source's time zone where it states one, else in this machine's.

    DA and TM carry no zone of their own; Timezone Offset From UTC (0008,0201) is that of the whole object
    (PS3.3 C.12.1.1.8), the study's own date included.
    """
    said = str(origin.carried.get("TimezoneOffsetFromUTC", "") or "").strip()
    if len(said) == 5 and said[0] in "+-" and said[1:].isdecimal() and int(said[1:3]) < 24:
        offset = timedelta(hours=int(said[1:3]), minutes=int(said[3:]))
        return datetime.fromtimestamp(finding.unix, timezone(offset if said[0] == "+" else -offset))
    return datetime.fromtimestamp(finding.unix, timezone.utc).astimezone()


def named(kind: str, sources: Sequence[str], origin: Origin, finding: Finding) -> dict[str, Any]:
    """Series, instance and equipment of a new object about `sources` (SOP instance UIDs), as highdicom's arguments."""
    when = moment(finding, origin)
    return {
        "series_instance_uid": uid_of(f"{kind} series", [origin.study, origin.series], finding),
        "sop_instance_uid": uid_of(kind, sources, finding),
        "instance_number": origin.instance_number,
        "manufacturer": MAKER,
        "manufacturer_model_name": finding.model,
        "software_versions": finding.version,
        "device_serial_number": finding.device,
        "content_date": when.date(),
        "content_time": when.time().replace(tzinfo=None),
        "specific_character_set": None,
    }


def finished(made: Any, origin: Origin, finding: Finding) -> bytes:
    """The file: with the patient and study as the source has them, and nothing that differs from one run to the next."""
    when = moment(finding, origin)
    for keyword in CARRIED:
        if keyword in made:
            del made[keyword]
    for keyword in EMPTY:
        setattr(made, keyword, None)
    character_set = _character_set(origin, finding)
    carried = origin.carried if character_set == origin.character_set else _without_escapes(origin.carried)
    for element in carried:
        if element.keyword != "SpecificCharacterSet":
            made[element.tag] = element
    if character_set:
        made.SpecificCharacterSet = list(character_set)
    made.InstanceCreationDate, made.InstanceCreationTime = when.strftime("%Y%m%d"), when.strftime("%H%M%S")
    for item in made.get("ContributingEquipmentSequence", ()):
        if "ContributionDateTime" in item:
            item.ContributionDateTime = when.strftime("%Y%m%d%H%M%S")
    _steady_dimensions(made)
    return _encoded(made)


def _steady_dimensions(made: Any) -> None:
    """Dimension Organization UID (PS3.3 C.7.6.17), which highdicom draws at random."""
    organised = derived_uid("dimensions", str(made.SOPInstanceUID))
    for name in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in made.get(name, ()):
            item.DimensionOrganizationUID = organised


def _character_set(origin: Origin, finding: Finding) -> tuple[str, ...]:
    """The source's own where it can be written and holds our texts too; else UTF-8, into which its texts are rewritten."""
    ours = (finding.model, finding.version, finding.device, *finding.classes)
    ours += tuple(concept.meaning for concept in finding.concepts.values())
    theirs = [str(each.value) for each in origin.carried.iterall() if each.VR != "SQ"]
    if not origin.character_set:
        if all(text.isascii() for text in ours):
            return ()
        if all(text.isascii() for text in theirs):
            return (UTF_8,)
        raise Untrusted(
            Reason.BAD_TEXT,
            "It declares no Specific Character Set and has texts beyond ASCII, so that they and the names of the model's"
            " classes cannot stand in one object; give the classes ASCII names.",
        )
    if origin.character_set[0] in DEFAULT_REPERTOIRE and any(_is_latin(text) for text in ours):
        return (UTF_8,)
    return origin.character_set if _holds(origin.character_set, [*ours, *theirs]) else (UTF_8,)


def _is_latin(text: str) -> bool:
    """What pydicom would write as ISO 8859-1 where only ASCII was declared."""
    return any("\x7f" < letter <= "\xff" for letter in text)


def _holds(character_set: tuple[str, ...], texts: list[str]) -> bool:
    """Whether pydicom writes every one of `texts` so that it is read again."""
    from pydicom.charset import convert_encodings, decode_bytes, encode_string

    encodings = convert_encodings(list(character_set))
    parts = {part for text in texts if not text.isascii() for part in re.split(r"[\\^=]", text)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of characters that the set lacks, which is what is asked here
        return all(decode_bytes(encode_string(part, encodings), encodings, set()) == part for part in parts)


def _without_escapes(carried: Any) -> Any:
    """Texts for another character set: pydicom leaves the escape sequences of ISO 2022 IR 58 in what it decodes."""
    found = copy.deepcopy(carried)
    for element in found.iterall():
        if element.VR != "SQ" and ESCAPE_OF_CHINESE in str(element.value):
            values = [element.value] if element.VM == 1 else list(element.value)
            cleaned = [str(value).replace(ESCAPE_OF_CHINESE, "") for value in values]
            element.value = cleaned[0] if element.VM == 1 else cleaned
    return found


def _encoded(made: Any) -> bytes:
    file = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of values that the source has so; they are taken over as they are
            made.save_as(file, enforce_file_format=True)
    except UNREADABLE as error:
        raise Untrusted(
            Reason.BAD_ATTRIBUTE, f"What it says of patient or study cannot be written ({type(error).__name__})."
        ) from error
    return file.getvalue()
