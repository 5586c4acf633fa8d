"""One site's DICOM studies as tensors on one grid; what cannot be trusted is named, and everything else goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedmed.dicom.header import Header
from fedmed.dicom.instance import NATIVE, Instance
from fedmed.dicom.isolation import Crew
from fedmed.dicom.limits import LIMITS
from fedmed.dicom.reasons import SENTENCES, Untrusted
from fedmed.dicom.scanning import SECONDS
from fedmed.dicom.series import load
from fedmed.dicom.stacks import Stack
from fedmed.dicom.survey import Progress, Survey, silent, survey
from fedmed.dicom.volume import Volume
from fedmed.preprocess.fused.backends import Backend, chosen
from fedmed.preprocess.fused.window import Window
from fedmed.preprocess.grid import Grid, nearest_axes_grid, to_voxel
from fedmed.preprocess.pipeline import Pipeline, Step
from fedmed.sites.cases import SetAside
from fedmed.store.tensors import Key, TensorStore
from fedmed.wire.canonical import digest

REMEMBERED = "which tensor a volume's files became"
"""Name of the entries that spare decoding a volume whose tensor is kept already."""


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


@dataclass(frozen=True)
class Workshop:
    """With what a site prepares its studies."""

    target: Target
    store: TensorStore | None = None
    """Keeps finished tensors; none where absent."""
    workers: int = 2
    """Threads that decode and compute."""
    backend: str | None = None
    """Of the fused pass; the fastest that runs here when absent."""


def prepared(folder: Path, workshop: Workshop, progress: Progress = silent) -> Iterator[Study | SetAside]:
    """Every volume below `folder`, on one grid, in the order of the series' UIDs; in its place, why one is set aside.

    Headers are judged first. Compressed pixels are tried in processes of their own before they are decoded here: a file
    that kills a decoder costs itself alone. Raises nothing for what lies in the folder, and MissingPart or ConfigError for
    a back end that cannot run.
    """
    backend = chosen(workshop.backend)
    found = survey(folder, pixels=False, workers=0, progress=progress)
    yield from _files_aside(found)
    kept = [_kept(stack, found.instances, workshop) for stack in found.stacks]
    refused = _tried([stack for stack, image in zip(found.stacks, kept, strict=True) if image is None], found, workshop)
    for done, (stack, image) in enumerate(zip(found.stacks, kept, strict=True), start=1):
        yield _one(stack, found, image, refused, workshop, backend)
        progress("volumes", done, len(found.stacks))


def _files_aside(found: Survey) -> Iterator[SetAside]:
    """Files that are refused, but those for which their series is refused in the same words."""
    said = {(stack.refusal.reason, stack.refusal.detail) for stack in found.stacks if stack.refusal is not None}
    for file in found.files:
        if file.reason is not None and (file.reason, file.detail) not in said:
            yield SetAside(file.path, file.reason.value, f"{SENTENCES[file.reason]} {file.detail}")


def _tried(doubtful: list[Stack], found: Survey, workshop: Workshop) -> dict[int, Untrusted]:
    """Why compressed images of these stacks cannot be decoded, by index of the instance."""
    wanted = {index for stack in doubtful if stack.refusal is None for index, _ in stack.frames}
    compressed = sorted(n for n in wanted if found.instances[n].header.transfer_syntax not in NATIVE)
    if not compressed:
        return {}
    crew = Crew(workshop.workers, LIMITS, SECONDS)
    records = crew.records(found.instances[n].source for n in compressed)
    return {
        n: Untrusted(record.reason, record.detail)
        for n, record in zip(compressed, records, strict=True)
        if record.reason is not None
    }


def _one(
    stack: Stack,
    found: Survey,
    kept: NDArray[np.float32] | None,
    refused: Mapping[int, Untrusted],
    workshop: Workshop,
    backend: Backend,
) -> Study | SetAside:
    if stack.refusal is not None or stack.grid is None:
        return _refused(stack, stack.refusal)
    if error := next((refused[index] for index, _ in stack.frames if index in refused), None):
        return _refused(stack, error)
    if not stack.grid.located or not np.isfinite(stack.grid.spacing_mm).all():
        return SetAside(
            stack.subject, "no-geometry", "It is one picture, whose place in the patient is unknown.", stack.study
        )
    shape = (len(stack.frames), *_plane(stack, found.instances))
    grid = nearest_axes_grid(stack.grid.affine, shape, workshop.target.spacing_mm, workshop.target.size)
    try:
        image = _made(stack, found.instances, grid, workshop, backend) if kept is None else kept
    except Untrusted as error:
        return _refused(stack, error)
    headers = [found.instances[index].header for index, _ in stack.frames]
    slices = tuple(header.sop_instance for header in headers)
    return Study(image, grid, headers[0], stack.grid.affine, stack.grid.spacing_mm, shape, slices)


def _plane(stack: Stack, instances: list[Instance]) -> tuple[int, int]:
    header = instances[stack.frames[0][0]].header
    return header.rows, header.columns


def _kept(stack: Stack, instances: list[Instance], workshop: Workshop) -> NDArray[np.float32] | None:
    """From the cache, where the same files became a tensor before."""
    store, pipeline = workshop.store, workshop.target.pipeline().fingerprint()
    if store is None or stack.refusal is not None:
        return None
    remembered = store.get(_stamp(stack, instances, pipeline))
    if remembered is None:
        return None
    found = store.get(Key(pipeline, remembered["pixels"].tobytes().decode("ascii")))
    return None if found is None else np.asarray(found["image"], np.float32)


def _made(stack: Stack, instances: list[Instance], grid: Grid, workshop: Workshop, backend: Backend) -> NDArray[np.float32]:
    """Decoded and computed, and kept where there is a cache."""
    store, pipeline = workshop.store, workshop.target.pipeline().fingerprint()
    volume = load(stack, instances, workers=workshop.workers, digest=store is not None)
    if store is None:
        return _computed(volume, grid, workshop, backend)
    key = Key(pipeline, _identity(volume))
    made = store.get_or_make(key, lambda: {"image": _computed(volume, grid, workshop, backend)})
    store.put(_stamp(stack, instances, pipeline), {"pixels": np.frombuffer(key.pixels.encode("ascii"), np.uint8)})
    return np.asarray(made["image"], np.float32)


def _computed(volume: Volume, grid: Grid, workshop: Workshop, backend: Backend) -> NDArray[np.float32]:
    low, high = workshop.target.window
    made = backend.resample(
        volume.voxels,
        volume.slope,
        volume.intercept,
        to_voxel(volume.affine, grid),
        grid.shape,
        window=Window(low, high),
        padding=volume.padding,
        fill=low,
        edge="constant",
        threads=workshop.workers,
    )
    return np.asarray(backend.to_host(made), np.float32)


def _identity(volume: Volume) -> str:
    """Of all that decides about the tensor but the pipeline: pixels, how to read them, where they lie."""
    scales = [volume.slope.tolist(), volume.intercept.tolist(), volume.padding]
    return digest([volume.pixel_sha256, scales, volume.affine.tolist()])


def _stamp(stack: Stack, instances: list[Instance], pipeline: str) -> Key:
    """Path, size and time of every file, and which of its frames: what changes when a file does."""
    found: list[list[object]] = []
    for index, frame in stack.frames:
        source = instances[index].source
        path, member = source.place or (source.name, "")
        found.append([path, member, source.size, Path(path).stat().st_mtime_ns, frame])
    return Key(REMEMBERED, digest([pipeline, stack.subject, found]))


def _refused(stack: Stack, error: Untrusted | None) -> SetAside:
    reason, text = (error.reason.value, str(error)) if error else ("no-geometry", "It has no grid.")
    return SetAside(stack.subject, reason, text, stack.study)
