"""Copies of a real CT series with lesions planted in them, and their masks: a task whose truth is known.

Only for data that its owner lets be changed: the copies keep the header's other attributes, private ones included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import FileDataset

from fedmed.dicom.geometry import arrange
from fedmed.dicom.header import Plane
from fedmed.dicom.synthetic.lesions import Lesion, fill
from fedmed.dicom.synthetic.phantom import uid
from fedmed.errors import DataError


@dataclass(frozen=True)
class Box:
    """A part of a volume, in voxels: first and one past the last of slices, rows and columns; None is the end."""

    slices: tuple[int, int | None] = (0, None)
    rows: tuple[int, int | None] = (0, None)
    columns: tuple[int, int | None] = (0, None)


@dataclass(frozen=True)
class Planted:
    """What was written, slices in ascending order along the normal."""

    paths: list[Path]
    study: str
    series: str
    affine: NDArray[np.float64]
    mask: NDArray[np.bool_]
    """`(D, H, W)`: the voxels that lesions changed."""


def plant(source: Path, target: Path, lesions: Sequence[Lesion], identity: str, box: Box = Box()) -> Planted:
    """Write the CT slices of the folder `source`, cut to `box`, with `lesions` in them, into the new folder `target`.

    Every UID and the patient's id are made of `identity`: the same one gives the same files. Raises DataError where the
    slices are not grey, uncompressed and of one regular grid.
    """
    slices = [dataset for path in sorted(source.iterdir()) if (dataset := _ct_slice(path)) is not None]
    if not slices:
        raise DataError(f"{source}: holds no CT image")
    whole = arrange([_plane(dataset) for dataset in slices])
    slices = [slices[int(k)] for k in whole.order][slice(*box.slices)]
    stored = np.stack([dataset.pixel_array for dataset in slices])[:, slice(*box.rows), slice(*box.columns)]
    if stored.size == 0:
        raise DataError(f"{source}: {box} holds no voxel of the {len(whole.order)} slices")
    affine = whole.affine.copy()
    affine[:3, 3] = (affine @ [box.slices[0], box.rows[0], box.columns[0], 1])[:3]
    slope, intercept = _rescale(source, slices)
    hu = stored * np.float32(slope) + np.float32(intercept)
    mask = fill(hu, affine, stored.shape, lesions)
    stored[mask] = np.clip(np.rint((hu[mask] - intercept) / slope), 0, (1 << int(slices[0].BitsStored)) - 1)
    target.mkdir(parents=True)
    paths = [target / f"{k:04d}.dcm" for k in range(len(slices))]
    for k, (dataset, path) in enumerate(zip(slices, paths, strict=True)):
        _rename(dataset, identity, k)
        _replace(dataset, stored[k], affine @ [k, 0, 0, 1])
        dataset.save_as(path)
    return Planted(paths, str(uid(identity, "study")), str(uid(identity, "series")), affine, mask)


def _ct_slice(path: Path) -> FileDataset | None:
    """None for what is no CT image, such as a DICOMDIR."""
    dataset = pydicom.dcmread(path)
    if str(dataset.get("Modality", "")) != "CT" or "PixelData" not in dataset:
        return None
    grey = str(dataset.PhotometricInterpretation) == "MONOCHROME2" and int(dataset.PixelRepresentation) == 0
    if not grey or dataset.file_meta.TransferSyntaxUID.is_compressed or int(dataset.BitsAllocated) != 16:
        raise DataError(f"{path}: lesions are planted in uncompressed, unsigned, grey 16-bit CT only")
    return dataset


def _plane(dataset: FileDataset) -> Plane:
    x, y, z = map(float, dataset.ImagePositionPatient)
    a, b, c, d, e, f = map(float, dataset.ImageOrientationPatient)
    between_rows, between_columns = map(float, dataset.PixelSpacing)
    thickness = float(dataset.get("SliceThickness") or 1)
    return Plane((x, y, z), (a, b, c), (d, e, f), (between_rows, between_columns), thickness)


def _rescale(source: Path, slices: list[FileDataset]) -> tuple[float, float]:
    found = {(float(dataset.RescaleSlope), float(dataset.RescaleIntercept)) for dataset in slices}
    if len(found) > 1:
        raise DataError(f"{source}: its slices are scaled in {len(found)} ways; one is expected of CT")
    return found.pop()


def _rename(dataset: FileDataset, identity: str, k: int) -> None:
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = uid(identity, "study"), uid(identity, "series")
    dataset.FrameOfReferenceUID = uid(identity, "frame of reference")
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid(identity, f"image {k}")
    dataset.PatientID = f"P{uid(identity, 'patient')[-8:]}"
    dataset.PatientName = f"Planted^{dataset.PatientID}"
    dataset.AccessionNumber = f"A{uid(identity, 'accession')[-8:]}"


def _replace(dataset: FileDataset, stored: NDArray[np.uint16], position: NDArray[np.float64]) -> None:
    dataset.Rows, dataset.Columns = stored.shape
    # 16 letters at most (PS3.5 section 6.2, DS).
    dataset.ImagePositionPatient = [f"{value:.6f}" for value in position[:3].tolist()]
    order = "<" if dataset.file_meta.TransferSyntaxUID.is_little_endian else ">"
    dataset.PixelData = stored.astype(f"{order}u2").tobytes()
