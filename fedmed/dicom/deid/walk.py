"""One object's attributes, at every depth, each given its action of the profile."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from pydicom.charset import python_encoding
from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.uid import UID_dictionary

from fedmed.dicom.deid.actions import DATES, TEXTS, Action, Policy, action_of, basic_action
from fedmed.dicom.deid.dates import shifted, valid_offset
from fedmed.dicom.deid.descriptors import clean_description, clean_kept
from fedmed.dicom.deid.dummies import dummy, empty
from fedmed.dicom.deid.findings import Findings
from fedmed.dicom.deid.known import Known
from fedmed.dicom.deid.pseudonyms import ACCESSION, PATIENT, STUDY, Pseudonyms
from fedmed.dicom.deid.table import row_of
from fedmed.dicom.deid.values import items_of, known_tag, settled, sound, text_of, vr_of
from fedmed.dicom.deid.vocabulary import protocol_word
from fedmed.dicom.limits import LIMITS, Limits
from fedmed.dicom.reasons import Reason, Untrusted

Element: TypeAlias = DataElement | RawDataElement

CHARACTER_SET, TIMEZONE, LENGTH_TO_END, FIRST_GROUP = 0x00080005, 0x00080201, 0x00080001, 0x0008
# The table empties these (Z) and allows a value in their place, which a clinic's own label lists need.
PSEUDONYMS = {0x00100020: PATIENT, 0x00100010: PATIENT, 0x00080050: ACCESSION, 0x00200010: STUDY}
# UIDs of classes and encodings, by which an object is read; private ones are not in PS3.6's register.
CLASS_UIDS = frozenset(
    {0x00020002, 0x00020010, 0x00080016, 0x00080062, 0x0008001A, 0x0008001B, 0x00081150, 0x0008115A, 0x00041510, 0x00041512}
)
# Bytes without a grammar that an image, a waveform or its colours cannot be without; others may hold anything.
BINARY = frozenset({0x7FE00010, 0x00282000, 0x54001010, 0x54000110, 0x54000112, 0x5400100A, 0x00283006})
# Codes and versions look like identifiers, models like names; of these only what is known of people goes.
TECHNICAL = frozenset(
    {0x00080070, 0x00081090, 0x00181020, 0x00080100, 0x00080102, 0x00080103, 0x00080119, 0x0008010D, 0x00181018, 0x00189360}
)


class Walk:
    """What all elements of one object share: keys, policy, the patient's shift, what is known of the people in it."""

    def __init__(
        self,
        pseudonyms: Pseudonyms,
        policy: Policy,
        known: Known,
        patient: str,
        encoding: tuple[bool, bool],
        limits: Limits = LIMITS,
    ) -> None:
        """`encoding`: whether the transfer syntax has implicit value representations, and whether it is little endian."""
        self.findings = Findings()
        self._encoding = encoding
        self._pseudonyms, self._policy, self._known, self._limits = pseudonyms, policy, known, limits
        self._days = pseudonyms.shift_days(patient)
        self._patient = pseudonyms.identifier(PATIENT, patient)
        self._seen = 0
        self._do: dict[Action, Callable[[Dataset, BaseTag, str, int], Element | None]] = {
            Action.UID: self._uid,
            Action.SHIFT: self._shift,
            Action.CLEAN: self._clean,
            Action.DESCEND: self._descend,
            Action.KEEP: self._keep,
        }

    def dataset(self, source: Dataset, depth: int = 0) -> Dataset:
        """A new data set with what may stay of `source`, which is left as it was.

        Raises Untrusted where sequences nest, or elements number, beyond the limits.
        """
        if depth > self._limits.depth:
            raise Untrusted(Reason.TOO_LARGE, f"its sequences nest deeper than {self._limits.depth}")
        out = Dataset()
        out.set_original_encoding(*self._encoding, source.original_character_set)
        for tag in sorted(source.keys()):
            self._seen += 1
            if self._seen > self._limits.elements:
                raise Untrusted(Reason.TOO_LARGE, f"it has more than {self._limits.elements} data elements")
            element = self._element(source, tag, depth)
            if element is not None:
                out[tag] = element
        return out

    def _element(self, source: Dataset, tag: BaseTag, depth: int) -> Element | None:
        vr = vr_of(source, tag)
        row = row_of(tag)
        if tag.group < FIRST_GROUP or tag.element == 0 or tag == LENGTH_TO_END:
            row = None  # of messages, files and discs, and lengths that are no longer true
        action = action_of(row, vr, self._policy) if row else self._unlisted(tag, vr)
        if tag in PSEUDONYMS and action in (Action.EMPTY, Action.DUMMY):
            return self._pseudonym(source, tag, vr)
        handler = self._do.get(action)
        return handler(source, tag, vr, depth) if handler else self._fall_back(action, tag, vr)

    def _unlisted(self, tag: BaseTag, vr: str) -> Action:
        """An attribute that the table does not name stays, unless nobody can know what it says."""
        if (
            tag.element == 0
            or tag == LENGTH_TO_END
            or tag.group < FIRST_GROUP
            or tag.group >> 8 in (0x50, 0x60)
            or not known_tag(tag)
        ):
            self.findings.done["unknown"] += 1
            return Action.REMOVE
        if vr in ("PN", "AE", "UR", "UN") or (vr in ("OB", "OB or OW") and tag not in BINARY):
            return Action.REMOVE
        return Action.UID if vr == "UI" else Action.SHIFT if vr in DATES else Action.DESCEND if vr == "SQ" else Action.KEEP

    def _fall_back(self, action: Action, tag: BaseTag, vr: str) -> Element | None:
        """The actions that need nothing of the value."""
        if action is Action.EMPTY:
            self.findings.done["emptied"] += 1
            return empty(tag, vr)
        if action is Action.DUMMY and (element := dummy(tag, vr)) is not None:
            self.findings.done["replaced"] += 1
            return element
        self.findings.done["private" if tag.is_private else "removed"] += 1
        return None

    def _basic(self, tag: BaseTag, vr: str) -> Element | None:
        """What the Basic Profile does with a value that an option could not save."""
        row = row_of(tag)
        if row is None:
            self.findings.lost[_name(tag)] += 1
            self.findings.done["malformed"] += 1
            return None
        action = basic_action(row, vr)
        return self._fall_back(Action.DUMMY if action is Action.UID else action, tag, vr)

    def _pseudonym(self, source: Dataset, tag: BaseTag, vr: str) -> Element:
        original = (text_of(source, tag) or "").strip(" \0")
        self.findings.done["replaced" if original else "emptied"] += 1
        kind = PSEUDONYMS[int(tag)]
        value = self._patient if tag == 0x00100010 else self._pseudonyms.identifier(kind, original)
        nothing = self._patient if kind == PATIENT else ""
        return DataElement(tag, vr, value if original else nothing)

    def _uid(self, source: Dataset, tag: BaseTag, vr: str, depth: int) -> Element | None:
        text = text_of(source, tag)
        if text is None or vr != "UI":
            return self._basic(tag, "UI") if vr == "UI" else self._fall_back(Action.REMOVE, tag, vr)
        if tag in CLASS_UIDS and sound(source, tag, vr):
            return self._stays(source, tag, vr)
        values = [value.strip(" \0") for value in text.split("\\")]
        mapped = [value if not value or value in UID_dictionary else self._pseudonyms.uid(value) for value in values]
        self.findings.done["uid"] += 1
        return DataElement(tag, "UI", mapped if len(mapped) > 1 else mapped[0])

    def _shift(self, source: Dataset, tag: BaseTag, vr: str, depth: int) -> Element | None:
        text = text_of(source, tag)
        moved = None if text is None else shifted(vr, text, self._days)
        if moved is None:
            return self._basic(tag, vr)
        self.findings.done["shifted"] += 1
        return DataElement(tag, vr, moved)

    def _clean(self, source: Dataset, tag: BaseTag, vr: str, depth: int) -> Element | None:
        text = text_of(source, tag)
        cleaned = "" if text is None else clean_description(text, self._known)
        if not cleaned.strip("\\ "):
            return self._basic(tag, vr)
        self.findings.done["cleaned"] += 1
        return DataElement(tag, vr, cleaned)

    def _descend(self, source: Dataset, tag: BaseTag, vr: str, depth: int) -> Element | None:
        items = items_of(source, tag)
        if items is None:
            return self._basic(tag, "SQ")
        return DataElement(tag, "SQ", Sequence([self.dataset(item, depth + 1) for item in items]))

    def _keep(self, source: Dataset, tag: BaseTag, vr: str, depth: int) -> Element | None:
        if vr == "SQ":
            return self._descend(source, tag, vr, depth)
        if vr in DATES:
            return self._shift(source, tag, vr, depth)
        if not sound(source, tag, vr):
            return self._basic(tag, vr)
        if vr in TEXTS or vr == "UC":
            return self._text(source, tag, vr)
        return self._stays(source, tag, vr)

    def _text(self, source: Dataset, tag: BaseTag, vr: str) -> Element | None:
        text = text_of(source, tag)
        if text is None or (tag == TIMEZONE and not valid_offset(text)):
            return self._basic(tag, vr)
        if tag == CHARACTER_SET:
            return self._stays(source, tag, vr) if all(one.strip() in python_encoding for one in text.split("\\")) else None
        if vr == "CS":
            cleaned = "\\".join(value if self._harmless(value) else "" for value in text.split("\\"))
        else:
            # Attributes of the table stay here by the Retain Device option: serial numbers, names of stations.
            patterns = row_of(tag) is None and tag not in TECHNICAL
            cleaned = text if protocol_word(text) else clean_kept(text, self._known, patterns)
        if cleaned == text:
            return self._stays(source, tag, vr)
        if not cleaned.strip("\\ "):
            return self._basic(tag, vr)
        self.findings.done["cleaned"] += 1
        return DataElement(tag, vr, cleaned)

    def _harmless(self, value: str) -> bool:
        return protocol_word(value) or not self._known.occurs(value)

    def _stays(self, source: Dataset, tag: BaseTag, vr: str) -> Element | None:
        item: Element = source.get_item(tag, keep_deferred=True)
        as_is = isinstance(item, RawDataElement) and (item.is_implicit_VR, item.is_little_endian) == self._encoding
        if not as_is or item.VR == "UN" or item.value is None:
            # Written otherwise than the transfer syntax says, or made in memory: it must be encoded anew.
            decoded = settled(source, tag)
            if decoded is None:
                return self._basic(tag, vr)
            item = decoded
        self.findings.done["kept"] += 1
        return item


def _name(tag: BaseTag) -> str:
    return keyword_for_tag(tag) or str(tag)
