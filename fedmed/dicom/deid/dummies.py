"""What stands in a value's place: nothing (Z), or something that says nothing (D)."""

from __future__ import annotations

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

TEXT = "REMOVED"
CONTENT, PERSON_CODE = 0x0040A730, 0x00401101
# PS3.5 section 6.2; a UID in a dummy's place points nowhere.
_VALUES: dict[str, str | int | float | bytes] = {
    **dict.fromkeys(("LO", "SH", "LT", "ST", "UT", "UC", "PN", "AE", "CS"), TEXT),
    **dict.fromkeys(("DS", "IS"), "0"),
    **dict.fromkeys(("US", "SS", "UL", "SL", "UV", "SV"), 0),
    **dict.fromkeys(("FL", "FD"), 0.0),
    **dict.fromkeys(("OB", "OW", "OB or OW"), b"\0\0"),
    "AS": "000Y",
    "DA": "19000101",
    "DT": "19000101000000",
    "TM": "000000",
    "UI": "2.25.0",
    "UR": "about:blank",
}


def empty(tag: BaseTag, vr: str) -> DataElement:
    """A zero-length value."""
    return DataElement(tag, vr.split(" ")[0], Sequence() if vr == "SQ" else None)


def dummy(tag: BaseTag, vr: str) -> DataElement | None:
    """A value of the representation that is valid and means nothing; None where there is none, as for most sequences."""
    if tag == CONTENT:
        return DataElement(tag, "SQ", Sequence([_content()]))
    if tag == PERSON_CODE:
        return DataElement(tag, "SQ", Sequence([_code("REMOVED", "99FEDMED", "Removed by de-identification")]))
    value = _VALUES.get(vr)
    return None if value is None else DataElement(tag, vr.split(" ")[0], value)


def _content() -> Dataset:
    """A text item of a structured report (PS3.3 C.17.3) that says that there was something."""
    item = Dataset()
    item.RelationshipType = "CONTAINS"
    item.ValueType = "TEXT"
    item.ConceptNameCodeSequence = Sequence([_code("121106", "DCM", "Comment")])
    item.TextValue = "Removed by de-identification"
    return item


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code
