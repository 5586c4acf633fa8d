"""UIDs of results: the same source, package and device give the same ones, so that a PACS takes a repeat once."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence

from fedmed.dicom.results.finding import Finding


def derived_uid(*parts: str) -> str:
    """A UID below 2.25 (PS3.5 annex B.2) from a UUID that is SHA-256 over `parts` (version 8, RFC 9562 section 5.8).

    A name-based UUID rather than a random one: after a crash the device does its last step again, and a PACS keeps one
    object of one SOP Instance UID.
    """
    found = bytearray(hashlib.sha256("\x1f".join(("fedmed result", *parts)).encode()).digest()[:16])
    found[6] = found[6] & 0x0F | 0x80
    found[8] = found[8] & 0x3F | 0x80
    return f"2.25.{uuid.UUID(bytes=bytes(found)).int}"


def uid_of(level: str, sources: Sequence[str], finding: Finding) -> str:
    """Of the instance, series or tracked thing named by `level` that `finding` says about `sources` (their UIDs).

    All that could make another content is in it but the moment: package, pipeline, precision, device, and the other machine
    that it was computed on.
    """
    where = (finding.device, finding.computed_on) if finding.computed_on else (finding.device,)
    return derived_uid(level, finding.digest, finding.pipeline, finding.precision, *where, *sources)
