"""A network as ONNX Runtime's int8 kernels for processors like it: the same function, written otherwise.

They are fast in one memory order alone, channels last, and leave it at every node that is not theirs. So what can be is made
a convolution: gamma and beta of a GroupNorm (one by one, a channel each), an input of one or three channels (their kernels
need four), and what stands before max-pooling without a convolution.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fedmed.serving.draft import Array, Draft
from fedmed.serving.packages import INPUTS

PACKED = 4
"""Channels that are multiplied at once: what a convolution's input has to be a multiple of to be read where it lies."""


def for_processors(model: bytes) -> bytes:
    """The model, its images (not volumes) rewritten."""
    draft = Draft(model)
    shapes = draft.shapes()
    for node in [node for node in draft.nodes if node.op_type == "InstanceNormalization"]:
        affine_as_convolution(draft, node, shapes)
    for node in [node for node in draft.users(INPUTS) if node.op_type == "Conv"]:
        channels_to_fours(draft, node, shapes)
    for node in [node for node in draft.nodes if node.op_type == "MaxPool"]:
        order_before_pooling(draft, node, shapes)
    return draft.finished()


def affine_as_convolution(draft: Draft, norm: Any, shapes: dict[str, tuple[int, ...]]) -> None:
    """GroupNorm as PyTorch's exporter writes it: reshape, normalise, reshape back, times gamma, plus beta.

    The last two become one convolution, and the way back no longer asks for the shape of what came in: for that question
    alone ONNX Runtime turned the whole of it into floats a second time.
    """
    import onnx

    there = draft.maker(norm.input[0])
    after = draft.chain(norm.output[0], "Reshape", "Mul", "Add")
    if there is None or there.op_type != "Reshape" or not after:
        return
    back, times, plus = after
    shape = shapes.get(there.input[0], ())
    gamma, beta = (_per_channel(draft, node, shape) for node in (times, plus))
    if gamma is None or beta is None or 0 in shape[1:]:
        return
    name = norm.name
    back.input[1] = draft.add(f"{name}_shape", np.array([-1, *shape[1:]], np.int64))
    weights = draft.add(f"{name}_gamma", gamma.reshape(-1, 1, 1, 1))
    inputs = [back.output[0], weights, draft.add(f"{name}_beta", beta)]
    draft.replace(plus, [onnx.helper.make_node("Conv", inputs, plus.output, name=f"{name}_affine", group=shape[1])])


def _per_channel(draft: Draft, node: Any, shape: tuple[int, ...]) -> Array | None:
    """The constant `(C, 1, 1)` of a node for images `(N, C, H, W)`, as `(C,)`; None where it is another."""
    found = [value for name in node.input if (value := draft.constant(name)) is not None]
    fits = len(shape) == 4 and len(found) == 1 and found[0].shape == (shape[1], 1, 1)
    return found[0].reshape(-1) if fits else None


def channels_to_fours(draft: Draft, first: Any, shapes: dict[str, tuple[int, ...]]) -> None:
    """The first convolution with a multiple of four channels in front of it.

    With a stride of two, four neighbours become channels (and the kernel half as wide); otherwise empty channels are added.
    """
    import onnx

    shape, weights = shapes[INPUTS], draft.constant(first.input[1])
    said = {one.name: onnx.helper.get_attribute_value(one) for one in first.attribute}
    plain = (
        said.get("group", 1) == 1 and set(said.get("dilations", [1])) == {1} and said.get("auto_pad", b"NOTSET") == b"NOTSET"
    )
    if weights is None or len(shape) != 4 or shape[1] % PACKED == 0 or not plain:
        return
    if (halved := _halved(weights, shape, said)) is not None:
        _fold(draft, first, *halved)
    else:
        _widen(draft, first, weights)


def _halved(weights: Array, shape: tuple[int, ...], said: dict[str, Any]) -> tuple[Array, list[int]] | None:
    """Weights and padding for an input folded in two; None where the convolution does not step by two.

    With padding p and kernel k, output i sees rows 2 i - p to 2 i - p + k - 1: a row of zeros in front where p is odd, and
    one behind where the number is then odd, make whole pairs of it.
    """
    height, width = shape[2:]
    kernel, pads = weights.shape[2:], said.get("pads", [0] * 4)
    if said.get("strides") != [2, 2] or height % 2 or width % 2:
        return None
    front = [pads[axis] % 2 for axis in range(2)]
    behind = [(kernel[axis] + front[axis]) % 2 for axis in range(2)]
    grown = np.pad(weights, [(0, 0), (0, 0), (front[0], behind[0]), (front[1], behind[1])])
    out, into, *size = grown.shape
    pairs = grown.reshape(out, into, size[0] // 2, 2, size[1] // 2, 2).transpose(0, 3, 5, 1, 2, 4)
    before = [(pads[axis] + front[axis]) // 2 for axis in range(2)]
    after = [
        (length + pads[axis] + pads[axis + 2] - kernel[axis]) // 2 + size[axis] // 2 - length // 2 - before[axis]
        for axis, length in enumerate((height, width))
    ]
    return (pairs.reshape(out, 4 * into, size[0] // 2, size[1] // 2), [*before, *after]) if min(after) >= 0 else None


def _fold(draft: Draft, first: Any, weights: Array, pads: list[int]) -> None:
    import onnx

    folded = f"{first.name}_folded"
    draft.before(first, [onnx.helper.make_node("SpaceToDepth", [INPUTS], [folded], name=folded, blocksize=2)])
    first.input[0], first.input[1] = folded, draft.add(f"{first.name}_halved", weights)
    told = {"strides": [1, 1], "pads": pads, "kernel_shape": list(weights.shape[2:])}
    kept = [one for one in first.attribute if one.name not in told]
    made = [onnx.helper.make_attribute(name, value) for name, value in told.items()]
    copies = [type(one).FromString(one.SerializeToString()) for one in (*kept, *made)]
    first.ClearField("attribute")
    first.attribute.extend(copies)


def _widen(draft: Draft, first: Any, weights: Array) -> None:
    import onnx

    more = -weights.shape[1] % PACKED
    wide, pads = f"{first.name}_wide", np.array([0, 0, 0, 0, 0, more, 0, 0], np.int64)
    node = onnx.helper.make_node("Pad", [INPUTS, draft.add(f"{first.name}_more", pads)], [wide], name=wide)
    draft.before(first, [node])
    first.input[0] = wide
    first.input[1] = draft.add(f"{first.name}_widened", np.pad(weights, [(0, 0), (0, more), (0, 0), (0, 0)]))


def order_before_pooling(draft: Draft, pool: Any, shapes: dict[str, tuple[int, ...]]) -> None:
    """A convolution by one, channel by channel, before a max-pooling of images that no convolution feeds."""
    import onnx

    shape = shapes.get(pool.input[0], ())
    fed = draft.maker(pool.input[0])
    if fed is not None and fed.op_type == "Relu":
        fed = draft.maker(fed.input[0])
    if len(shape) != 4 or shape[1] == 0 or (fed is not None and fed.op_type == "Conv"):
        return
    one = draft.add(f"{pool.name}_one", np.ones((shape[1], 1, 1, 1), np.float32))
    same = f"{pool.name}_same"
    draft.before(
        pool, [onnx.helper.make_node("Conv", [pool.input[0], one], [same], name=f"{pool.name}_order", group=shape[1])]
    )
    pool.input[0] = same
