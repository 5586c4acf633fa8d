"""The fused pass as loops for numba: slices along the grid, rows along the grid, or any affine.

Arrays are C-contiguous, and hold one volume. `out` is some slices of the result, the first of them number `first_slice`:
float32, or the uint16 bits of float16. `mask` is (first, last, fill, masks): stored values first..last, and what is not
finite, become u = fill; where `masks` is False there are none. `finish` is (lowest, highest, gain, base, sigmoid);
arguments.Folded says what these mean. `deep`, `down` and `across` are where the outputs lie along d, h and w: arrays of the
lower voxel, the upper voxel and the share of the upper; `across` counts from columns[0], columns[1] is the end of the
columns that are read. Coordinates are clamped; whoever wants a constant edge writes it afterwards or says so to `oblique`.

The augmentations take one sample (C, D, H, W) at a time; twin_augment.py says what they compute. All loops lie in one file,
for numba's cache on disk looks at the file of a function, not at those of the functions it calls.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fedmed.preprocess.fused.arguments import TIE
from fedmed.preprocess.fused.jit import jitted, prefetch, rounded
from fedmed.preprocess.fused.noise import DEVIATION, MEAN, MULTIPLIER, ROUNDS, WEYL

LARGEST = np.float32(np.finfo(np.float32).max)
AHEAD = 3
"""Rows that are asked for before they are needed."""
LINE = 64
"""Bytes of a cache line."""
BYTES = np.uint32(0x00FF00FF)
LOW = np.uint32(0xFFFF)
UNIT = np.float32(1 / DEVIATION)


@jitted
def rescaled(stored: Any, scale: Any, offset: Any, mask: Any) -> Any:
    """u of one stored value, padding masked."""
    first, last, fill, _ = mask
    value = np.float32(stored)
    padding = (value >= first and value <= last) or not (abs(value) <= LARGEST)
    return fill if padding else value * scale + offset


@jitted
def place(at: Any, count: Any) -> Any:
    """The two voxels around a coordinate, clamped to the volume, and the share of the upper."""
    clamped = min(max(at, 0.0), count - 1.0)
    low = np.int64(clamped)
    return low, min(low + 1, count - 1), np.float32(clamped - low)


@jitted
def blend(low: Any, high: Any, share: Any, finish: Any, out: Any) -> None:
    """`out` from between two rows of u."""
    lowest, highest, gain, base, sigmoid = finish
    like = out[0]
    if sigmoid:
        for i in range(low.size):
            u = low[i] + share * (high[i] - low[i])
            u = np.float32(1) / (np.float32(1) + np.exp(np.float32(-4) * (u - np.float32(0.5))))
            out[i] = rounded(u * gain + base, like)
    else:
        for i in range(low.size):
            u = low[i] + share * (high[i] - low[i])
            u = u if u > lowest else lowest
            u = u if u < highest else highest
            out[i] = rounded(u * gain + base, like)


@jitted
def between(top: Any, bottom: Any, share: Any, scale: Any, offset: Any, mask: Any, row: Any) -> None:
    """`row` between two rows of one slice: of u where values are masked, else of stored values."""
    if mask[3]:
        for x in range(row.size):
            a = rescaled(top[x], scale, offset, mask)
            row[x] = a + share * (rescaled(bottom[x], scale, offset, mask) - a)
    else:
        for x in range(row.size):
            a = np.float32(top[x])
            row[x] = a + share * (np.float32(bottom[x]) - a)


@jitted
def picked(row: Any, across: Any, scale: Any, offset: Any, line: Any) -> None:
    """`line` at the places `across` of a row, scaled."""
    low, high, share = across
    for i in range(line.size):
        a = row[low[i]]
        line[i] = (a + share[i] * (row[high[i]] - a)) * scale + offset


@jitted
def fetch(row: Any, columns: Any) -> None:
    """Ask for the columns of a row that will be read soon."""
    for x in range(columns[0], columns[1], LINE // row.itemsize):
        prefetch(row, x)


@jitted
def in_plane(
    image: Any, scale: Any, offset: Any, mask: Any, down: Any, across: Any, columns: Any, row: Any, target: Any
) -> None:
    """`target` (oH, oW) of u: one slice at the places `down` and `across`."""
    top, bottom, share = down
    left, right = columns
    factor, term = (np.float32(1), np.float32(0)) if mask[3] else (scale, offset)
    for j in range(target.shape[0]):
        if j + AHEAD < target.shape[0]:
            fetch(image[top[j + AHEAD]], columns)
            fetch(image[bottom[j + AHEAD]], columns)
        between(image[top[j], left:right], image[bottom[j], left:right], share[j], scale, offset, mask, row)
        picked(row, across, factor, term, target[j])


@jitted
def stack(
    voxels: Any, scale: Any, offset: Any, mask: Any, deep: Any, down: Any, across: Any, columns: Any, finish: Any, out: Any
) -> None:
    """A grid along the voxels' own: each slice is resampled once in its plane, then neighbours are blended."""
    planes = np.empty((2, out.shape[1], out.shape[2]), np.float32)
    row = np.empty(columns[1] - columns[0], np.float32)
    held = np.full(2, -1, np.int64)
    at = np.zeros(2, np.int64)
    for k in range(out.shape[0]):
        places = (np.int64(deep[0][k]), np.int64(deep[1][k]))
        for side in range(2):
            d = places[side]
            if held[0] != d and held[1] != d:
                slot = 0 if held[0] != places[1 - side] else 1
                in_plane(voxels[d], scale[d], offset[d], mask, down, across, columns, row, planes[slot])
                held[slot] = d
            at[side] = 0 if held[0] == d else 1
        for j in range(out.shape[1]):
            blend(planes[at[0], j], planes[at[1], j], deep[2][k], finish, out[k, j])


