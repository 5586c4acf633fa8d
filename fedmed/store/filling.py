"""Fills the two stores: every original, and its de-identified copy where one could be made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fedmed.dicom.deid.actions import POLICY, Policy
from fedmed.dicom.deid.engine import deidentify
from fedmed.dicom.deid.folder import NOT_DICOM, QUARANTINED, WRITTEN, Outcome, encoded, place_of, read
from fedmed.dicom.deid.identity import identity_of
from fedmed.dicom.deid.pseudonyms import Pseudonyms
from fedmed.dicom.deid.subject import known_of
from fedmed.dicom.limits import LIMITS, Limits
from fedmed.dicom.reasons import Reason, Untrusted
from fedmed.dicom.survey import Progress, silent
from fedmed.errors import DataError, StoreError
from fedmed.privacy.keys import DATES, IDENTIFIERS, UIDS, SiteKey
from fedmed.store.studies import Studies, deidentified, originals


def pseudonyms_of(key: SiteKey) -> Pseudonyms:
    """The clinic's pseudonyms: the same for its folders, its stores and its labels."""
    return Pseudonyms(key.derive(UIDS), key.derive(IDENTIFIERS), key.derive(DATES))


def import_files(
    paths: list[Path], folder: Path, key: SiteKey, policy: Policy = POLICY, limits: Limits = LIMITS
) -> Iterator[Outcome]:
    """Puts each file into the store of originals below `folder`, and its copy into the de-identified one.

    The original's facts name its copy and both sets of identifiers; the copy's facts name only its own.
    """
    kept, copies = originals(folder, key), deidentified(folder, key)
    kept.sweep()
    copies.sweep()
    pseudonyms = pseudonyms_of(key)
    for path in paths:
        yield _import(path, kept, copies, pseudonyms, policy, limits)


def _import(path: Path, kept: Studies, copies: Studies, pseudonyms: Pseudonyms, policy: Policy, limits: Limits) -> Outcome:
    try:
        dataset = read(path, limits)
    except Untrusted as error:
        if error.reason is not Reason.TOO_LARGE:
            kept.put(path.read_bytes(), {"reason": error.reason.value})
        return Outcome(path, QUARANTINED, reason=error.reason, detail=error.detail)
    if dataset is None:
        return Outcome(path, NOT_DICOM)
    content = path.read_bytes()
    try:
        cleaned, findings = deidentify(dataset, pseudonyms, policy, limits)
        identity = identity_of(dataset, cleaned)
        copy = copies.put(encoded(cleaned), {**identity.after, "place": str(place_of(cleaned))})
    except Untrusted as error:
        kept.put(content, {"reason": error.reason.value})
        return Outcome(path, QUARANTINED, reason=error.reason, detail=error.detail)
    kept.put(content, {"before": identity.before, "after": identity.after, "copy": copy})
    return Outcome(path, WRITTEN, findings=findings, identity=identity, people=known_of(dataset, limits.depth))


def export(folder: Path, key: SiteKey, out: Path, progress: Progress = silent) -> int:
    """Writes the store of de-identified copies as files below `out`; how many.

    Raises DataError for an `out` that is not empty, StoreError for a store that is.
    """
    if out.exists() and any(out.iterdir()):
        raise DataError(f"{out}: is not an empty folder; name a new one")
    copies = deidentified(folder, key)
    addresses = copies.addresses()
    if not addresses:
        raise StoreError(f"{folder}: holds no de-identified copies; fill it with `fedmed data import`")
    for done, address in enumerate(addresses, 1):
        target = out / copies.facts(address)["place"]
        if not target.resolve().is_relative_to(out.resolve()):
            raise StoreError(f"object {address[:12]}: its place lies outside of {out}")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(copies.get(address))
        progress("export", done, len(addresses))
    return len(addresses)
