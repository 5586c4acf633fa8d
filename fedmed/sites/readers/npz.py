"""MedMNIST-style npz: {train,val,test}_images and {train,val,test}_labels (Yang et al., Sci Data 10:41, 2023)."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedmed.config.part import Part
from fedmed.errors import DataError
from fedmed.sites.cases import Cases
from fedmed.sites.readers.reader import Reader, existing_file

MAX_UNPACKED_BYTES = 8 * 1024**3
PARTS = {"train": "train", "val": "validation", "test": "test"}


class NpzOptions(Part):
    """Which file, and what its classes are called."""

    file: str = "data.npz"
    """File in the folder; unused where `data.folder` itself names a file."""
    classes: tuple[str, ...] = ()
    """Names of labels 0, 1, ...; the numbers themselves when empty."""


def read_npz(folder: Path | None, options: NpzOptions, seed: int) -> Cases:
    """Images `(N, H, W)` or, in colour, `(N, 3, H, W)`, uint8 as stored, with the file's own split."""
    path = existing_file(folder, options.file)
    arrays = load_parts(path)
    y = np.concatenate([labels for _, labels in arrays.values()])
    split = np.concatenate([np.full(len(labels), part) for part, (_, labels) in arrays.items()])
    shapes = {images.shape[1:] for images, _ in arrays.values()}
    if len(shapes) > 1:
        raise DataError(f"{path}: train, val and test images differ in shape: {sorted(shapes)}")
    classes = options.classes or tuple(str(label) for label in range(int(y.max(initial=0)) + 1))
    if len(classes) < 2:
        raise DataError(f"{path}: has the one label 0; learning needs at least two classes")
    return Cases(np.concatenate([images for images, _ in arrays.values()]), y, classes, split=split)


def load_parts(path: Path) -> dict[str, tuple[NDArray[np.generic], NDArray[np.int64]]]:
    """Images and labels of each split of the file; raises DataError for a file that is not of this form."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > MAX_UNPACKED_BYTES:
            raise DataError(f"{path}: unpacks to {unpacked} bytes; at most {MAX_UNPACKED_BYTES} are read")
        with np.load(path, allow_pickle=False) as arrays:
            needed = [f"{part}_{kind}" for part in PARTS for kind in ("images", "labels")]
            if absent := [name for name in needed if name not in arrays]:
                raise DataError(f"{path}: arrays {absent} are missing; found {sorted(arrays.files)}")
            loaded = {name: arrays[name] for name in needed}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be read as npz without pickled objects ({error})") from error
    return {
        split: (_images(path, part, loaded[f"{part}_images"]), _labels(path, part, loaded)) for part, split in PARTS.items()
    }


def _images(path: Path, part: str, images: NDArray[np.generic]) -> NDArray[np.generic]:
    if images.ndim == 4 and images.shape[-1] == 3:
        images = np.moveaxis(images, -1, 1)
    elif images.ndim != 3:
        raise DataError(f"{path}: {part}_images has shape {images.shape}; expected (N, H, W) or (N, H, W, 3)")
    return images if images.dtype == np.uint8 else images.astype(np.float32)


def _labels(path: Path, part: str, loaded: dict[str, NDArray[np.generic]]) -> NDArray[np.int64]:
    """`(N, 1)` or `(N,)` whole numbers -> `(N,)`; several labels per image are another task."""
    labels = loaded[f"{part}_labels"]
    count = len(loaded[f"{part}_images"])
    if labels.shape not in ((count,), (count, 1)) or labels.dtype.kind not in "iu":
        raise DataError(
            f"{path}: {part}_labels has shape {labels.shape} and type {labels.dtype} for {count} images; "
            "expected one whole number per image"
        )
    return labels.reshape(-1).astype(np.int64)


NPZ = Reader(read_npz, NpzOptions)