@jitted
def rows(
    voxels: Any,
    scale: Any,
    offset: Any,
    mask: Any,
    matrix: Any,
    across: Any,
    columns: Any,
    finish: Any,
    first_slice: Any,
    out: Any,
) -> None:
    """Every output row along a row of voxels (a tilted gantry's slices): four rows are blended, then picked from."""
    left, right = columns
    pair = np.empty((2, right - left), np.float32)
    line = np.empty(out.shape[2], np.float32)
    one, none = np.float32(1), np.float32(0)
    for k in range(out.shape[0]):
        z, y = matrix[0, 0] * (k + first_slice) + matrix[0, 3], matrix[1, 0] * (k + first_slice) + matrix[1, 3]
        for j in range(out.shape[1]):
            d0, d1, deep = place(z + matrix[0, 1] * j, voxels.shape[0])
            top, bottom, down = place(y + matrix[1, 1] * j, voxels.shape[1])
            later = place(y + matrix[1, 1] * (j + AHEAD), voxels.shape[1])[1]
            fetch(voxels[d0, later], columns)
            fetch(voxels[d1, later], columns)
            between(voxels[d0, top, left:right], voxels[d0, bottom, left:right], down, scale[d0], offset[d0], mask, pair[0])
            between(voxels[d1, top, left:right], voxels[d1, bottom, left:right], down, scale[d1], offset[d1], mask, pair[1])
            s0, o0, s1, o1 = (one, none, one, none) if mask[3] else (scale[d0], offset[d0], scale[d1], offset[d1])
            for x in range(right - left):
                a = pair[0, x] * s0 + o0
                pair[0, x] = a + deep * (pair[1, x] * s1 + o1 - a)
            picked(pair[0], across, one, none, line)
            blend(line, line, none, finish, out[k, j])


@jitted
def along(start: Any, step: Any, count: Any, margin: Any, low: Any, share: Any, held: Any) -> None:
    """One input axis at the outputs of a row: lower voxel, share of the upper, and whether it lies within `margin`."""
    last = count - 1.0
    for i in range(low.size):
        at = start + step * i
        held[i] = held[i] and at >= -margin and at <= last + margin
        at = at if at > 0.0 else 0.0
        at = at if at < last else last
        low[i] = np.int32(at)
        share[i] = np.float32(at - low[i])


