"""One digest over all that a site is given for a round: its order and the tensors of the model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from fedmed.wire.tensors import header_of, raw

CONTEXT = "fedmed/given/v1"


def digest_of(text: str, tensors: Mapping[str, NDArray[np.generic]]) -> bytes:
    """BLAKE3 over text, names, dtypes, shapes and values, in the tensors' order: 32 bytes. Raises DataError.

    In its mode that derives keys, under the context `CONTEXT`.
    """
    order, header = text.encode("utf-8", "surrogatepass"), header_of(tensors)
    made = blake3(len(order).to_bytes(8, "big") + order + header, derive_key_context=CONTEXT)
    for value in tensors.values():
        made.update(raw(value.astype(value.dtype.newbyteorder("<"), copy=False)))
    return made.digest()
