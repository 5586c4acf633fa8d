"""Headers of a series, as intake reads them from files."""

from __future__ import annotations

import dataclasses
from typing import Any

from fedmed.dicom.header import Header, Plane, Rescale

AXIAL = {"row": (1.0, 0.0, 0.0), "column": (0.0, 1.0, 0.0), "spacing_mm": (0.7, 0.7), "thickness_mm": 2.5}
NOWHERE = Plane(None, None, None, (0.2, 0.2))

ONE = Header(
    study="1.1",
    series="1.1.1",
    sop_instance="1.1.1.0",
    sop_class="1.2.840.10008.5.1.4.1.1.2",
    transfer_syntax="1.2.840.10008.1.2.1",
    modality="CT",
    rows=8,
    columns=9,
    frames=1,
    samples=1,
    planar=0,
    photometric="MONOCHROME2",
    bits_allocated=16,
    bits_stored=12,
    high_bit=11,
    signed=False,
    padding=None,
    planes=(NOWHERE,),
    rescales=(Rescale(1.0, -1024.0),),
    instance_number=1,
    kind=("image-type=AXIAL",),
    accession="A1",
    patient="P1",
    burned_in="",
)


def slice_at(k: int, gap: float = 2.5, **changes: Any) -> Header:
    """The slice at `k` gaps along z."""
    plane = Plane((0.0, 0.0, k * gap), **AXIAL)
    return dataclasses.replace(ONE, **{"planes": (plane,), "sop_instance": f"1.1.1.{k}", "instance_number": k + 1} | changes)


def axial(count: int = 6, **changes: Any) -> list[Header]:
    return [slice_at(k, **changes) for k in range(count)]
