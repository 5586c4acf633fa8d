"""Normalisation of large maps a few groups at a time, so that the floats in between stay in a processor's cache.

In an int8 network a GroupNorm is computed in floats, four times the bytes of what comes in and goes out. At 112 x 112 and 64
channels these are 3.2 MB, more than the second-level cache of most processors; in pieces of a megabyte it takes half the
time (measured; docs/adr/0059). Groups do not see each other, so the numbers are the same to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fedmed.serving.draft import Draft

MOST_BYTES = 1 << 20
"""Of floats in one piece; small beside a cache of 1.25 or 2 MB, since it is read and written."""


def in_pieces(model: bytes, most_bytes: int = MOST_BYTES) -> bytes:
    """A quantised model whose larger normalisations are split between the step into floats and the one out of them."""
    draft = Draft(model)
    for node in [node for node in draft.nodes if node.op_type == "InstanceNormalization"]:
        _split(draft, node, most_bytes)
    return draft.finished()


def _split(draft: Draft, norm: Any, most_bytes: int) -> None:
    """Where the chain is integers, DequantizeLinear, Reshape, norm, Reshape, QuantizeLinear, and nothing else looks in."""
    there = draft.maker(norm.input[0])
    floats = None if there is None else draft.maker(there.input[0])
    after = draft.chain(norm.output[0], "Reshape", "QuantizeLinear")
    if there is None or floats is None or not after or (there.op_type, floats.op_type) != ("Reshape", "DequantizeLinear"):
        return
    back, out = after
    shape = draft.constant(back.input[1])
    scales = [held for name in norm.input[1:] if (held := draft.constant(name)) is not None]
    if shape is None or len(scales) != 2:
        return
    count = pieces_of(scales[0].size, 4 * math.prod(int(length) for length in shape[1:]), most_bytes)
    if count == 1:
        return
    name = norm.name
    parts, whole = [f"{name}_part{at}" for at in range(count)], f"{name}_whole"
    sizes = draft.add(f"{name}_sizes", np.full(count, scales[0].size // count, np.int64))
    new = [
        _node("Reshape", [floats.input[0], there.input[1]], [f"{name}_groups"]),
        _node("Split", [f"{name}_groups", sizes], parts, axis=1),
    ]
    for part, scale, bias in zip(parts, np.split(scales[0], count), np.split(scales[1], count), strict=True):
        own = [draft.add(f"{part}_scale", scale), draft.add(f"{part}_bias", bias)]
        new += _piece(norm, part, own, floats.input[1:], out.input[1:])
    new.append(_node("Concat", [f"{part}_out" for part in parts], [whole], axis=1))
    draft.replace(out, [*new, _node("Reshape", [whole, back.input[1]], out.output)])


def pieces_of(groups: int, size: int, most_bytes: int) -> int:
    """Into how many equal pieces whole groups of `size` bytes together go; the fewest that are small enough, or one each."""
    whole = [count for count in range(1, groups + 1) if groups % count == 0]
    return next((count for count in whole if size <= count * most_bytes), groups)


def _piece(norm: Any, part: str, scales: Sequence[str], into: Sequence[str], out: Sequence[str]) -> list[Any]:
    """Some groups into floats, normalised, and out of floats, with the scale and zero point that the whole has."""
    normed = type(norm).FromString(norm.SerializeToString())
    normed.name = f"{part}_normed"
    normed.input[:], normed.output[:] = [f"{part}_floats", *scales], [normed.name]
    return [
        _node("DequantizeLinear", [part, *into], [f"{part}_floats"]),
        normed,
        _node("QuantizeLinear", [normed.name, *out], [f"{part}_out"]),
    ]


def _node(operator: str, inputs: Sequence[str], outputs: Sequence[str], **said: int) -> Any:
    import onnx

    return onnx.helper.make_node(operator, inputs, outputs, name=f"{outputs[0]}_{operator.lower()}", **said)
