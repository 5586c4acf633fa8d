"""Synthetic chest CT series: a body with lungs and spine, and lesions in its lungs on demand.

Nothing here is a person. The same seed gives the same series, byte for byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from fedmed.clock import generator
from fedmed.dicom.synthetic.lesions import Lesion, fill
from fedmed.dicom.synthetic.phantom import uid

Floats = NDArray[np.float32]
AIR, LUNG, FAT, TISSUE, BONE = -1000.0, -820.0, -90.0, 40.0, 400.0  # HU
STORED_OFFSET, STORED_TOP = 1024, 4095  # 12 bits, intercept -1024
LUNG_SIDE_MM, LUNG_MM = 72.0, (120.0, 78.0, 50.0)  # half axes: head to foot, front to back, side to side


@dataclass(frozen=True)
class Protocol:
    """How a series samples the body; its middle is the origin of the patient's coordinates."""

    slices: int = 24
    rows: int = 96
    columns: int = 96
    gap_mm: float = 5.0
    spacing_mm: tuple[float, float] = (3.6, 3.6)
    """Between rows, between columns."""
    noise_hu: float = 20.0

    @property
    def shape(self) -> tuple[int, int, int]:
        """(D, H, W)."""
        return self.slices, self.rows, self.columns

    @property
    def affine(self) -> NDArray[np.float64]:
        """`(4, 4)`: index `(d, h, w, 1)` -> patient mm, LPS+; axial, the first slice at the feet."""
        steps = np.array([self.gap_mm, *self.spacing_mm])
        affine = np.zeros((4, 4))
        affine[[2, 1, 0], [0, 1, 2]] = steps
        affine[:3, 3] = np.round(-(steps * (np.array(self.shape) - 1) / 2)[::-1], 4)
        affine[3, 3] = 1
        return affine


PROTOCOL = Protocol()


@dataclass(frozen=True)
class Series:
    """A synthetic series and the truth about it."""

    slices: list[Dataset]
    """In ascending order along the normal, each ready to be written."""
    stored: NDArray[np.uint16]
    """`(D, H, W)`: HU + 1024."""
    affine: NDArray[np.float64]
    lesions: tuple[Lesion, ...]
    mask: NDArray[np.bool_]
    """`(D, H, W)`: where the lesions are."""


def synthesise(seed: int, name: str = "ct", protocol: Protocol = PROTOCOL, lesions: int = 0) -> Series:
    """One series, named `name` under `seed`, with that many lesions in its lungs."""
    rng = generator(seed, "ct", name)
    hu = _body(protocol, rng)
    planted = tuple(_lesion(rng) for _ in range(lesions))
    mask = fill(hu, protocol.affine, protocol.shape, planted)
    hu += np.float32(protocol.noise_hu) * rng.standard_normal(hu.shape, dtype=np.float32)
    stored = np.rint(np.clip(hu + STORED_OFFSET, 0, STORED_TOP)).astype(np.uint16)
    slices = [_slice(protocol, stored[k], k, f"{seed}/ct/{name}") for k in range(protocol.slices)]
    return Series(slices, stored, protocol.affine, planted, mask)


def write(slices: list[Dataset], folder: Path) -> list[Path]:
    """Write the slices as `folder/0000.dcm` and on, in the given order."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:04d}.dcm" for number in range(len(slices))]
    for path, dataset in zip(paths, slices, strict=True):
        dataset.save_as(path, enforce_file_format=True)
    return paths


def _body(protocol: Protocol, rng: np.random.Generator) -> Floats:
    """`(D, H, W)` float32 in HU, without noise."""
    affine = protocol.affine
    z, y, x = (
        (affine[axis, 3] + affine[axis, 2 - axis] * np.arange(protocol.shape[2 - axis])).astype(np.float32)
        for axis in (2, 1, 0)
    )
    z, y, x = z[:, None, None], y[None, :, None], x[None, None, :]
    width, depth = rng.normal(158, 4), rng.normal(112, 4)
    trunk = (x / np.float32(width)) ** 2 + (y / np.float32(depth)) ** 2
    hu = np.where(trunk < 0.86, np.float32(TISSUE), np.where(trunk < 1, np.float32(FAT), np.float32(AIR)))
    hu = np.repeat(hu, protocol.slices, axis=0)
    for side in (-1, 1):
        long, deep, wide = (np.float32(half * rng.normal(1, 0.03)) for half in LUNG_MM)
        hu[((x - np.float32(side * LUNG_SIDE_MM)) / wide) ** 2 + (y / deep) ** 2 + (z / long) ** 2 < 1] = LUNG
    spine = (x / np.float32(18)) ** 2 + ((y - np.float32(72)) / np.float32(16)) ** 2 < 1
    hu[np.broadcast_to(spine, hu.shape)] = BONE
    return hu


def _lesion(rng: np.random.Generator) -> Lesion:
    """Well inside one of the lungs."""
    direction = rng.normal(size=3)
    away = direction / np.linalg.norm(direction) * rng.uniform(0, 0.65) * np.array(LUNG_MM[::-1])
    x, y, z = away.tolist()
    side = LUNG_SIDE_MM if rng.random() < 0.5 else -LUNG_SIDE_MM
    return Lesion((x + side, y, z * 0.5), rng.uniform(6, 13))


def _slice(protocol: Protocol, stored: NDArray[np.uint16], k: int, identity: str) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid(identity, f"image {k}")
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = uid(identity, "study"), uid(identity, "series")
    dataset.FrameOfReferenceUID = uid(identity, "frame of reference")
    dataset.PatientID = f"P{uid(identity, 'patient')[-8:]}"
    dataset.PatientName = f"Phantom^{dataset.PatientID}"
    # Type 2: present and empty (PS3.5 section 7.4.3).
    for keyword in ("PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID", "ReferringPhysicianName"):
        setattr(dataset, keyword, "")
    dataset.AccessionNumber = f"A{uid(identity, 'accession')[-8:]}"
    dataset.Modality, dataset.Manufacturer, dataset.BodyPartExamined = "CT", "fedmed synthetic", "CHEST"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.PatientPosition, dataset.PositionReferenceIndicator = "HFS", ""
    dataset.SeriesNumber, dataset.AcquisitionNumber, dataset.InstanceNumber = 1, 1, k + 1
    affine = protocol.affine
    dataset.ImagePositionPatient = [round(float(value), 4) for value in (affine @ [k, 0, 0, 1])[:3]]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.SliceThickness = list(protocol.spacing_mm), protocol.gap_mm
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = stored.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, -STORED_OFFSET, "HU"
    dataset.WindowCenter, dataset.WindowWidth = 40, 400
    dataset.PixelData = stored.astype("<u2").tobytes()
    return dataset
