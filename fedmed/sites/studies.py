"""One site's DICOM studies as tensors on one grid; what cannot be trusted is named, and everything else goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedmed.dicom.header import Header
from fedmed.dicom.instance import NATIVE
from fedmed.dicom.isolation import Crew
from fedmed.dicom.limits import LIMITS, Limits
from fedmed.dicom.reasons import SENTENCES, Untrusted
from fedmed.dicom.scanning import SECONDS
from fedmed.dicom.series import load
from fedmed.dicom.stacks import Stack
from fedmed.dicom.survey import Progress, Survey, series_case, silent, survey
from fedmed.dicom.volume import Volume
from fedmed.preprocess.fused.arguments import native
from fedmed.preprocess.fused.backends import chosen
from fedmed.preprocess.fused.overlap import Work, prepare
from fedmed.preprocess.fused.parity import Use
from fedmed.preprocess.fused.paths import path_of
from fedmed.preprocess.fused.window import Window
from fedmed.preprocess.grid import Grid, nearest_axes_grid, to_voxel
from fedmed.preprocess.pipeline import Pipeline, Step
from fedmed.sites.cases import SetAside
from fedmed.sites.kept import Kept, Shelf
from fedmed.store.intake import take_in
from fedmed.store.quarantine import Quarantine
from fedmed.store.tensors import TensorStore


@dataclass(frozen=True)
class Target:
    """What every volume becomes."""

    size: tuple[int, int, int]
    """Slices, rows, columns."""
    spacing_mm: tuple[float, float, float]
    window: tuple[float, float]
    """Modality units that become 0 and 1; what lies beyond is clamped. Padding and what lies outside become 0."""

    def pipeline(self) -> Pipeline:
        """The steps of `prepare`, for the site's fingerprint and the cache."""
        return Pipeline(
            (
                Step("read", {"values": "modality units, bright is bright", "padding": "lowest of the window"}),
                Step("orient", {"axes": "nearest to superior, posterior, left"}),
                Step(
                    "resample", {"size": self.size, "spacing_mm": self.spacing_mm, "how": "trilinear", "outside": "padding"}
                ),
                Step("window", {"from": self.window, "to": (0.0, 1.0), "function": "linear"}),
                Step("cast", {"type": "float32"}),
            )
        )


@dataclass(frozen=True)
class Study:
    """One volume, prepared."""

    image: NDArray[np.float32]
    """`Target.size`, 0 to 1."""
    grid: Grid
    """Where its voxels lie."""
    header: Header
    """Of one of its slices: the ids by which labels are joined."""
    scanned: NDArray[np.float64]
    """The affine `(4, 4)` of the scanner's own voxels."""
    spacing_mm: tuple[float, float, float]
    """Of those."""
    shape: tuple[int, int, int]
    """How many of them there are: slices, rows, columns."""
    slices: tuple[str, ...]
    """SOP Instance UIDs in the order of the scanner's slices."""
    frames: tuple[int, ...]
    """Which frame of its instance each of them is, from 0."""
    kernel: Use
    """How the fused pass made the image: the stored values' type and the kind of grid."""


@dataclass(frozen=True)
class Workshop:
    """With what a site prepares its studies."""

    target: Target
    store: TensorStore | None = None
    """Keeps finished tensors; none where absent."""
    workers: int = 2
    """Threads that decode, and as many that compute."""
    backend: str | None = None
    """Of the fused pass; the fastest that runs here when absent."""
    quarantine: Quarantine | None = None
    """Keeps a record of what is set aside, and lets pass what a person released; none where absent."""
    limits: Limits = LIMITS
    """Of a volume."""


Finish = Callable[[NDArray[np.float32]], Study]
"""The study of an image that has just been computed."""


def prepared(folder: Path, workshop: Workshop, progress: Progress = silent) -> Iterator[Study | SetAside]:
    """Every volume below `folder`, on one grid, in the order of the survey; in its place, why one is set aside.

    Headers are judged first. Compressed pixels are tried in processes of their own before they are decoded here: a file
    that kills a decoder costs itself alone. Then the next volume is decoded while this one is computed, so that two are in
    memory. Raises nothing for what lies in the folder, and MissingPart or ConfigError for a back end that cannot run.
    """
    chosen(workshop.backend)  # raises before anything is read
    if workshop.quarantine is None:
        found = survey(folder, pixels=False, workers=0, progress=progress)
    else:
        found = take_in(folder, workshop.quarantine, pixels=False, workers=0, progress=progress)
    yield from volumes_of(found, workshop, progress)


