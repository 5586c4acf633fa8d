"""The augmentations as loops for numba, one sample (C, D, H, W) at a time; twin_augment.py says what they compute."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedmed.preprocess.fused.arguments import TIE
from fedmed.preprocess.fused.jit import jitted
from fedmed.preprocess.fused.loops import along, stored_at
from fedmed.preprocess.fused.noise import DEVIATION, MEAN, MULTIPLIER, ROUNDS, WEYL

BYTES = np.uint32(0x00FF00FF)
LOW = np.uint32(0xFFFF)
UNIT = np.float32(1 / DEVIATION)


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
    """`out` from `images`, both (C, D, H, W) float32; tones: gamma, contrast, brightness, noise, low, width; last in units."""
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
