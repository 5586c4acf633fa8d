"""Whether an object's pixels may show who it is, and where the image lies in them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydicom.dataset import Dataset

from fedmed.dicom.deid.values import items_of, text_of
from fedmed.dicom.reasons import Reason, Untrusted

WHOLE = 0.97
"""Regions that cover more than this part of the frame point at no place where text is, so they clean nothing."""

# Modalities whose images usually come with text in them, or are taken of a screen, a film or a person.
MODALITIES = re.compile("US|IVUS|BDUS|ES|GM|XC|OP|OPT|OCT|EPS|HD|SC|OT|RG|DOC|SM|VL")
# How a secondary capture was made (PS3.3 C.8.6.1): film, paper, video, workstation, drawing. DI is a detector's own output.
CONVERSIONS = re.compile("DV|DF|SD|WSD|SI|DRW|SYN")
# SOP classes (PS3.4 B.5): secondary capture, single and multi-frame; ultrasound; photographs and videos of visible light.
CLASSES = (
    "1.2.840.10008.5.1.4.1.1.7",
    "1.2.840.10008.5.1.4.1.1.3",
    "1.2.840.10008.5.1.4.1.1.6",
    "1.2.840.10008.5.1.4.1.1.77.1",
)
# Made by a computer from other objects, voxel by voxel: segmentations, parametric maps, dose.
COMPUTED = (
    "1.2.840.10008.5.1.4.1.1.66",
    "1.2.840.10008.5.1.4.1.1.30",
    "1.2.840.10008.5.1.4.1.1.481.2",
)
SHOWN = frozenset(("SCREEN SAVE", "SCREENSHOT", "SCREEN", "DOSE", "DOSE_INFO", "LABEL", "OVERVIEW", "REPORT"))
FRAMES = (0x52009229, 0x52009230)


@dataclass(frozen=True)
class Box:
    """A rectangle of a frame: the first row and column, and those after the last."""

    top: int
    left: int
    bottom: int
    right: int


def boxes_to_keep(dataset: Dataset) -> tuple[Box, ...] | None:
    """Where the image lies, everything else to be blanked; None where the pixels may stay as they are.

    Raises Untrusted (BURNED_IN_TEXT) where text is likely and nothing says where: it is never guessed away (PS3.15 E.3.1).
    """
    said = (text_of(dataset, 0x00280301) or "").strip().upper()
    why = "it says that text is burned in" if said == "YES" else _likely(dataset)
    if said == "NO" or why is None:
        return None
    boxes = _regions(dataset)
    if not boxes:
        raise Untrusted(Reason.BURNED_IN_TEXT, f"{why}, and no region that holds the image is declared")
    if _covered(dataset, boxes) > WHOLE:
        raise Untrusted(Reason.BURNED_IN_TEXT, f"{why}, and the regions declared cover the whole frame")
    return boxes


def _likely(dataset: Dataset) -> str | None:
    """Why text is likely in the pixels of an object that says nothing of it, or None."""
    sop_class = (text_of(dataset, 0x00080016) or "").strip(" \0")
    image_type = [part.strip().upper() for part in (text_of(dataset, 0x00080008) or "").split("\\")]
    if any(_of(sop_class, one) for one in COMPUTED):
        return None
    if SHOWN & set(image_type):
        return "it is a capture of a screen or a label"
    if any(_of(sop_class, one) for one in CLASSES):
        return "its class is one whose pixels usually show text"
    if MODALITIES.fullmatch((text_of(dataset, 0x00080060) or "").strip().upper()):
        return "its modality is one whose pixels usually show text"
    if CONVERSIONS.fullmatch((text_of(dataset, 0x00080064) or "").strip().upper()):
        return "it was captured from film, paper or a screen"
    if image_type[1:2] == ["SECONDARY"] and not _lies_somewhere(dataset):
        return "it is a secondary image that lies nowhere in the patient"
    if (text_of(dataset, 0x00280004) or "").strip() in ("RGB", "PALETTE COLOR") and not _lies_somewhere(dataset):
        return "it is a coloured image that lies nowhere in the patient"
    return None


def _of(sop_class: str, root: str) -> bool:
    return sop_class == root or sop_class.startswith(f"{root}.")


def _lies_somewhere(dataset: Dataset) -> bool:
    """A reformatted slice is a secondary image too; unlike a screen capture it has a place."""
    return bool(text_of(dataset, 0x00200032)) if 0x00200032 in dataset else any(tag in dataset for tag in FRAMES)


def _regions(dataset: Dataset) -> tuple[Box, ...]:
    """The boxes of the Sequence of Ultrasound Regions (PS3.3 C.8.5.5), cut to the frame.

    A region without spatial format, such as a colour bar, holds no image.
    """
    rows, columns = (int(dataset.get(name) or 0) for name in ("Rows", "Columns"))
    boxes = []
    for item in items_of(dataset, 0x00186011) or ():
        corner = [item.get(f"RegionLocation{name}") for name in ("MinY0", "MinX0", "MaxY1", "MaxX1")]
        if not item.get("RegionSpatialFormat") or not all(isinstance(place, int) for place in corner):
            continue
        top, left, bottom, right = corner
        box = Box(max(top, 0), max(left, 0), min(bottom + 1, rows), min(right + 1, columns))
        if box.top < box.bottom and box.left < box.right:
            boxes.append(box)
    return tuple(boxes)


def _covered(dataset: Dataset, boxes: tuple[Box, ...]) -> float:
    """Which part of the frame the largest box covers."""
    area = int(dataset.Rows) * int(dataset.Columns)
    return max((box.bottom - box.top) * (box.right - box.left) for box in boxes) / area
