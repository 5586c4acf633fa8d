"""SEG objects, made by highdicom, on given slices."""

from __future__ import annotations

from pathlib import Path

import highdicom as hd
import numpy as np
from highdicom.sr.coding import CodedConcept
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

LIVER, TUMOUR = "Liver", "Tumour"


def described(number: int, label: str) -> hd.seg.SegmentDescription:
    liver = CodedConcept("10200004", "SCT", "Liver")
    return hd.seg.SegmentDescription(
        number, label, CodedConcept("123037004", "SCT", "Anatomical structure"), liver, "MANUAL"
    )


def written(path: Path, slices: list[Dataset], masks: np.ndarray, labels: tuple[str, ...] = (LIVER, TUMOUR)) -> Path:
    """`masks (D, H, W, segments)`."""
    made = hd.seg.Segmentation(
        slices,
        masks.astype(np.uint8),
        "BINARY",
        [described(number, label) for number, label in enumerate(labels, 1)],
        series_instance_uid=generate_uid(),
        series_number=9,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="nobody",
        manufacturer_model_name="none",
        software_versions="0",
        device_serial_number="0",
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    made.save_as(path)
    return path
