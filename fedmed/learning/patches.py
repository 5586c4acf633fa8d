"""Patches of images and their masks to train on, drawn by a seeded generator: the same on every run and after a resume."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fedmed.config.scenario import Patches

Batch = tuple[Tensor, Tensor]


class Sampler:
    """Cuts patches out of images `(N, C, [D,] H, W)` and masks `(N, [D,] H, W)`."""

    def __init__(self, images: Tensor, masks: Tensor, patches: Patches, generator: torch.Generator) -> None:
        self._images, self._masks, self._patches, self._generator = images, masks, patches, generator
        self._places: dict[int, list[Tensor]] = {}
        self._grid = masks.shape[1:]
        self._size = [min(have, want) for have, want in zip(self._grid, patches.size, strict=True)]

    def batch(self, rows: Tensor) -> Batch:
        """One patch of each of the given cases, padded with zeros where a case is smaller than a patch."""
        cut = [self._cut(int(row)) for row in rows]
        return torch.stack([x for x, _ in cut]), torch.stack([y for _, y in cut])

    def _cut(self, row: int) -> Batch:
        starts = self._around_foreground(row) or self._anywhere()
        window = tuple(slice(start, start + size) for start, size in zip(starts, self._size, strict=True))
        x, y = self._images[row][(slice(None), *window)], self._masks[row][window]
        return padded(x, self._patches.size), padded(y, self._patches.size)

    def _anywhere(self) -> list[int]:
        return [self._number(have - size + 1) for have, size in zip(self._grid, self._size, strict=True)]

    def _around_foreground(self, row: int) -> list[int] | None:
        """Starts of a patch around a voxel of a foreground class drawn evenly (nnU-Net, Isensee et al. 2021); None if none.

        A share of the draws (`patches.foreground`) asks for it; the others are anywhere.
        """
        if torch.rand((), generator=self._generator) >= self._patches.foreground:
            return None
        classes = self._foreground(row)
        if not classes:
            return None
        places = classes[self._number(len(classes))]
        place = int(places[self._number(len(places))])
        starts = []
        for have, size in reversed(list(zip(self._grid, self._size, strict=True))):
            place, at = divmod(place, have)
            starts.append(min(max(at - size // 2, 0), have - size))
        return starts[::-1]

    def _foreground(self, row: int) -> list[Tensor]:
        """Flat places of every foreground class in a case, looked up once."""
        if row not in self._places:
            flat = self._masks[row].reshape(-1)
            present = [int(k) for k in torch.unique(flat) if k > 0]
            self._places[row] = [torch.nonzero(flat == k)[:, 0].to(torch.int32) for k in present]
        return self._places[row]

    def _number(self, below: int) -> int:
        return int(torch.randint(below, (), generator=self._generator))


def padded(x: Tensor, size: Sequence[int]) -> Tensor:
    """`x` with zeros behind its last `len(size)` axes, up to `size`; larger axes stay as they are."""
    have = x.shape[-len(size) :]
    behind = [(0, max(0, want - there)) for there, want in zip(have, size, strict=True)]
    flat = [number for pair in reversed(behind) for number in pair]
    return torch.nn.functional.pad(x, flat) if any(flat) else x
