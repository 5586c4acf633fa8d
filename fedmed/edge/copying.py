"""An image without what names its patient, as the clinic may have it for training."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from fedmed.dicom.deid.engine import deidentify
from fedmed.dicom.deid.folder import encoded, read_content
from fedmed.dicom.deid.pseudonyms import Pseudonyms
from fedmed.dicom.reasons import Reason, Untrusted
from fedmed.privacy import keys
from fedmed.store.filling import pseudonyms_of


def copier(key: Path) -> Callable[[bytes], tuple[bytes, str]]:
    """What copies images under the pseudonyms of a clinic's key file. Raises KeyRefused, StoreError as `keys.read`."""
    return partial(copy_of, pseudonyms=pseudonyms_of(keys.read(key)))


def copy_of(content: bytes, pseudonyms: Pseudonyms) -> tuple[bytes, str]:
    """A Part 10 file de-identified by PS3.15 Annex E, and the pseudonym of its study; the same each time.

    Raises Untrusted for what cannot be made safe, as text in the pixels without a word of where.
    """
    dataset = read_content(content)
    if dataset is None:
        raise Untrusted(Reason.UNREADABLE, "it is no DICOM Part 10 file")
    cleaned, _ = deidentify(dataset, pseudonyms)
    return encoded(cleaned), str(cleaned.get("StudyInstanceUID") or "none")
