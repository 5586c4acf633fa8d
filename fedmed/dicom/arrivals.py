"""An instance as it arrives at a device, by whatever door: what is told of it, and what its keeper says."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fedmed.dicom import tags
from fedmed.dicom.attributes import Attributes
from fedmed.dicom.elements import BIG_ENDIAN, PREAMBLE, Span, skim
from fedmed.dicom.implementation import IMPLEMENTATION_NAME, IMPLEMENTATION_UID
from fedmed.dicom.limits import LIMITS
from fedmed.dicom.network.commands import Outcome
from fedmed.dicom.network.pdus import UID
from fedmed.dicom.reasons import NoImage, Reason, Untrusted
from fedmed.dicom.sources import of_bytes
from fedmed.dicom.walking import Wanted
from fedmed.errors import DataError, StoreError

MOST_META = 2**10
"""Bytes that `as_file` puts before a data set, at most."""
MOST_BYTES = 512 * 2**20 - MOST_META
"""Of one instance; it is held in memory, the boxes that hold it have four gigabytes, and a spool takes no more."""
NAMES = {
    "sop_class": tags.SOP_CLASS,
    "sop_instance": tags.SOP_INSTANCE,
    "study": tags.STUDY,
    "series": tags.SERIES,
}
WANTED: Wanted = {**dict.fromkeys(NAMES.values(), "UI"), tags.MODALITY: "CS"}
HALF = (Reason.TRUNCATED, Reason.UNREADABLE)
SEQUENCE_END = {False: b"\xfe\xff\xdd\xe0", True: b"\xff\xfe\xe0\xdd"}


@dataclass(frozen=True)
class Kept:
    """An instance is on the disk."""

    is_new: bool
    """False: the very same bytes were there already."""


KeepInstance = Callable[[bytes, Mapping[str, Any]], Kept]
"""Content (a whole file, PS3.10) and facts -> Kept, once both are on the disk.

