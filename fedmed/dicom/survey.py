"""One pass over a folder or archive: what every file is, which series can be trusted, and why the others cannot.

A file that cannot be trusted sets aside its own series; a series sets aside nothing but itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from fedmed.dicom import tags
from fedmed.dicom.attributes import Attributes
from fedmed.dicom.case import Case
from fedmed.dicom.elements import skim
from fedmed.dicom.instance import Instance, read_instance
from fedmed.dicom.limits import LIMITS, Limits
from fedmed.dicom.pixels import decode, pixel_sha256, pixel_shape
from fedmed.dicom.reasons import NoImage, Reason, Status, Untrusted
from fedmed.dicom.sources import Source, walk
from fedmed.dicom.stacks import Series, Stack, stacks

Progress = Callable[[str, int, int], None]
"""What is being done ("headers", "pixels"), how many files of how many are done."""
CHUNK = 64 * 1024**2
SHOWN_DIGITS = 16


def silent(what: str, done: int, total: int) -> None:
    """Shows nothing."""


def _never(case: Case) -> bool:
    return False


@dataclass(frozen=True)
class File:
    """How one file ended."""

    path: str
    """Below the root, `archive.zip!member` inside archives."""
    status: Status
    reason: Reason | None = None
    detail: str = ""
    shape: tuple[int, ...] | None = None
    """Of the decoded samples."""
    pixel_sha256: str | None = None
    """First 16 hex digits of the SHA-256 over the decoded samples in C order, as pydicom's `pixel_array` gives them."""


@dataclass(frozen=True)
class Survey:
    """What a folder holds."""

    root: Path
    files: list[File]
    """Every file, in the order of their names."""
    instances: list[Instance]
    """The images among them, to be loaded from."""
    stacks: list[Stack]
    """By series; `load(stack, survey.instances)` gives the volume of one without a refusal."""
    cases: list[Case]
    """What has to be set aside: files, and stacks as series."""

    def where(self, file: File) -> str:
        """The path of a file, root included."""
        return _where(self.root, file)


@dataclass
class _Found:
    """What reading headers, and then pixels, has found so far, by place in the list of sources."""

    sources: list[Source]
    files: dict[int, File] = field(default_factory=dict)
    instances: dict[int, Instance] = field(default_factory=dict)
    poisoned: dict[Series, Untrusted] = field(default_factory=dict)
    refusals: dict[int, Untrusted] = field(default_factory=dict)


def survey(
    root: Path,
    *,
    pixels: bool = True,
    workers: int = 1,
    limits: Limits = LIMITS,
    allows: Callable[[Case], bool] = _never,
    progress: Progress = silent,
) -> Survey:
    """Look at everything below `root`, a folder, an archive or a file. Raises nothing for what lies there.

    `pixels` decodes every image and digests it, in `workers` threads; without it a file is judged by its header alone, and
    what is wrong with its pixels shows when its volume is loaded. `allows` says of a case whether a person released it.
    """
    found = _Found(list(walk(root, limits)))
    _read_headers(found, limits, progress)
    _refuse_twins(found)
    if pixels:
        _read_pixels(found, workers, progress)
    places = sorted(found.instances)
    instances = [found.instances[place] for place in places]
    refusals = {n: found.refusals[place] for n, place in enumerate(places) if place in found.refusals}
    judged, cases = _judge(root, instances, refusals, found.poisoned, allows)
    files = [found.files[place] for place in range(len(found.sources))]
    by_name = {source.name: source for source in found.sources}
    cases = [_file_case(root, by_name[file.path], file) for file in files if file.status is Status.QUARANTINED] + cases
    return Survey(root, files, instances, judged, cases)


def _read_headers(found: _Found, limits: Limits, progress: Progress) -> None:
    for place, source in enumerate(found.sources):
        try:
            instance = read_instance(source, limits)
            found.instances[place] = instance
            found.files[place] = File(source.name, Status.OK, shape=pixel_shape(instance.header))
        except NoImage as fact:
            found.files[place] = File(source.name, fact.status, detail=fact.detail)
        except Untrusted as error:
            found.files[place] = File(source.name, Status.QUARANTINED, error.reason, error.detail)
            if (series := _series_of(source, limits)) is not None:
                found.poisoned.setdefault(series, error)
        progress("headers", place + 1, len(found.sources))


def _series_of(source: Source, limits: Limits) -> Series | None:
    """The series of a file whose header is refused, if that much of it can be read."""
    try:
        skimmed = skim(source, {tags.STUDY: "UI", tags.SERIES: "UI"}, limits)
    except (NoImage, Untrusted):
        return None
    attributes = Attributes(skimmed.elements)
    series = attributes.text(tags.STUDY), attributes.text(tags.SERIES)
    return series if series[1] else None


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


def _read_pixels(found: _Found, workers: int, progress: Progress) -> None:
    def one(place: int) -> tuple[int, str | Untrusted]:
        instance = found.instances[place]
        try:
            return place, pixel_sha256(instance, decode(instance))[:SHOWN_DIGITS]
        except Untrusted as error:
            return place, error

    places = sorted(found.instances)
    with ThreadPoolExecutor(workers) as pool:
        for done, (place, result) in enumerate(pool.map(one, places), start=1):
            name, shape = found.files[place].path, found.files[place].shape
            if isinstance(result, Untrusted):
                found.refusals[place] = result
                found.files[place] = File(name, Status.QUARANTINED, result.reason, result.detail, shape)
            else:
                found.files[place] = File(name, Status.OK, shape=shape, pixel_sha256=result)
            progress("pixels", done, len(places))


def _judge(
    root: Path,
    instances: list[Instance],
    refusals: Mapping[int, Untrusted],
    poisoned: Mapping[Series, Untrusted],
    allows: Callable[[Case], bool],
) -> tuple[list[Stack], list[Case]]:
    """The stacks, judged again for as long as a person let their reasons pass."""
    overruled: dict[str, set[Reason]] = {}
    headers = [instance.header for instance in instances]
    while True:
        found = stacks(headers, refusals=refusals, poisoned=poisoned, overruled=overruled)
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


def _where(root: Path, file: File) -> str:
    return str(root / file.path) if root.is_dir() else str(root.parent / file.path)


def _file_case(root: Path, source: Source, file: File) -> Case:
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
