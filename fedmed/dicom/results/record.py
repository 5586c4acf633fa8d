"""A finding as JSON: what other software reads without knowing DICOM; no patient's name or number stands in it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedmed.dicom.limits import LIMITS, Limits
from fedmed.dicom.results.finding import Finding
from fedmed.dicom.results.origin import read_origin
from fedmed.wire.canonical import canonical

SCHEMA = "fedmed.result/1"
"""Raised when a key changes its meaning or goes; readers ignore keys that they do not know."""


def record(
    sources: Sequence[bytes],
    finding: Finding,
    objects: Sequence[bytes] = (),
    limits: Limits = LIMITS,
    series: Mapping[str, Any] | None = None,
) -> bytes:
    """Canonical JSON of `finding` about the images in `sources`, naming the DICOM `objects` that were made of it.

    A mask is told by its shape, its digest and the pixels of each class; the mask itself is in the SEG. `series` is what is
    told of a series as a whole: why it counts as whole, what of it was refused.
    Raises Untrusted as `read_origin` does.
    """
    told: dict[str, Any] = {
        "schema": SCHEMA,
        "model": {"name": finding.model, "version": finding.version, "digest": finding.digest},
        "pipeline": finding.pipeline,
        "device": finding.device,
        "computed_on": finding.computed_on or finding.device,
        "precision": finding.precision,
        "unix": finding.unix,
        "intended_use": "research" if finding.is_research else "diagnosis",
        "classes": list(finding.classes),
        "concepts": {
            name: {"value": each.value, "scheme": each.scheme, "meaning": each.meaning}
            for name, each in finding.concepts.items()
        },
        "sources": [
            {
                "study": origin.study,
                "series": origin.series,
                "sop_class": origin.sop_class,
                "sop_instance": origin.sop_instance,
            }
            for origin in (read_origin(source, limits) for source in sources)
        ],
        "objects": [_named(each) for each in objects],
    }
    if series is not None:
        told["series"] = dict(series)
    if finding.replaces:
        told["replaces"] = finding.replaces[-1]
    if finding.probabilities is not None:
        told["probabilities"] = list(finding.probabilities)
    if finding.mask is not None:
        packed = np.ascontiguousarray(finding.mask, dtype=np.uint8)
        told["mask"] = {
            "shape": list(packed.shape),
            "pixels": finding.marked(),
            "sha256": hashlib.sha256(packed.tobytes()).hexdigest(),
        }
    return canonical(told)


def _named(content: bytes) -> dict[str, str]:
    """One of our own objects, by its file meta information."""
    import io

    import pydicom

    meta = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True, specific_tags=[]).file_meta
    return {"sop_class": str(meta.MediaStorageSOPClassUID), "sop_instance": str(meta.MediaStorageSOPInstanceUID)}
