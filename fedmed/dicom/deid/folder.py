"""A folder of files, each de-identified or set aside for itself; the rule is `engine`, this is only files."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from fedmed.dicom.deid.actions import POLICY, Policy
from fedmed.dicom.deid.engine import deidentify
from fedmed.dicom.deid.findings import Findings
from fedmed.dicom.deid.identity import Identity, identity_of
from fedmed.dicom.deid.known import Known
from fedmed.dicom.deid.pseudonyms import Pseudonyms
from fedmed.dicom.deid.subject import known_of
from fedmed.dicom.deid.verify import Check, check
from fedmed.dicom.faults import UNREADABLE
from fedmed.dicom.limits import LIMITS, Limits
from fedmed.dicom.reasons import Reason, Untrusted
from fedmed.errors import DataError

WRITTEN, QUARANTINED, NOT_DICOM, TEXT = "written", "quarantined", "not-dicom", "text"


@dataclass(frozen=True)
class Outcome:
    """What became of one file."""

    path: Path
    """Of the input; it may name a patient, so it stays in the clinic."""
    status: str
    target: Path | None = None
    reason: Reason | None = None
    detail: str = ""
    findings: Findings = field(default_factory=Findings)
    identity: Identity | None = None
    people: Known | None = None
    """Everybody whom the original names, where it was asked for."""
    check: Check | None = None


def files_of(folder: Path, limits: Limits = LIMITS) -> list[Path]:
    """The folder's files at every depth, sorted, links left out. Raises DataError for more than the limits allow."""
    found: list[Path] = []
    for root, folders, names in os.walk(folder):
        folders.sort()
        found.extend(Path(root, name) for name in names)
        if len(found) > limits.files:
            raise DataError(f"{folder}: more than {limits.files} files; de-identify it part by part")
    return sorted(path for path in found if stat.S_ISREG(path.lstat().st_mode))


@dataclass(frozen=True)
class Job:
    """What all files of one run share."""

    out: Path
    pseudonyms: Pseudonyms
    policy: Policy = POLICY
    verify: bool = False
    """Read each copy again and look for what identified the original."""
    people: bool = False
    """Tell who is named, for the reports that lie beside the images."""
    limits: Limits = LIMITS


def deidentify_files(paths: list[Path], job: Job) -> Iterator[Outcome]:
    """De-identifies each file into `job.out`/patient/study/series/instance.dcm, all four pseudonymous.

    Nothing is decided for a folder as a whole: a file that cannot be made safe is not written, the others are.
    """
    for path in paths:
        try:
            yield _one(path, job)
        except Untrusted as error:
            yield Outcome(path, QUARANTINED, reason=error.reason, detail=error.detail)


def _one(path: Path, job: Job) -> Outcome:
    dataset = read(path, job.limits)
    if dataset is None:
        return Outcome(path, TEXT if path.suffix.lower() == ".txt" else NOT_DICOM)
    cleaned, findings = deidentify(dataset, job.pseudonyms, job.policy, job.limits)
    target = job.out / place_of(cleaned)
    if target.exists():
        raise Untrusted(Reason.DUPLICATE_INSTANCE, "only the first, in the order of paths, was written")
    write(cleaned, target)
    return Outcome(
        path,
        WRITTEN,
        target,
        findings=findings,
        identity=identity_of(dataset, cleaned),
        people=known_of(dataset, job.limits.depth) if job.people else None,
        check=check(dataset, target, job.limits) if job.verify else None,
    )


def read(path: Path, limits: Limits = LIMITS) -> Dataset | None:
    """The object in a file, None for what is no DICOM Part 10 file. Raises Untrusted for what only begins like one."""
    return _opened(path, path.stat().st_size, limits)


def read_content(content: bytes, limits: Limits = LIMITS) -> Dataset | None:
    """As `read`, of a file's bytes."""
    return _opened(BytesIO(content), len(content), limits)


def _opened(file: Path | BytesIO, size: int, limits: Limits) -> Dataset | None:
    if size > limits.file_bytes:
        raise Untrusted(Reason.TOO_LARGE, f"{size} bytes; at most {limits.file_bytes} are opened")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return pydicom.dcmread(file)
    except InvalidDicomError:
        return None
    except UNREADABLE as error:
        raise Untrusted(Reason.UNREADABLE, type(error).__name__) from error


def encoded(dataset: Dataset) -> bytes:
    """A de-identified object as the bytes of a DICOM Part 10 file. Raises Untrusted where it cannot be encoded."""
    buffer = BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            dataset.save_as(buffer, enforce_file_format=True)
    except UNREADABLE as error:
        raise Untrusted(Reason.UNREADABLE, f"it cannot be written again ({type(error).__name__})") from error
    return buffer.getvalue()


def place_of(cleaned: Dataset) -> Path:
    """Where a de-identified object lies under the output folder: named by its pseudonyms, never by the original's path."""
    parts = [str(cleaned.get(name) or "none") for name in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")]
    return Path(*parts, f"{cleaned.SOPInstanceUID}.dcm")


def write(cleaned: Dataset, target: Path) -> None:
    """Writes beside its place and renames, so that no half file is ever seen. Raises DataError where the disk refuses."""
    data = encoded(cleaned)
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(data)
        beside.rename(target)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise DataError(f"{target.parent}: cannot be written ({error.strerror})") from error


def refuse_places(source: Path, out: Path) -> None:
    """Raises DataError for an input that is no folder, and an output that is not empty or lies in the input."""
    if not source.is_dir():
        raise DataError(f"{source}: is no folder")
    if out.resolve().is_relative_to(source.resolve()) or source.resolve().is_relative_to(out.resolve()):
        raise DataError(f"{out}: lies inside {source}, or the other way round; keep originals and copies apart")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out}: is not an empty folder; name a new one, so that nothing old is taken for de-identified")
