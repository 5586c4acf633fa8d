"""CHASE_DB1 (Fraz et al. 2012): retinal photographs of 14 children, both eyes, every vessel drawn by two graders."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fedmed.config.part import Part
from fedmed.errors import DataError
from fedmed.sites.cases import Cases
from fedmed.sites.readers.pixels import read_labels, read_picture
from fedmed.sites.readers.reader import MissingData, Reader, existing_file

CHILDREN = 14
GRID = (960, 999)
SITES = {"children-01-05": range(1, 6), "children-06-10": range(6, 11), "children-11-14": range(11, 15)}
"""The set names no clinics; three groups of children by number stand for them."""


class ChaseOptions(Part):
    """Whose drawing is the truth, and how much of the photograph is seen."""

    grader: Literal[1, 2] = 1
    colour: bool = False
    """All three channels; else green alone, in which vessels stand out most."""


def read_chase(folder: Path | None, options: ChaseOptions, seed: int) -> Cases:
    """28 photographs `(N, 960, 999)` uint8, or `(N, 3, 960, 999)` in colour, and masks; patient is the child.

    Raises MissingData naming a file that is not there, DataError for one of another size or with other labels.
    """
    if folder is not None and not folder.is_dir():
        raise MissingData(f"{folder} is a file; data.folder must name the folder of Image_01L.jpg and its masks")
    sites = [(name, child) for name, children in SITES.items() for child in children]
    eyes = [(name, child, eye) for name, child in sites for eye in "LR"]
    stems = [f"Image_{child:02d}{eye}" for _, child, eye in eyes]
    grader = {1: "1stHO", 2: "2ndHO"}[options.grader]
    return Cases(
        x=np.stack([_photograph(existing_file(folder, f"{stem}.jpg"), options.colour) for stem in stems]),
        y=np.stack([_mask(existing_file(folder, f"{stem}_{grader}.png")) for stem in stems]),
        classes=("background", "vessel"),
        patient=np.array([f"child-{child:02d}" for _, child, _ in eyes], dtype=np.str_),
        site=np.array([name for name, _, _ in eyes], dtype=np.str_),
    )


def _photograph(path: Path, colour: bool) -> NDArray[np.uint8]:
    channels = np.rint(read_picture(path, True) * 255).astype(np.uint8)
    _refuse_other_grid(path, channels.shape[1:])
    return channels if colour else channels[1]


def _mask(path: Path) -> NDArray[np.uint8]:
    drawn = read_labels(path)
    _refuse_other_grid(path, drawn.shape)
    if not set(np.unique(drawn).tolist()) <= {0, 1, 255}:
        raise DataError(f"{path}: holds labels other than 0 and 1 (or 255); CHASE_DB1 has vessels and background")
    return (drawn > 0).astype(np.uint8)


def _refuse_other_grid(path: Path, shape: tuple[int, ...]) -> None:
    if shape != GRID:
        raise DataError(f"{path}: has {shape} pixels; CHASE_DB1 has {GRID} (rows, columns)")


CHASE = Reader(read_chase, ChaseOptions)