@jitted
def stored_at(voxels: Any, low: Any, share: Any, line: Any) -> None:
    """`line` of stored values at any places: voxels of one scale and offset, none of them masked."""
    depth, height, width = voxels.shape
    flat = voxels.reshape(-1)
    for i in range(line.size):
        d, h, w = low[0, i], low[1, i], low[2, i]
        at = (np.uint64(d) * np.uint64(height) + np.uint64(h)) * np.uint64(width) + np.uint64(w)
        right = np.uint64(w + 1 < width)
        down = np.uint64(width) if h + 1 < height else np.uint64(0)
        deep = np.uint64(height * width) if d + 1 < depth else np.uint64(0)
        across, below, far = share[2, i], share[1, i], share[0, i]
        a = np.float32(flat[at])
        a += across * (np.float32(flat[at + right]) - a)
        b = np.float32(flat[at + down])
        b += across * (np.float32(flat[at + down + right]) - b)
        a += below * (b - a)
        at += deep
        b = np.float32(flat[at])
        b += across * (np.float32(flat[at + right]) - b)
        c = np.float32(flat[at + down])
        c += across * (np.float32(flat[at + down + right]) - c)
        b += below * (c - b)
        line[i] = a + far * (b - a)


@jitted
def rescaled_at(voxels: Any, scale: Any, offset: Any, mask: Any, low: Any, share: Any, line: Any) -> None:
    """`line` of u at any places, each voxel rescaled by its slice and masked."""
    depth, height, width = voxels.shape
    for i in range(line.size):
        h, w = low[1, i], low[2, i]
        right, down = min(w + 1, width - 1), min(h + 1, height - 1)
        across, below = share[2, i], share[1, i]
        near = far = np.float32(0)
        for d in (np.int64(low[0, i]), np.int64(min(low[0, i] + 1, depth - 1))):
            a = rescaled(voxels[d, h, w], scale[d], offset[d], mask)
            a += across * (rescaled(voxels[d, h, right], scale[d], offset[d], mask) - a)
            b = rescaled(voxels[d, down, w], scale[d], offset[d], mask)
            b += across * (rescaled(voxels[d, down, right], scale[d], offset[d], mask) - b)
            near, far = far, a + below * (b - a)
        line[i] = near + share[0, i] * (far - near)


@jitted
def oblique(
    voxels: Any, scale: Any, offset: Any, mask: Any, matrix: Any, margin: Any, finish: Any, first_slice: Any, out: Any
) -> None:
    """Any affine, voxel by voxel; beyond `margin` voxels outside lies `fill` (an infinite margin clamps)."""
    count = out.shape[2]
    low, share = np.empty((3, count), np.int32), np.empty((3, count), np.float32)
    held, line = np.empty(count, np.bool_), np.empty(count, np.float32)
    plain = not mask[3] and (scale == scale[0]).all() and (offset == offset[0]).all()
    for k in range(out.shape[0]):
        for j in range(out.shape[1]):
            held[:] = True
            for a in range(3):
                start = matrix[a, 0] * (k + first_slice) + matrix[a, 1] * j + matrix[a, 3]
                along(start, matrix[a, 2], voxels.shape[a], margin, low[a], share[a], held)
            if plain:
                stored_at(voxels, low, share, line)
                for i in range(count):
                    line[i] = line[i] * scale[0] + offset[0] if held[i] else mask[2]
            else:
                rescaled_at(voxels, scale, offset, mask, low, share, line)
                for i in range(count):
                    line[i] = line[i] if held[i] else mask[2]
            blend(line, line, np.float32(0), finish, out[k, j])


