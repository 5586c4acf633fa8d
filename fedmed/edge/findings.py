"""A finding on its way to the PACS: what it says and the images that it is about, as one entry of the spool.

The DICOM object is made where it is sent: that takes longer than all else that the agent adds, and a result that is on the
disk does not have to wait for it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from fedmed.dicom.results.finding import Finding
from fedmed.errors import DataError
from fedmed.wire import tensors
from fedmed.wire.canonical import canonical

TOLD, SOURCE, MASK = "finding", "source", "mask"
_PLAIN = [each.name for each in fields(Finding) if each.name not in (MASK, "concepts")]


def packed(finding: Finding, sources: Sequence[bytes]) -> bytes:
    """All of it, as safetensors; no code of a terminology goes along, for no release names any."""
    told = canonical({name: getattr(finding, name) for name in _PLAIN})
    parts = {f"{SOURCE}.{number:06d}": np.frombuffer(each, np.uint8) for number, each in enumerate(sources)}
    parts[TOLD] = np.frombuffer(told, np.uint8)
    if finding.mask is not None:
        parts[MASK] = np.ascontiguousarray(finding.mask, np.uint8)
    buffer = bytearray(tensors.size_of(parts))
    tensors.put(parts, memoryview(buffer))
    return bytes(buffer)


def unpacked(content: bytes) -> tuple[Finding, list[bytes]]:
    """All of it again. Raises DataError for what `packed` has not written."""
    parts = tensors.view(content, "a finding")
    try:
        told = json.loads(parts[TOLD].tobytes())
        known: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in told.items()}
        mask: Any = parts.get(MASK)
        return Finding(**known, mask=mask), [parts[name].tobytes() for name in sorted(parts) if name.startswith(SOURCE)]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"a finding in the spool is of another version ({type(error).__name__}); it is set aside") from error
