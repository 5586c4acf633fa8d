"""DICOM SEG (PS3.3 A.51) as masks on the series that they were drawn on, joined by the SOP instances they refer to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmed.dicom.faults import UNREADABLE
from fedmed.dicom.limits import LIMITS, Limits
from fedmed.dicom.reasons import Reason, Untrusted
from fedmed.errors import MissingPart, first_line

SEG_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"
TOLERANCE_MM = 0.1
MAX_SEGMENTS = 255


def masks_of(
    path: Path,
    affine: NDArray[np.float64],
    sop_instances: Sequence[str],
    shape: tuple[int, int, int],
    limits: Limits = LIMITS,
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Masks `(D, H, W)` uint8 of the SEG at `path`: 0 background, k the k-th segment; and the segments' labels in order.

    `affine` is the series' `Volume.affine` (index `(d, h, w, 1)` -> LPS mm), `sop_instances` its SOP instance UIDs by
    slice. A slice that no frame refers to has nothing drawn in it. Frames must lie within 0.1 mm of the slices that they
    refer to, corner by corner: a reference alone says nothing of a mirrored or cropped grid.

    Raises Untrusted for a file that is too large, is no SEG, refers to slices outside the series, lies elsewhere, or
    whose segments overlap (one voxel has one class here); MissingPart without highdicom.
    """
    try:
        import highdicom
    except ImportError as error:
        raise MissingPart("DICOM SEG needs highdicom; install it with: pip install 'fedmed[imaging]'") from error
    dataset = _opened(path, shape, limits)
    if len(sop_instances) != shape[0]:
        raise ValueError(f"{len(sop_instances)} SOP instances for {shape[0]} slices; one each is needed")
    _check_places(dataset, affine, {uid: d for d, uid in enumerate(sop_instances)}, shape)
    try:
        found = highdicom.seg.Segmentation.from_dataset(dataset, copy=False)
        # positions are compared above, which the flag that many writers leave out would only promise
        masks = found.get_pixels_by_source_instance(
            list(sop_instances),
            combine_segments=True,
            relabel=True,
            ignore_spatial_locations=True,
            assert_missing_frames_are_empty=True,
        )
    except UNREADABLE as error:
        raise Untrusted(Reason.MASK_MISMATCH, f"{path.name}: {first_line(error)}") from error
    labels = tuple(str(found.get_segment_description(n).segment_label) for n in sorted(found.segment_numbers))
    return masks.astype(np.uint8), labels


def _opened(path: Path, shape: tuple[int, int, int], limits: Limits) -> Any:
    """The dataset, once its header says that it may be read."""
    import pydicom

    if (size := path.stat().st_size) > limits.file_bytes:
        raise Untrusted(Reason.TOO_LARGE, f"{path.name}: {size} bytes; at most {limits.file_bytes} are opened")
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True)
        kind, segments = str(header.SOPClassUID), len(header.SegmentSequence)
        frames, rows, columns = (int(header[name].value) for name in ("NumberOfFrames", "Rows", "Columns"))
    except UNREADABLE as error:
        raise Untrusted(Reason.UNREADABLE, f"{path.name}: {first_line(error)}") from error
    if kind != SEG_STORAGE or segments > MAX_SEGMENTS:
        raise Untrusted(
            Reason.MASK_MISMATCH, f"{path.name}: SOP class {kind}, {segments} segments; a SEG of at most 255 is one"
        )
    if rows * columns * max(frames, 1) > min(limits.decoded_bytes, limits.expansion * max(size, 1)):
        raise Untrusted(Reason.TOO_LARGE, f"{path.name}: {frames} frames of {rows} x {columns} in {size} bytes")
    if (rows, columns) != shape[1:]:
        raise Untrusted(Reason.MASK_MISMATCH, f"{path.name}: frames of {(rows, columns)} on slices of {shape[1:]} pixels")
    try:
        dataset = pydicom.dcmread(path)
    except UNREADABLE as error:
        raise Untrusted(Reason.UNREADABLE, f"{path.name}: {first_line(error)}") from error
    try:
        if dataset.file_meta.TransferSyntaxUID.is_compressed:
            _ = dataset.pixel_array  # highdicom would say the same of a decoder that is missing and of masks that differ
    except UNREADABLE as error:
        raise Untrusted(Reason.DECODE_FAILED, f"{path.name}: {first_line(error)}") from error
    return dataset


def _check_places(dataset: Any, affine: NDArray[np.float64], slices: dict[str, int], shape: tuple[int, int, int]) -> None:
    """Raise Untrusted unless every frame lies where the slice that it refers to lies."""
    [shared] = dataset.SharedFunctionalGroupsSequence
    ends = np.array([(0, 0), (shape[1] - 1, 0), (0, shape[2] - 1)], dtype=np.float64)
    for number, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence, 1):
        try:
            source = str(frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID)
            corners = _corners(shared, frame, ends)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise Untrusted(Reason.NO_GEOMETRY, f"frame {number} states no source or no place: {error}") from error
        if source not in slices:
            raise Untrusted(Reason.MASK_MISMATCH, f"frame {number} refers to a slice that is not in the series")
        index = np.column_stack([np.full(3, slices[source]), ends, np.ones(3)])
        apart = float(np.linalg.norm((index @ affine.T)[:, :3] - corners, axis=1).max())
        if not apart <= TOLERANCE_MM:
            raise Untrusted(
                Reason.MASK_MISMATCH, f"frame {number} lies {apart:.2f} mm beside its slice; at most 0.1 is rounding"
            )


def _corners(shared: Any, frame: Any, ends: NDArray[np.float64]) -> NDArray[np.float64]:
    """Three corners of a frame in mm (PS3.3 C.7.6.2.1.1): `(3, 3)`."""

    def group(name: str) -> Any:
        return (frame if name in frame else shared)[name].value[0]

    position = np.array(group("PlanePositionSequence").ImagePositionPatient, dtype=np.float64)
    orientation = np.array(group("PlaneOrientationSequence").ImageOrientationPatient, dtype=np.float64)
    between_rows, between_columns = (float(mm) for mm in group("PixelMeasuresSequence").PixelSpacing)
    along = np.stack([orientation[3:] * between_rows, orientation[:3] * between_columns])
    return np.asarray(position + ends @ along)
