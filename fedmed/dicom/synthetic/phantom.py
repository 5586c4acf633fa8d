"""Synthetic chest radiographs of four hospitals whose scanners differ, written as DICOM folders with manifests.

Nothing here is a person: anatomy, patients and identifiers are drawn from a seed. The label is an opacity in a lung.
"""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
)

from fedmed.clock import generator
from fedmed.dicom.synthetic.thorax import Beam, radiograph


@dataclass(frozen=True)
class Scanner:
    """How one hospital's machine samples, scales and stores an image."""

    rows: int
    columns: int
    spacing_mm: float
    beam: Beam
    bits_stored: int
    slope: float
    intercept: float
    inverted: bool
    """Stored as MONOCHROME1: the lowest value is white."""
    signed: bool = False
    digital: bool = False
    """DX For Presentation, which has no rescale (PS3.3 C.8.11.3); else CR."""


@dataclass(frozen=True)
class Hospital:
    """One site of the demonstration."""

    name: str
    patients: int
    prevalence: float
    scanner: Scanner


HOSPITALS = (
    Hospital(
        "north-university",
        140,
        0.5,
        Scanner(224, 224, 1.55, Beam(gain=1.0, gamma=1.0, noise=0.020, blur=0.0), 12, 1.0, 0.0, False),
    ),
    Hospital(
        "east-city",
        100,
        0.4,
        Scanner(192, 176, 1.9, Beam(gain=0.85, gamma=1.25, noise=0.030, blur=0.5), 10, 1.0, 0.0, True, digital=True),
    ),
    Hospital(
        "south-childrens",
        60,
        0.3,
        Scanner(160, 160, 2.1, Beam(gain=1.1, gamma=0.8, noise=0.040, blur=0.0, body=0.88), 14, 0.25, -512.0, False),
    ),
    Hospital(
        "west-mobile",
        36,
        0.6,
        Scanner(128, 144, 2.5, Beam(gain=0.9, gamma=1.1, noise=0.055, blur=0.8), 12, 2.0, 1024.0, True, signed=True),
    ),
)


def write_hospitals(folder: Path, seed: int, *, share: float = 1.0) -> list[Path]:
    """One folder per hospital below `folder`, each with `manifest.csv` and `images/*.dcm`; returns the folders.

    `share` scales the number of patients. The same seed writes the same files.
    """
    return [_write_hospital(folder / hospital.name, hospital, seed, share) for hospital in HOSPITALS]


def _write_hospital(folder: Path, hospital: Hospital, seed: int, share: float) -> Path:
    (folder / "images").mkdir(parents=True)
    count = max(4, round(hospital.patients * share))
    diseased = generator(seed, hospital.name, "labels").permutation(count) < round(count * hospital.prevalence)
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as stream:
        manifest = csv.writer(stream)
        manifest.writerow(["path", "label", "patient"])
        for number, opacity in enumerate(diseased.tolist(), start=1):
            patient = f"{hospital.name[:1].upper()}{number:04d}"
            path = f"images/{patient}.dcm"
            rng = generator(seed, hospital.name, number)
            _write_study(folder / path, hospital.scanner, patient, opacity, rng, f"{seed}/{hospital.name}/{number}")
            manifest.writerow([path, "opacity" if opacity else "clear", patient])
    return folder


def _write_study(path: Path, scanner: Scanner, patient: str, opacity: bool, rng: np.random.Generator, identity: str) -> None:
    image = radiograph(scanner.rows, scanner.columns, scanner.spacing_mm, scanner.beam, opacity, rng)
    storage = DigitalXRayImageStorageForPresentation if scanner.digital else ComputedRadiographyImageStorage
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = storage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid(identity, "image")
    dataset.StudyInstanceUID = uid(identity, "study")
    dataset.SeriesInstanceUID = uid(identity, "series")
    _describe(dataset, scanner, patient)
    _store_pixels(dataset, scanner, image)
    dataset.save_as(path, enforce_file_format=True)


def _describe(dataset: Dataset, scanner: Scanner, patient: str) -> None:
    """Patient, study and equipment; type 2 attributes are present and empty (PS3.5 section 7.4.3)."""
    dataset.PatientID = patient
    dataset.PatientName = f"Phantom^{patient}"
    for keyword in (
        "PatientBirthDate",
        "PatientSex",
        "StudyDate",
        "StudyTime",
        "StudyID",
        "AccessionNumber",
        "ReferringPhysicianName",
        "Laterality",
    ):
        setattr(dataset, keyword, "")
    dataset.Modality = "DX" if scanner.digital else "CR"
    dataset.Manufacturer = "fedmed synthetic"
    dataset.BodyPartExamined = "CHEST"
    dataset.ViewPosition = "PA"
    dataset.PatientOrientation = ["L", "F"]
    dataset.SeriesNumber = dataset.InstanceNumber = 1
    dataset.ImageType = ["DERIVED", "PRIMARY"]
    dataset.BurnedInAnnotation = "NO"
    dataset.ImagerPixelSpacing = [scanner.spacing_mm, scanner.spacing_mm]
    if scanner.digital:
        dataset.PresentationIntentType = "FOR PRESENTATION"
        dataset.PresentationLUTShape = "INVERSE" if scanner.inverted else "IDENTITY"
        dataset.LossyImageCompression = "00"
        dataset.PixelIntensityRelationship = "LOG"
        dataset.PixelIntensityRelationshipSign = 1


def _store_pixels(dataset: Dataset, scanner: Scanner, image: NDArray[np.float32]) -> None:
    """`image` (rows, columns) in 0 to 1 as 16-bit words of `bits_stored` bits."""
    top = (1 << scanner.bits_stored) - 1
    stored = np.rint(np.clip(1 - image if scanner.inverted else image, 0, 1) * top).astype(np.int32)
    if scanner.signed:
        stored -= 1 << (scanner.bits_stored - 1)
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME1" if scanner.inverted else "MONOCHROME2"
    dataset.Rows, dataset.Columns = stored.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, scanner.bits_stored, scanner.bits_stored - 1
    dataset.PixelRepresentation = int(scanner.signed)
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = scanner.slope, scanner.intercept, "US"
    dataset.PixelData = stored.astype("<i2" if scanner.signed else "<u2").tobytes()


def uid(identity: str, level: str) -> UID:
    """A UID of the UUID form (PS3.5 B.2), the same for the same identity."""
    digest = hashlib.sha256(f"{identity}/{level}".encode()).digest()
    return UID(f"2.25.{int.from_bytes(digest[:15], 'big')}")
