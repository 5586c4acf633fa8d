"""UCI Heart Disease of four hospitals, prepared as FLamby's Fed-Heart-Disease (du Terrail et al., NeurIPS 2022)."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedmed.config.part import Part
from fedmed.errors import DataError
from fedmed.sites.cases import Cases, pool
from fedmed.sites.readers.reader import MissingData, Reader, existing_file
from fedmed.sites.readers.resampling import train_test_rows

# MD5 as FLamby's download.py states them: most copies in circulation are altered (zeros for '?', headers, line ends).
MD5 = {
    "cleveland": "2d91a8ff69cfd9616aa47b59d6f843db",
    "hungarian": "22e96bee155b5973568101c93b3705f6",
    "switzerland": "9a87f7577310b3917730d06ba9349e20",
    "va": "4249d03ca7711e84f4444768c9426170",
}
COLUMNS = ("age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak")
# Missing at most rows outside Cleveland; the published preparation drops them.
SPARSE = ("slope", "ca", "thal")
TRAIN_SHARE = 0.66
SPLIT_SEED = 43


class HeartOptions(Part):
    """The published 13 features, and what may be added to them."""

    restore_missing: bool = False
    """Adds slope, ca and thal, which the published preparation drops, with a flag each for missing."""
    site_indicator: bool = False
    """Adds one column per site, 1 for its own cases."""
    verify: bool = True
    """Refuse a file whose MD5 is not the published one."""


def read_heart(folder: Path | None, options: HeartOptions, seed: int) -> Cases:
    """740 cases `(N, 13)` float32 (21 with `restore_missing`, 4 more with `site_indicator`), published split.

    Sites in the order cleveland, hungarian, switzerland, va; rows in the order of the files. Raises DataError for a
    file that is missing or not the published one.
    """
    return pool([_hospital(folder, name, options) for name in MD5])


def _hospital(folder: Path | None, name: str, options: HeartOptions) -> Cases:
    if folder is not None and not folder.is_dir():
        raise MissingData(f"{folder} is a file; data.folder must name the folder of the four processed.*.data")
    path = existing_file(folder, f"processed.{name}.data")
    content = path.read_bytes()
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if options.verify and digest != MD5[name]:
        raise DataError(
            f"{path}: MD5 is {digest}, the published file's {MD5[name]}; most copies are altered, so get the "
            "original from the UCI repository, or set data.options.verify to false"
        )
    cells = _cells(path, content)
    cells = cells[~np.isnan(cells[:, [*range(10), 13]]).any(axis=1)]
    labels = (cells[:, 13] > 0).astype(np.int64)
    return Cases(
        x=np.stack([column for _, column in _features(cells, name, options)], axis=1).astype(np.float32),
        y=labels,
        classes=("healthy", "disease"),
        site=np.full(len(labels), name),
        split=_published_split(labels),
        features=tuple(feature for feature, _ in _features(cells, name, options)),
    )


def _cells(path: Path, content: bytes) -> NDArray[np.float64]:
    """Rows of 14 numbers `(N, 14)`, NaN for '?'."""
    rows = []
    for line, text in enumerate(content.decode("latin-1").split(), start=1):
        try:
            row = [float("nan") if cell == "?" else float(cell) for cell in text.split(",")]
        except ValueError as error:
            raise DataError(f"{path}, line {line}: {error}") from error
        if len(row) != 14:
            raise DataError(f"{path}, line {line}: has {len(row)} cells; expected 14")
        rows.append(row)
    if not rows:
        raise DataError(f"{path}: holds no cases")
    return np.array(rows)


def _features(cells: NDArray[np.float64], site: str, options: HeartOptions) -> list[tuple[str, NDArray[np.generic]]]:
    """Named columns in FLamby's order: numbers first, then indicators with the first level dropped."""
    numbers = [(name, cells[:, at]) for at, name in enumerate(COLUMNS) if name not in ("cp", "restecg")]
    indicators = [(f"cp_{level}", cells[:, 2] == level) for level in (2, 3, 4)]
    indicators += [(f"restecg_{level}", cells[:, 6] == level) for level in (1, 2)]
    columns: list[tuple[str, NDArray[np.generic]]] = [*numbers, *indicators]
    if options.restore_missing:
        slope, ca, thal = cells[:, 10], cells[:, 11], cells[:, 12]
        columns += [(f"slope_{level}", slope == level) for level in (2, 3)]
        columns += [("ca", np.nan_to_num(ca)), *((f"thal_{level}", thal == level) for level in (6, 7))]
        columns += [(f"{name}_missing", np.isnan(cells[:, 10 + at])) for at, name in enumerate(SPARSE)]
    if options.site_indicator:
        columns += [(f"site_{name}", np.full(len(cells), name == site)) for name in MD5]
    return columns


def _published_split(labels: NDArray[np.int64]) -> NDArray[np.str_]:
    """FLamby's split: stratified unless a class has two cases or fewer (Switzerland)."""
    counts = np.bincount(labels, minlength=2)
    _, test = train_test_rows(labels, TRAIN_SHARE, SPLIT_SEED, stratify=bool(counts.min() > 2))
    split = np.full(len(labels), "train", dtype="<U10")
    split[test] = "test"
    return split


HEART = Reader(read_heart, HeartOptions)