Raises StoreError or OSError where they cannot be written now, and DataError where the instance is not wanted.
"""


@dataclass(frozen=True)
class Arrival:
    """What became of one instance."""

    outcome: Outcome
    why: str = ""
    """In words, where it was not kept; names no patient."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """Of `facts_of`; none where it could not be read."""
    is_half: bool = False
    """Its end is missing: where it lies as a file, the rest may still come."""


@dataclass(frozen=True)
class Door:
    """What all doors of a device share: an instance is looked at, then kept, and every end has its status."""

    keep: KeepInstance
    stores: Callable[[str], bool]
    """Whether a SOP class is taken."""
    transfers: frozenset[str]
    """Transfer syntaxes that are taken."""
    most_bytes: int = MOST_BYTES

    def take(
        self, content: bytes, origin: Mapping[str, str], named: tuple[str, str] | None = None, study: str = ""
    ) -> Arrival:
        """Keep a file; `origin` joins its facts; `named`, SOP class and instance, and `study` are what its sender told.

        The statuses are those of PS3.4 annex B.2.3 and PS3.18 table I.2-2.
        """
        if len(content) > self.most_bytes:
            return Arrival(Outcome.OUT_OF_RESOURCES, f"it has {len(content)} bytes; at most {self.most_bytes} are taken")
        try:
            facts = facts_of(content, self.most_bytes)
        except NoImage as error:
            return Arrival(Outcome.NOT_UNDERSTOOD, error.detail)
        except Untrusted as error:
            return Arrival(Outcome.NOT_UNDERSTOOD, error.detail, is_half=error.reason in HALF)
        if named and named != (facts["sop_class"], facts["sop_instance"]):
            return Arrival(Outcome.NOT_AS_ANNOUNCED, "SOP class or instance are not those that were told", facts)
        if study and study != facts["study"]:
            return Arrival(Outcome.NOT_AS_ANNOUNCED, "it is of another study than was told", facts)
        if not self.stores(facts["sop_class"]):
            return Arrival(Outcome.SOP_CLASS_NOT_SUPPORTED, f"SOP class {facts['sop_class']} is not taken here", facts)
        if facts["transfer_syntax"] not in self.transfers:
            return Arrival(Outcome.NO_SUCH_SYNTAX, f"transfer syntax {facts['transfer_syntax']} is not read here", facts)
        return self._kept(content, facts, origin)

    def _kept(self, content: bytes, facts: dict[str, str], origin: Mapping[str, str]) -> Arrival:
        try:
            self.keep(content, {**facts, **origin})
        except (StoreError, OSError):
            return Arrival(Outcome.OUT_OF_RESOURCES, "it cannot be kept now; send it again later", facts)
        except DataError:
            return Arrival(Outcome.NOT_UNDERSTOOD, "it is not wanted here", facts)
        return Arrival(Outcome.SUCCESS, "", facts)


def facts_of(content: bytes, most_bytes: int = MOST_BYTES) -> dict[str, str]:
    """`sop_class`, `sop_instance`, `study`, `series`, `modality`, `transfer_syntax` of a file; nothing that names a patient.

    Raises NoImage for what is no DICOM, and Untrusted for what cannot be followed to its end, or lacks one of the UIDs.
    """
    source = of_bytes("instance", content)
    skimmed = skim(source, WANTED, replace(LIMITS, file_bytes=most_bytes, header_bytes=min(LIMITS.header_bytes, most_bytes)))
    if not skimmed.transfer_syntax:
        raise Untrusted(Reason.NO_TRANSFER_SYNTAX, "(0002,0010) is absent or empty.")
    is_big = skimmed.transfer_syntax == BIG_ENDIAN
    attributes = Attributes(skimmed.elements, is_big)
    facts = {name: attributes.text(tag) for name, tag in NAMES.items()}
    for name, tag in NAMES.items():
        if not UID.fullmatch(facts[name]):
            raise Untrusted(Reason.BAD_ATTRIBUTE, f"Attribute {tag:08X} is missing or is no UID (PS3.5 section 9.1).")
    if skimmed.pixels:
        _refuse_half(skimmed.pixels, content, is_big)
    return {**facts, "modality": attributes.text(tags.MODALITY)[:16], "transfer_syntax": skimmed.transfer_syntax}


def _refuse_half(pixels: Span, content: bytes, is_big: bool) -> None:
    """Pixels that end before they should: a copy that was broken off."""
    if pixels.length is None:
        # Only what is encapsulated has no length, and it ends with a delimiter (PS3.5 annex A.4).
        whole = pixels.source.size != len(content) or content.rfind(SEQUENCE_END[is_big], 0, -4) >= pixels.offset
    else:
        whole = pixels.offset + pixels.length <= pixels.source.size
    if not whole:
        raise Untrusted(Reason.TRUNCATED, "Its pixels have no end.")


def as_file(sop_class: str, instance: str, transfer_syntax: str, data_set: bytes | bytearray) -> bytes:
    """A data set as received, with the preamble and file meta information that make it a file (PS3.10 section 7.1).

    The same data set always makes the same file: who sent it and when does not stand there.
    """
    elements = b"".join(
        (
            _element(0x0001, b"OB", b"\0\1"),
            _element(0x0002, b"UI", sop_class.encode()),
            _element(0x0003, b"UI", instance.encode()),
            _element(0x0010, b"UI", transfer_syntax.encode()),
            _element(0x0012, b"UI", IMPLEMENTATION_UID.encode()),
            _element(0x0013, b"SH", IMPLEMENTATION_NAME.encode()),
        )
    )
    length = _element(0x0000, b"UL", struct.pack("<I", len(elements)))
    return b"".join((bytes(PREAMBLE), b"DICM", length, elements, data_set))


def _element(number: int, vr: bytes, value: bytes) -> bytes:
    if vr == b"OB":
        return struct.pack("<HH2sHI", 2, number, vr, 0, len(value)) + value
    value += (b" " if vr == b"SH" else b"\0") * (len(value) % 2)
    return struct.pack("<HH2sH", 2, number, vr, len(value)) + value
