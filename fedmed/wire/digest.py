"""One digest over all that a site is given for a round: its order and the tensors of the model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fedmed.wire.tensors import header_of, raw


def digest_of(text: str, tensors: Mapping[str, NDArray[np.generic]]) -> bytes:
    """SHA-256 over text, names, dtypes, shapes and values, in the tensors' order: 32 bytes. Raises DataError."""
    order, header = text.encode("utf-8", "surrogatepass"), header_of(tensors)
    made = hashlib.sha256(len(order).to_bytes(8, "big") + order + header)
    for value in tensors.values():
        made.update(raw(value.astype(value.dtype.newbyteorder("<"), copy=False)))
    return made.digest()
