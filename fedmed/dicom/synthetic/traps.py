"""Series that readers get wrong, each made from a sound one: what intake must read right, or refuse and say why.

`TRAPS` is the list; every trap says which it is. The changes are those seen in the field: order by Instance Number, holes
that become another spacing, lost gantry tilt, padding that becomes tissue.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedCTImageStorage

from fedmed.clock import generator
from fedmed.dicom.reasons import Reason
from fedmed.dicom.synthetic.ct_phantom import PROTOCOL, Protocol, synthesise, write
from fedmed.dicom.synthetic.phantom import uid

Slices = list[Dataset]
PADDING, PADDED_ROWS, TILT_DEGREES = -2000, 10, 15.0


@dataclass(frozen=True)
class Trap:
    """One way in which a series can mislead."""

    change: Callable[[Slices], Slices]
    """Sound slices in order -> the trap's; it may change them in place."""
    reason: Reason | None
    """Why it must be refused; None where it must be read right."""
    spoil: Callable[[list[Path]], None] | None = None
    """Damages the written files."""


def write_trap(name: str, folder: Path, seed: int, protocol: Protocol = PROTOCOL) -> list[Path]:
    """Write the trap `name` of `TRAPS` as `folder/*.dcm`; the same seed gives the same files."""
    trap = TRAPS[name]
    paths = write(trap.change(synthesise(seed, "trap", protocol).slices), folder)
    if trap.spoil:
        trap.spoil(paths)
    return paths


def _each(change: Callable[[Dataset, int], None]) -> Callable[[Slices], Slices]:
    def apply(slices: Slices) -> Slices:
        for k, dataset in enumerate(slices):
            change(dataset, k)
        return slices

    return apply