def volumes_of(found: Survey, workshop: Workshop, progress: Progress = silent) -> Iterator[Study | SetAside]:
    """As `prepared`, of what was surveyed already, wherever its files lie."""
    backend = chosen(workshop.backend)
    yield from _files_aside(found)
    shelf = Shelf(workshop.store, workshop.target.pipeline().fingerprint(), found.instances)
    kept = [shelf.remembered(stack) for stack in found.stacks]
    refused = _tried([stack for stack, image in zip(found.stacks, kept, strict=True) if image is None], found, workshop)

    def drawn(stack: Stack, image: Kept | None) -> tuple[Study | SetAside | Finish, Work | None]:
        return _drawn(stack, found, image, refused, workshop, shelf)

    works = map(drawn, found.stacks, kept)
    for done, (each, made) in enumerate(prepare(works, backend, threads=workshop.workers), start=1):
        yield each(np.asarray(backend.to_host(made), np.float32)) if callable(each) else each
        progress("volumes", done, len(found.stacks))


def _files_aside(found: Survey) -> Iterator[SetAside]:
    """Files that are refused, but those for which their series is refused in the same words."""
    said = {(stack.refusal.reason, stack.refusal.detail) for stack in found.stacks if stack.refusal is not None}
    for file in found.files:
        if file.reason is not None and (file.reason, file.detail) not in said:
            yield SetAside(file.path, file.reason.value, f"{SENTENCES[file.reason]} {file.detail}")


def _tried(doubtful: list[Stack], found: Survey, workshop: Workshop) -> dict[int, Untrusted]:
    """Why compressed images of these stacks cannot be decoded, by index of the instance.

    What lies in memory and not in a file no other process can try: its first decoding is that of its volume.
    """
    wanted = {index for stack in doubtful if stack.refusal is None for index, _ in stack.frames}
    files = [n for n in sorted(wanted) if found.instances[n].source.place is not None]
    compressed = [n for n in files if found.instances[n].header.transfer_syntax not in NATIVE]
    if not compressed:
        return {}
    crew = Crew(workshop.workers, LIMITS, SECONDS)
    records = crew.records(found.instances[n].source for n in compressed)
    return {
        n: Untrusted(record.reason, record.detail)
        for n, record in zip(compressed, records, strict=True)
        if record.reason is not None
    }


def _drawn(
    stack: Stack,
    found: Survey,
    kept: Kept | None,
    refused: Mapping[int, Untrusted],
    workshop: Workshop,
    shelf: Shelf,
) -> tuple[Study | SetAside | Finish, Work | None]:
    """A volume decoded and the work that makes its image; no work where the image is kept or cannot be made."""
    if stack.refusal is not None or stack.grid is None:
        return _refused(stack, stack.refusal), None
    if error := next((refused[index] for index, _ in stack.frames if index in refused), None):
        return _undecoded(stack, found, error, workshop), None
    if not stack.grid.located or not np.isfinite(stack.grid.spacing_mm).all():
        text = "It is one picture, whose place in the patient is unknown."
        return SetAside(stack.subject, "no-geometry", text, stack.study), None
    headers = [found.instances[index].header for index, _ in stack.frames]
    shape = (len(headers), headers[0].rows, headers[0].columns)
    grid = nearest_axes_grid(stack.grid.affine, shape, workshop.target.spacing_mm, workshop.target.size)
    slices = tuple(header.sop_instance for header in headers), tuple(frame for _, frame in stack.frames)
    scanned = stack.grid.affine, stack.grid.spacing_mm, shape, *slices
    path = path_of(to_voxel(stack.grid.affine, grid), grid.shape)
    if kept is not None:
        return Study(kept.image, grid, headers[0], *scanned, (kept.stored, path)), None
    try:
        volume = load(
            stack, found.instances, workers=workshop.workers, digest=shelf.store is not None, limits=workshop.limits
        )
    except Untrusted as error:
        return _undecoded(stack, found, error, workshop), None
    pixels, stored = shelf.named(volume), native(volume.voxels.dtype)
    shelf.remember(stack, pixels, stored)
    if (image := shelf.found(pixels)) is not None:
        return Study(image, grid, headers[0], *scanned, (stored, path)), None

    def finish(made: NDArray[np.float32]) -> Study:  # holds no voxels: these are let go as soon as they are computed
        return Study(shelf.keep(pixels, made), grid, headers[0], *scanned, (stored, path))

    return finish, _work(volume, grid, workshop.target)


def _work(volume: Volume, grid: Grid, target: Target) -> Work:
    low, high = target.window
    return Work(
        volume.voxels,
        volume.slope,
        volume.intercept,
        to_voxel(volume.affine, grid),
        grid.shape,
        Window(low, high),
        padding=volume.padding,
        fill=low,
        edge="constant",
    )


def _undecoded(stack: Stack, found: Survey, error: Untrusted, workshop: Workshop) -> SetAside:
    """What no header told."""
    if workshop.quarantine is not None:
        workshop.quarantine.set_aside(series_case(found.root, stack, found.instances, error))
    return _refused(stack, error)


def _refused(stack: Stack, error: Untrusted | None) -> SetAside:
    reason, text = (error.reason.value, str(error)) if error else ("no-geometry", "It has no grid.")
    return SetAside(stack.subject, reason, text, stack.study)