@jitted
def normal(voxel: Any, high: Any, key: Any) -> Any:
    """Noise of deviation 1: noise.normal, word for word."""
    left, right = voxel, high
    for step in range(ROUNDS):
        product = np.uint64(MULTIPLIER) * np.uint64(left)
        left = np.uint32(product >> np.uint64(32)) ^ np.uint32(key + np.uint32(step) * np.uint32(WEYL)) ^ right
        right = np.uint32(product)
    pairs = (left & BYTES) + ((left >> np.uint32(8)) & BYTES) + (right & BYTES) + ((right >> np.uint32(8)) & BYTES)
    return np.float32(np.int32(pairs & LOW) + np.int32(pairs >> np.uint32(16)) - np.int32(MEAN)) * UNIT


@jitted
def toned(line: Any, tones: Any) -> None:
    """Gamma, contrast and brightness on a row."""
    gamma, contrast, brightness, _, low, width = tones
    if gamma != np.float32(1):
        for i in range(line.size):
            share = min(max((line[i] - low) / width, np.float32(0)), np.float32(1))
            line[i] = low + width * share**gamma
    middle = low + np.float32(0.5) * width
    for i in range(line.size):
        line[i] = middle + contrast * (line[i] - middle) + brightness


@jitted
def noisy(line: Any, scale: Any, first: Any, words: Any) -> None:
    """Noise on a row whose first voxel has the number `first`."""
    for i in range(line.size):
        line[i] += scale * normal(np.uint32(first + i), words[1], words[0])


@jitted
def geometry(matrix: Any, k: Any, j: Any, size: Any, margin: Any, low: Any, share: Any, held: Any) -> None:
    """Where output row j of slice k reads in a volume of `size` (D, H, W)."""
    held[:] = True
    for a in range(3):
        start = matrix[a, 0] * k + matrix[a, 1] * j + matrix[a, 3]
        along(start, matrix[a, 2], size[a], margin, low[a], share[a], held)


@jitted
def augment(images: Any, matrix: Any, tones: Any, words: Any, margin: Any, fill: Any, out: Any) -> None:
    """`out` from `images`, both (C, D, H, W) float32; tones: gamma, contrast, brightness, noise, low, width."""
    channels, depth, height, width = images.shape
    low, share, held = np.empty((3, width), np.int32), np.empty((3, width), np.float32), np.empty(width, np.bool_)
    for k in range(depth):
        for j in range(height):
            geometry(matrix, k, j, (depth, height, width), margin, low, share, held)
            for c in range(channels):
                line = out[c, k, j]
                stored_at(images[c], low, share, line)
                for i in range(width):
                    line[i] = line[i] if held[i] else fill
                toned(line, tones)
                if tones[3] != 0:
                    noisy(line, tones[3], ((c * depth + k) * height + j) * width, words)


@jitted
def move_labels(labels: Any, matrix: Any, margin: Any, fill: Any, out: Any) -> None:
    """`out` from `labels`, both (C, D, H, W) of one unsigned type: the nearest voxel, a tie going up."""
    channels, depth, height, width = labels.shape
    for k in range(depth):
        for j in range(height):
            for i in range(width):
                z = matrix[0, 0] * k + matrix[0, 1] * j + matrix[0, 2] * i + matrix[0, 3]
                y = matrix[1, 0] * k + matrix[1, 1] * j + matrix[1, 2] * i + matrix[1, 3]
                x = matrix[2, 0] * k + matrix[2, 1] * j + matrix[2, 2] * i + matrix[2, 3]
                held = within(z, depth, margin) and within(y, height, margin) and within(x, width, margin)
                d, h, w = nearest(z, depth), nearest(y, height), nearest(x, width)
                for c in range(channels):
                    out[c, k, j, i] = labels[c, d, h, w] if held else fill


@jitted
def within(at: Any, count: Any, margin: Any) -> Any:
    """Whether a coordinate lies at most `margin` voxels outside."""
    return at >= -margin and at <= count - 1 + margin


@jitted
def nearest(at: Any, count: Any) -> Any:
    """The nearest voxel, clamped to the volume."""
    return np.int64(min(max(np.floor(at + (0.5 + TIE)), 0.0), count - 1.0))
