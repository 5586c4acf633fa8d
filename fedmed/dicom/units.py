"""Stored values of a volume -> modality units, as one slope and intercept a slice; tables and MONOCHROME1 included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedmed.dicom.instance import Instance
from fedmed.dicom.luts import modality_table, stored_range
from fedmed.dicom.stacks import Stack

Voxels = NDArray[np.generic]
NO_IMAGE = -1
"""Where padding was, in voxels that went through a table: no table has it."""


@dataclass(frozen=True)
class Units:
    """How the voxels `(D, H, W)` are read: `voxels[d] * slope[d] + intercept[d]`."""

    voxels: Voxels
    slope: NDArray[np.float32]
    intercept: NDArray[np.float32]
    padding: tuple[int, int] | None


def in_units(stack: Stack, instances: Sequence[Instance], voxels: Voxels) -> Units:
    """Modality units (PS3.3 C.11.1) of the decoded `voxels` of a stack; they are overwritten where a table replaces them.

    MONOCHROME1 is turned so that bright is bright, by the slope's sign, mirrored at the middle of what the bits can hold:
    not of this volume, so that equal values stay equal across volumes. Padding stays a range of stored values.
    """
    padding = next((p for index, _ in stack.frames if (p := instances[index].header.padding) is not None), None)
    first = instances[stack.frames[0][0]].header
    if first.modality_table:
        voxels, padding = _through_tables(stack, instances, voxels, padding)
        slope, intercept = np.ones(len(voxels)), np.zeros(len(voxels))
    else:
        rescales = [instances[index].header.rescales[frame] for index, frame in stack.frames]
        slope = np.array([rescale.slope for rescale in rescales])
        intercept = np.array([rescale.intercept for rescale in rescales])
    if first.photometric == "MONOCHROME1":
        slope, intercept = -slope, _mirror(stack, instances, slope, intercept)
    return Units(voxels, slope.astype(np.float32), intercept.astype(np.float32), padding)


def _mirror(
    stack: Stack, instances: Sequence[Instance], slope: NDArray[np.float64], intercept: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Units of the lowest and the highest stored value together, less the intercept that is in the units already."""
    first = instances[stack.frames[0][0]]
    ends = np.array(stored_range(first))
    if first.header.modality_table:
        return np.array([float(modality_table(instances[index])(ends).sum(dtype=np.int64)) for index, _ in stack.frames])
    return slope * float(ends.sum()) + intercept


def _through_tables(
    stack: Stack, instances: Sequence[Instance], voxels: Voxels, padding: tuple[int, int] | None
) -> tuple[Voxels, tuple[int, int] | None]:
    """Each slice through its own Modality LUT (PS3.3 C.11.1.1), whose entries have 16 bits at most."""
    mapped: Voxels = voxels.view(np.uint16) if padding is None and voxels.itemsize == 2 else np.empty(voxels.shape, np.int32)
    for place, (index, _) in enumerate(stack.frames):
        stored = voxels[place]
        hidden = None if padding is None else (stored >= padding[0]) & (stored <= padding[1])
        mapped[place] = modality_table(instances[index])(stored)
        if hidden is not None:
            mapped[place][hidden] = NO_IMAGE
    return mapped, None if padding is None else (NO_IMAGE, NO_IMAGE)
