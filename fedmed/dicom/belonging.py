"""Which series an image belongs to, and how many images its header says that there are."""

from __future__ import annotations

from dataclasses import dataclass

from fedmed.dicom import tags
from fedmed.dicom.attributes import Attributes
from fedmed.dicom.elements import BIG_ENDIAN, skim
from fedmed.dicom.limits import LIMITS, Limits
from fedmed.dicom.reasons import NoImage, Status, Untrusted
from fedmed.dicom.sources import of_bytes
from fedmed.dicom.stacks import SEGMENTATION
from fedmed.dicom.survey import SECTION_CLASSES
from fedmed.dicom.walking import Wanted

IMAGES_IN_ACQUISITION, INSTANCES_IN_SERIES = 0x00201002, 0x00201209
WANTED: Wanted = {
    **dict.fromkeys((tags.SOP_CLASS, tags.SOP_INSTANCE, tags.STUDY, tags.SERIES), "UI"),
    **dict.fromkeys((tags.ACQUISITION, IMAGES_IN_ACQUISITION, INSTANCES_IN_SERIES), "IS"),
}
MOST_ANNOUNCED = 100_000


@dataclass(frozen=True)
class Belonging:
    """What one image says."""

    study: str
    series: str
    sop_instance: str
    acquisition: str
    """Acquisition Number (0020,0012); empty where it has none."""
    in_acquisition: int | None
    """Images in Acquisition (0020,1002)."""
    in_series: int | None
    """Number of Series Related Instances (0020,1209), which archives add."""


def belonging(content: bytes, limits: Limits = LIMITS) -> Belonging:
    """Of a file of PS3.10. A count that makes no sense is none.

    Raises NoImage for what is no DICOM, or has no pixels and is no section either (a section without pixels was cut off,
    and its series lacks it), and for masks, which are no images of a series; Untrusted for what cannot be read.
    """
    skimmed = skim(of_bytes("image", content), WANTED, limits)
    attributes = Attributes(skimmed.elements, skimmed.transfer_syntax == BIG_ENDIAN)
    sop_class = attributes.text(tags.SOP_CLASS)
    if sop_class == SEGMENTATION or (skimmed.pixels is None and sop_class not in SECTION_CLASSES):
        raise NoImage(Status.NO_PIXELS, "It is no image of a series.")
    return Belonging(
        attributes.text(tags.STUDY),
        attributes.text(tags.SERIES),
        attributes.text(tags.SOP_INSTANCE),
        attributes.text(tags.ACQUISITION)[:32],
        _count(attributes, IMAGES_IN_ACQUISITION),
        _count(attributes, INSTANCES_IN_SERIES),
    )


def _count(attributes: Attributes, tag: int) -> int | None:
    try:
        value = attributes.integer(tag)
    except Untrusted:
        return None
    return value if value is not None and 0 < value <= MOST_ANNOUNCED else None
