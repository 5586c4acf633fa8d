"""A finding on its way to the PACS: what it says and the images that it is about, as one entry of the spool.

The DICOM object is made where it is sent: that takes longer than all else that the agent adds, and a result that is on the
disk does not have to wait for it.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmed.dicom.results.finding import Finding
from fedmed.errors import DataError
from fedmed.wire import tensors
from fedmed.wire.canonical import canonical

TOLD, SOURCE, MASK, SHAPE = "finding", "source", "mask", "shape"
_PLAIN = [each.name for each in fields(Finding) if each.name not in (MASK, "concepts")]


def packed(finding: Finding, sources: Sequence[bytes]) -> bytes:
    """All of it, as safetensors; no code of a terminology goes along, for no release names any."""
    told = canonical({name: getattr(finding, name) for name in _PLAIN})
    parts = {f"{SOURCE}.{number:06d}": np.frombuffer(each, np.uint8) for number, each in enumerate(sources)}
    parts[TOLD] = np.frombuffer(told, np.uint8)
    if finding.mask is not None:  # of a whole series it has a hundred megabytes, nearly all of them alike
        mask = np.ascontiguousarray(finding.mask, np.uint8)
        parts[MASK] = np.frombuffer(zlib.compress(mask.data, 1), np.uint8)
        parts[SHAPE] = np.array(mask.shape, np.int64)
    buffer = bytearray(tensors.size_of(parts))
    tensors.put(parts, memoryview(buffer))
    return bytes(buffer)


def unpacked(content: bytes) -> tuple[Finding, list[bytes]]:
    """All of it again. Raises DataError for what `packed` has not written."""
    parts = tensors.view(content, "a finding")
    try:
        told = json.loads(parts[TOLD].tobytes())
        known: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in told.items()}
        mask: Any = _mask(parts[MASK], parts[SHAPE]) if MASK in parts else None
        return Finding(**known, mask=mask), [parts[name].tobytes() for name in sorted(parts) if name.startswith(SOURCE)]
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise DataError(f"a finding in the spool is of another version ({type(error).__name__}); it is set aside") from error


def _mask(packed: NDArray[np.generic], shape: NDArray[np.generic]) -> NDArray[np.uint8]:
    lengths = [int(length) for length in shape]
    content = zlib.decompressobj().decompress(packed.tobytes(), math.prod(lengths))
    return np.frombuffer(content, np.uint8).reshape(lengths)