def _one(change: Callable[[Dataset], None]) -> Callable[[Slices], Slices]:
    """Changes the slice at a third of the way."""

    def apply(slices: Slices) -> Slices:
        change(slices[len(slices) // 3])
        return slices

    return apply


def _set(**values: object) -> Callable[[Dataset], None]:
    def change(dataset: Dataset) -> None:
        for keyword, value in values.items():
            setattr(dataset, keyword, value)

    return change


def _shuffled_numbers(slices: Slices) -> Slices:
    numbers = generator(1, "instance numbers").permutation(len(slices))
    for dataset, number in zip(slices, numbers.tolist(), strict=True):
        dataset.InstanceNumber = number + 1
    return slices


def _duplicate(slices: Slices) -> Slices:
    twin = copy.deepcopy(slices[5])
    twin.SOPInstanceUID = twin.file_meta.MediaStorageSOPInstanceUID = uid(str(twin.SOPInstanceUID), "twin")
    twin.InstanceNumber = 99
    return [*slices, twin]


def _tilted(dataset: Dataset, k: int) -> None:
    """The gantry leans, the table does not: slices are turned about the patient's x and still go along z."""
    angle = math.radians(TILT_DEGREES)
    dataset.ImageOrientationPatient = [1, 0, 0, 0, round(math.cos(angle), 6), round(-math.sin(angle), 6)]
    dataset.GantryDetectorTilt = TILT_DEGREES


def _coronal(dataset: Dataset, k: int) -> None:
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    dataset.ImagePositionPatient = [-170, -160 + 2.5 * k, 180]


def _monochrome1(dataset: Dataset, k: int) -> None:
    """The same picture, stored the other way round."""
    dataset.PhotometricInterpretation = "MONOCHROME1"
    dataset.PixelData = ((1 << dataset.BitsStored) - 1 - _stored(dataset)).astype("<u2").tobytes()


def _padded(dataset: Dataset, k: int) -> None:
    """Signed, and rows at the top that are no image."""
    stored = _stored(dataset).astype("<i2")
    stored[:PADDED_ROWS] = PADDING
    dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = 1, 16, 15
    dataset.add_new("PixelPaddingValue", "SS", PADDING)
    dataset.PixelData = stored.tobytes()


def _own_slope(dataset: Dataset, k: int) -> None:
    """As PET stores it: each slice scaled to what it holds."""
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = f"{1 + 0.05 * k:.2f}", "0", "US"


def _cropped(dataset: Dataset) -> None:
    dataset.PixelData = _stored(dataset)[:-2].tobytes()
    dataset.Rows -= 2


def _moved(axis: int, by_mm: float) -> Callable[[Dataset], None]:
    def change(dataset: Dataset) -> None:
        position = [float(value) for value in dataset.ImagePositionPatient]
        position[axis] += by_mm
        dataset.ImagePositionPatient = position

    return change


def _with_localiser(slices: Slices) -> Slices:
    """A scout of the same series, as some scanners send it: another plane, another size, and it says so."""
    scout = copy.deepcopy(slices[0])
    scout.SOPInstanceUID = scout.file_meta.MediaStorageSOPInstanceUID = uid(str(scout.SOPInstanceUID), "scout")
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    scout.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    _cropped(scout)
    return [scout, *slices]


def _truncate(paths: list[Path]) -> None:
    path = paths[len(paths) // 2]
    path.write_bytes(path.read_bytes()[:-100])


def _enhanced(slices: Slices) -> Slices:
    """The multi-frame twin (PS3.3 A.38): all slices in one object, in no order, each placed by its functional groups."""
    order = generator(1, "frames").permutation(len(slices)).tolist()
    whole = copy.deepcopy(slices[0])
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(whole, keyword)
    for keyword in ("RescaleSlope", "RescaleIntercept", "RescaleType", "WindowCenter", "WindowWidth"):
        delattr(whole, keyword)
    whole.SOPClassUID = whole.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    whole.NumberOfFrames = len(slices)
    whole.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    first = slices[0]
    whole.SharedFunctionalGroupsSequence = _item(
        PixelMeasuresSequence=_item(PixelSpacing=first.PixelSpacing, SliceThickness=first.SliceThickness),
        PlaneOrientationSequence=_item(ImageOrientationPatient=first.ImageOrientationPatient),
        PixelValueTransformationSequence=_item(
            RescaleSlope=first.RescaleSlope, RescaleIntercept=first.RescaleIntercept, RescaleType="HU"
        ),
    )
    whole.PerFrameFunctionalGroupsSequence = Sequence(
        _item(
            FrameContentSequence=_item(StackID="1", InStackPositionNumber=n + 1, DimensionIndexValues=[1, n + 1]),
            PlanePositionSequence=_item(ImagePositionPatient=slices[k].ImagePositionPatient),
        )[0]
        for n, k in enumerate(order)
    )
    whole.PixelData = b"".join(slices[k].PixelData for k in order)
    return [whole]


def _item(**values: object) -> Sequence:
    item = Dataset()
    _set(**values)(item)
    return Sequence([item])


def _stored(dataset: Dataset) -> NDArray[np.uint16]:
    return np.frombuffer(dataset.PixelData, "<u2").reshape(dataset.Rows, dataset.Columns).copy()


TRAPS: dict[str, Trap] = {
    "shuffled-instance-number": Trap(_shuffled_numbers, None),
    "no-instance-number": Trap(_each(lambda dataset, k: delattr(dataset, "InstanceNumber")), None),
    "descending": Trap(lambda slices: slices[::-1], None),
    "gantry-tilt": Trap(_each(_tilted), None),
    "coronal": Trap(_each(_coronal), None),
    "monochrome1": Trap(_each(_monochrome1), None),
    "padding": Trap(_each(_padded), None),
    "per-slice-slope": Trap(_each(_own_slope), None),
    "enhanced-multi-frame": Trap(_enhanced, None),
    "localiser": Trap(_with_localiser, None),
    "missing-slices": Trap(lambda slices: slices[:8] + slices[11:], Reason.MISSING_SLICES),
    "duplicate-slice": Trap(_duplicate, Reason.DUPLICATE_SLICES),
    "irregular-spacing": Trap(_one(_moved(2, 1.2)), Reason.IRREGULAR_SPACING),
    "shifted-slice": Trap(_one(_moved(0, 3.0)), Reason.SHIFTED_SLICES),
    "mixed-orientation": Trap(
        _one(_set(ImageOrientationPatient=[1, 0, 0, 0, 0.996195, 0.087156])), Reason.MIXED_ORIENTATION
    ),
    "mixed-shape": Trap(_one(_cropped), Reason.MIXED_SHAPE),
    "mixed-spacing": Trap(_one(_set(PixelSpacing=[3.6, 3.7])), Reason.MIXED_SPACING),
    "skewed-axes": Trap(
        _each(lambda dataset, k: _set(ImageOrientationPatient=[1, 0, 0, 0.3, 1, 0])(dataset)), Reason.BAD_ORIENTATION
    ),
    "no-position": Trap(_one(lambda dataset: delattr(dataset, "ImagePositionPatient")), Reason.NO_GEOMETRY),
    "mixed-photometric": Trap(_one(lambda dataset: _monochrome1(dataset, 0)), Reason.MIXED_MEANING),
    "huge-dimensions": Trap(_one(_set(Rows=65535, Columns=65535)), Reason.TOO_LARGE),
    "truncated-file": Trap(lambda slices: slices, Reason.TRUNCATED, spoil=_truncate),
}
