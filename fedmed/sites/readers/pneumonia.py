"""PneumoniaMNIST (MedMNIST v2; Kermany et al. 2018): chest radiographs of children, 28 x 28."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedmed.config.part import Part
from fedmed.errors import DataError
from fedmed.sites.cases import Cases
from fedmed.sites.readers.npz import load_parts
from fedmed.sites.readers.reader import MissingData, Reader

OFFICIAL = "pneumoniamnist.npz"
MANY_PNEUMONIAS = "pneumoniamnist_A_imbalanced_train.npz"
ALL_NORMALS = "pneumoniamnist_B_balanced.npz"
# Normal and pneumonia images of each official split (MedMNIST v2, Table 2: 4,708 / 524 / 624).
COUNTS = {"train": (1214, 3494), "validation": (135, 389), "test": (234, 390)}

Parts = dict[str, tuple[NDArray[np.generic], NDArray[np.int64]]]


class PneumoniaOptions(Part):
    """PneumoniaMNIST has nothing to set."""


def read_pneumonia(folder: Path | None, options: PneumoniaOptions, seed: int) -> Cases:
    """5,856 images `(N, 28, 28)` uint8 with the official split, from the official file or from two derived ones.

    The derived files are an unbalanced one, whose training part has all pneumonias, and a balanced one, whose training
    part has all normals. Raises DataError unless every split has its official count of each class.
    """
    parts = _parts(folder)
    for split, (images, labels) in parts.items():
        counts = tuple(np.bincount(labels, minlength=2).tolist())
        if counts != COUNTS[split] or images.shape[1:] != (28, 28):
            raise DataError(
                f"{folder}: {split} has {counts} normal and pneumonia images of {images.shape[1:]}; PneumoniaMNIST has "
                f"{COUNTS[split]} of (28, 28)"
            )
    return Cases(
        x=np.concatenate([images for images, _ in parts.values()]),
        y=np.concatenate([labels for _, labels in parts.values()]),
        classes=("normal", "pneumonia"),
        split=np.concatenate([np.full(len(labels), split) for split, (_, labels) in parts.items()]),
    )


def _parts(folder: Path | None) -> Parts:
    if folder is None:
        raise MissingData("no data folder was given")
    if folder.is_file():
        return load_parts(folder)
    if (folder / OFFICIAL).is_file():
        return load_parts(folder / OFFICIAL)
    if not all((folder / name).is_file() for name in (MANY_PNEUMONIAS, ALL_NORMALS)):
        raise MissingData(f"{folder} holds neither {OFFICIAL} nor both {MANY_PNEUMONIAS} and {ALL_NORMALS}")
    first, second = load_parts(folder / MANY_PNEUMONIAS), load_parts(folder / ALL_NORMALS)
    (images_a, labels_a), (images_b, labels_b) = first["train"], second["train"]
    images = np.concatenate([images_a[labels_a == 1], images_b[labels_b == 0]])
    labels = np.concatenate([labels_a[labels_a == 1], labels_b[labels_b == 0]])
    return {"train": (images, labels), "validation": first["validation"], "test": first["test"]}


PNEUMONIA = Reader(read_pneumonia, PneumoniaOptions)
