"""One pass over a folder or archive: what every file is, which series can be trusted, and why the others cannot.

A file that cannot be trusted sets aside its own series; a series sets aside nothing but itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from fedmed.dicom import tags
from fedmed.dicom.attributes import Attributes
from fedmed.dicom.case import Case
from fedmed.dicom.elements import skim
from fedmed.dicom.geometry import TOLERANCE, Tolerance
from fedmed.dicom.inspection import FileRecord, inspect_file
from fedmed.dicom.instance import Instance, pixel_shape, read_instance
from fedmed.dicom.isolation import Crew
from fedmed.dicom.limits import LIMITS, Limits
from fedmed.dicom.reasons import NoImage, Reason, Status, Untrusted
from fedmed.dicom.scanning import SECONDS
from fedmed.dicom.sources import Source, of_file, walk
from fedmed.dicom.stacks import Series, Stack, stacks

Progress = Callable[[str, int, int], None]
"""What is being done ("headers", "pixels"), how many files of how many are done."""
SECTION_CLASSES = tuple(f"1.2.840.10008.5.1.4.1.1.{number}" for number in ("2", "2.1", "4", "4.1", "128", "130"))
"""CT, MR and PET Image Storage and their enhanced forms: such an object has pixels, or was cut off before them."""
MEDIA_DIRECTORY = b"1.2.840.10008.1.3.10"
CHUNK = 64 * 1024**2


def silent(what: str, done: int, total: int) -> None:
    """Shows nothing."""


def _never(case: Case) -> bool:
    return False


@dataclass(frozen=True)
class Survey:
    """What a folder holds."""

    root: Path
    files: list[FileRecord]
    """Every file, in the order of `sources.walk`."""
    instances: list[Instance]
    """The images among them, to be loaded from."""
    stacks: list[Stack]
    """By series; `load(stack, survey.instances)` gives the volume of one without a refusal."""
    cases: list[Case]
    """What has to be set aside: files, and stacks as series."""

    def where(self, file: FileRecord) -> str:
        """The path of a file, root included."""
        return _where(self.root, file)


@dataclass
class _Found:
    """What was found so far, by place in the list of sources."""

    sources: list[Source]
    files: list[FileRecord] = field(default_factory=list)
    instances: dict[int, Instance] = field(default_factory=dict)
    poisoned: dict[Series, Untrusted] = field(default_factory=dict)
    refusals: dict[int, Untrusted] = field(default_factory=dict)


def survey(
    root: Path,
    *,
    pixels: bool = True,
    workers: int = 2,
    seconds: float = SECONDS,
    limits: Limits = LIMITS,
    tolerance: Tolerance = TOLERANCE,
    allows: Callable[[Case], bool] = _never,
    progress: Progress = silent,
) -> Survey:
    """Look at everything below `root`: a folder, an archive, a file, or a DICOMDIR, which stands for the folder it lies in.

    Raises nothing for what lies there.

    `pixels` decodes every image and digests it, in `workers` processes that may die of it or take `seconds` at most (0: in
    this one); without it a file is judged by its header alone, and what is wrong with its pixels shows when its volume is
    loaded. `allows` says of a case whether a person released it.
    """
    root = root.absolute()
    root = root.parent if _is_directory(root, limits) else root
    found = _Found(list(walk(root, limits)))
    if pixels:
        _inspect(found, workers, seconds, limits, progress)
    return _surveyed(root, found, limits, tolerance, allows, progress)


def headers_of(sources: Sequence[Source], limits: Limits = LIMITS, tolerance: Tolerance = TOLERANCE) -> Survey:
    """As `survey` without pixels, of these sources, wherever they lie."""
    return _surveyed(Path(), _Found(list(sources)), limits, tolerance, _never, silent)


def _surveyed(
    root: Path,
    found: _Found,
    limits: Limits,
    tolerance: Tolerance,
    allows: Callable[[Case], bool],
    progress: Progress,
) -> Survey:
    _read_headers(found, limits, progress)
    _refuse_twins(found)
    places = sorted(found.instances)
    instances = [found.instances[place] for place in places]
    refusals = {n: found.refusals[place] for n, place in enumerate(places) if place in found.refusals}
    judged, cases = _judge(root, instances, refusals, found.poisoned, tolerance, allows)
    aside = [
        _file_case(root, source, file)
        for source, file in zip(found.sources, found.files, strict=True)
        if file.status is Status.QUARANTINED
    ]
    return Survey(root, found.files, instances, judged, aside + cases)


def _is_directory(root: Path, limits: Limits) -> bool:
    """A DICOMDIR lists the files of the folder that it lies in (PS3.10 section 8.6), which are looked at themselves."""
    return root.is_file() and MEDIA_DIRECTORY in of_file(root, root.name, limits).head(1024)


def _inspect(found: _Found, workers: int, seconds: float, limits: Limits, progress: Progress) -> None:
    here = (inspect_file(source, limits) for source in found.sources)
    for record in Crew(workers, limits, seconds).records(found.sources) if workers else here:
        found.files.append(record)
        progress("pixels", len(found.files), len(found.sources))


def _read_headers(found: _Found, limits: Limits, progress: Progress) -> None:
    """Of the images, also of those whose pixels are refused: they say which volume lacks a slice."""
    inspected = bool(found.files)
    for place, source in enumerate(found.sources):
        record, instance = _header_of(source, limits)
        if inspected:
            record = found.files[place]
        else:
            found.files.append(record)
        error = Untrusted(record.reason, record.detail) if record.reason else None
        if instance is not None:
            found.instances[place] = instance
            if error:
                found.refusals[place] = error
        elif series := _series_of(source, limits, record.status):
            found.poisoned.setdefault(series, error or Untrusted(Reason.TRUNCATED, "A file of it holds no pixels at all."))
        progress("headers", place + 1, len(found.sources))


def _header_of(source: Source, limits: Limits) -> tuple[FileRecord, Instance | None]:
    try:
        instance = read_instance(source, limits)
    except NoImage as fact:
        return FileRecord(source.name, fact.status, detail=fact.detail), None
    except Untrusted as error:
        return FileRecord(source.name, Status.QUARANTINED, error.reason, error.detail), None
    return FileRecord(source.name, Status.OK, shape=pixel_shape(instance.header)), instance


def _series_of(source: Source, limits: Limits, status: Status) -> Series | None:
    """The series that lacks this file: that of a refused header, if so much can be read, or of a slice without pixels."""
    if status is Status.NOT_DICOM:
        return None
    try:
        skimmed = skim(source, {tags.STUDY: "UI", tags.SERIES: "UI", tags.SOP_CLASS: "UI"}, limits)
    except (NoImage, Untrusted):
        return None
    attributes = Attributes(skimmed.elements)
    series = attributes.text(tags.STUDY), attributes.text(tags.SERIES)
    is_slice = attributes.text(tags.SOP_CLASS) in SECTION_CLASSES
    return series if series[1] and (is_slice or status is Status.QUARANTINED) else None


def _refuse_twins(found: _Found) -> None:
    """Of files that are byte for byte the same object one is kept; others may not share a SOP Instance UID."""
    first: dict[str, int] = {}
    for place, instance in sorted(found.instances.items()):
        name = instance.header.sop_instance
        if not name or (kept := first.setdefault(name, place)) == place:
            continue
        if _same_bytes(found.sources[kept], found.sources[place]):
            del found.instances[place]
        else:
            error = Untrusted(Reason.DUPLICATE_SLICES, "Two files that differ have its SOP Instance UID.")
            found.refusals[kept] = found.refusals[place] = error


def _same_bytes(one: Source, other: Source) -> bool:
    try:
        return one.size == other.size and _sha256([one]) == _sha256([other])
    except Untrusted:
        return False


def _judge(
    root: Path,
    instances: list[Instance],
    refusals: Mapping[int, Untrusted],
    poisoned: Mapping[Series, Untrusted],
    tolerance: Tolerance,
    allows: Callable[[Case], bool],
) -> tuple[list[Stack], list[Case]]:
    """The stacks, judged again for as long as a person let their reasons pass."""
    overruled: dict[str, set[Reason]] = {}
    headers = [instance.header for instance in instances]
    while True:
        found = stacks(headers, refusals=refusals, poisoned=poisoned, tolerance=tolerance, overruled=overruled)
        cases = [series_case(root, stack, instances, stack.refusal) for stack in found if stack.refusal]
        passed = [case for case in cases if case.releasable and allows(case)]
        if not passed:
            return found, cases
        for case in passed:
            overruled.setdefault(case.subject, set()).add(case.reason)


def series_case(root: Path, stack: Stack, instances: Sequence[Instance], refusal: Untrusted) -> Case:
    """What is to be kept of a stack that is refused."""
    members = [instances[index].source for index in sorted({index for index, _ in stack.frames})]
    where = str(root / PurePosixPath(members[0].name).parent) if members else str(root)
    return Case("series", stack.subject, refusal.reason, refusal.detail, where, _sha256(members))


def _where(root: Path, file: FileRecord) -> str:
    return str(root / file.path) if root.is_dir() else str(root.parent / file.path)


def _file_case(root: Path, source: Source, file: FileRecord) -> Case:
    where = _where(root, file)
    return Case("file", where, file.reason or Reason.UNREADABLE, file.detail, where, _sha256([source]))


def _sha256(sources: Iterable[Source]) -> str:
    """Over the digests of their bytes, whatever order they come in; what cannot be read counts by its length."""
    return hashlib.sha256(b"".join(sorted(map(_digest, sources)))).hexdigest()


def _digest(source: Source) -> bytes:
    whole = hashlib.sha256(str(source.size).encode())
    try:
        for offset in range(0, source.size, CHUNK):
            whole.update(source.span(offset, min(CHUNK, source.size - offset)))
    except Untrusted:
        whole.update(b"unreadable")
    return whole.digest()
