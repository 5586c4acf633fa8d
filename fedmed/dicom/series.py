"""A stack of frames -> a volume: allocated once, after the caps, and every file decoded straight into its slice."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from fedmed.dicom.instance import Instance, pixel_dtype
from fedmed.dicom.limits import LIMITS, Limits
from fedmed.dicom.pixels import decode, decode_into
from fedmed.dicom.reasons import Reason, Untrusted
from fedmed.dicom.stacks import Stack
from fedmed.dicom.units import in_units
from fedmed.dicom.volume import Volume

Voxels = NDArray[np.generic]


def load(
    stack: Stack, instances: Sequence[Instance], *, workers: int = 1, digest: bool = True, limits: Limits = LIMITS
) -> Volume:
    """The volume of a stack; `instances` are those whose headers the stack was made of, by the same index.

    `workers` threads decode. Without `digest`, which costs as much as all the rest for uncompressed files, the volume has
    no `pixel_sha256`. Peak memory is the volume, one frame a thread, and for a file of several frames of which only
    some are wanted, those. Raises the stack's own refusal where it has one, and Untrusted for pixels that cannot be decoded
    (with the file's name) or a volume larger than the limits.
    """
    if stack.grid is None:
        raise stack.refusal or Untrusted(Reason.NO_GEOMETRY, "It has no grid.")
    first = instances[stack.frames[0][0]].header
    voxels = _allocated(stack, instances, limits)
    _decode_all(stack, instances, voxels, workers)
    units = in_units(stack, instances, voxels)
    return Volume(
        voxels=units.voxels,
        slope=units.slope,
        intercept=units.intercept,
        padding=units.padding,
        affine=stack.grid.affine,
        spacing_mm=stack.grid.spacing_mm,
        modality=first.modality,
        study=first.study,
        series=first.series,
        accession=first.accession,
        patient=first.patient,
        pixel_sha256=hashlib.sha256(units.voxels.data).hexdigest() if digest else "",
        located=stack.grid.located,
    )


def _allocated(stack: Stack, instances: Sequence[Instance], limits: Limits) -> Voxels:
    """Zeroless `(D, H, W)` of the decoded samples' type, 8 bits widened to 16."""
    first = instances[stack.frames[0][0]]
    dtype = pixel_dtype(first)
    if dtype.itemsize == 1:
        dtype = np.dtype(f"{dtype.kind}2")
    shape = (len(stack.frames), first.header.rows, first.header.columns)
    size = math.prod(shape) * dtype.itemsize
    if size > limits.decoded_bytes:
        raise Untrusted(Reason.TOO_LARGE, f"The volume has {size} bytes; at most {limits.decoded_bytes} are decoded.")
    return np.empty(shape, dtype)


def _decode_all(stack: Stack, instances: Sequence[Instance], voxels: Voxels, workers: int) -> None:
    wanted: dict[int, list[tuple[int, int]]] = {}
    for place, (index, frame) in enumerate(stack.frames):
        wanted.setdefault(index, []).append((place, frame))

    def one(item: tuple[int, list[tuple[int, int]]]) -> None:
        index, frames = item
        try:
            _decode_file(instances[index], frames, voxels, workers if len(wanted) == 1 else 1)
        except Untrusted as error:
            name = instances[index].header.sop_instance
            raise Untrusted(error.reason, f"SOP instance {name}: {error.detail}") from error

    if workers == 1 or len(wanted) == 1:
        for item in wanted.items():
            one(item)
        return
    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(one, wanted.items()):
            pass


def _decode_file(instance: Instance, wanted: list[tuple[int, int]], voxels: Voxels, workers: int) -> None:
    """`wanted`: places in the volume and the frames that go there."""
    if instance.header.frames == 1:
        decode_into(instance, voxels[wanted[0][0]])
    elif len(wanted) == instance.header.frames == len(voxels):
        decode_into(instance, voxels, workers=workers)
        _permute(voxels, [frame for _, frame in wanted])
    else:
        whole = decode(instance, workers=workers)
        for place, frame in wanted:
            voxels[place] = whole[frame]


def _permute(voxels: Voxels, order: list[int]) -> None:
    """Slice d becomes what slice `order[d]` was, in place, by the cycles of the permutation."""
    left = set(range(len(order)))
    while left:
        start = place = left.pop()
        if order[start] == start:
            continue
        kept = voxels[start].copy()
        while order[place] != start:
            voxels[place] = voxels[order[place]]
            place = order[place]
            left.remove(place)
        voxels[place] = kept
