"""Names that only this clinic can link to patients: keyed HMAC-SHA256 of what was there.

A plain hash of an identifier is undone by hashing all identifiers (PS3.15 E.1.1, note on hashes), hence the key. The same
key gives the same names in every run and process; without it nothing links two clinics, or a pseudonym to its patient.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import uuid
from dataclasses import dataclass

LENGTH = 16
"""Characters of a pseudonym: what the value representation SH holds."""
SHIFT_DAYS = (366, 3652)
"""Dates move into the past by at least a year and at most ten, so that no date of a study lies in the future."""

PATIENT, STUDY, ACCESSION = "patient", "study", "accession"


@dataclass(frozen=True)
class Pseudonyms:
    """Three independent keys, 32 bytes each, derived from the clinic's own (fedmed.privacy.keys)."""

    uids: bytes
    identifiers: bytes
    dates: bytes

    def uid(self, original: str) -> str:
        """Stands for a UID: `2.25.` and a random-looking UUID (PS3.5 B.2), 122 bits of HMAC."""
        digest = _hmac(self.uids, "uid", original.strip(" \0"))
        return f"2.25.{uuid.UUID(bytes=digest[:16], version=4).int}"

    def identifier(self, kind: str, original: str) -> str:
        """Stands for an identifier: the kind's first letter and 75 bits of HMAC; nothing stands for nothing.

        `kind` keeps equal numbers apart that mean different things: a patient's, a study's, an accession's.
        """
        written = original.strip(" \0")
        if not written:
            return ""
        return kind[0].upper() + base64.b32encode(_hmac(self.identifiers, kind, written))[: LENGTH - 1].decode()

    def shift_days(self, patient: str) -> int:
        """By how many days all dates of a patient move; negative, and the same whenever it is asked for."""
        least, most = SHIFT_DAYS
        number = int.from_bytes(_hmac(self.dates, "shift", patient)[:8], "big")
        return -(least + number % (most - least + 1))


def _hmac(key: bytes, kind: str, original: str) -> bytes:
    # The length of the kind stands first, so that no two pairs of kind and value give the same text.
    text = f"{len(kind)}:{kind}:{original}".encode("utf-8", "surrogateescape")
    return hmac.new(key, text, hashlib.sha256).digest()
