"""Volumes prepared ahead of their use: decode, copy and kernel of the next while the consumer works on this one."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fedmed.preprocess.fused.arguments import Edge, Shape
from fedmed.preprocess.fused.backends import Backend, chosen
from fedmed.preprocess.fused.window import Window

AHEAD = 2
"""Volumes prepared before they are asked for."""


@dataclass(frozen=True)
class Work:
    """The arguments of one `resample`, on the host."""

    voxels: NDArray[np.generic]
    slope: NDArray[np.generic]
    intercept: NDArray[np.generic]
    to_voxel: NDArray[np.generic]
    shape: Shape
    window: Window | None
    padding: tuple[float, float] | None = None
    fill: float = 0.0
    edge: Edge = "border"
    dtype: DTypeLike = np.float32


Submit = Callable[[Work], Any]
Receive = Callable[[Any], Any]


def prepare(works: Iterable[Work], backend: Backend | None = None, *, ahead: int = AHEAD, threads: int = 1) -> Iterator[Any]:
    """The result of each work, in their order: NumPy arrays, or CuPy arrays on the GPU.

    `works` is drawn from in a thread of its own, at most `ahead` results before the consumer, so that a generator that
    decodes does so meanwhile; an error it raises is raised here in its turn. On a GPU a volume goes through pinned memory,
    and copy and kernel run on streams of their own: the arrays are safe to use on the stream that was current when the
    first was asked for, without waiting. Leaving the loop early ends the thread after the volume it is at.
    Raises ValueError for an `ahead` below 1, and what `resample` raises.
    """
    if ahead < 1:
        raise ValueError(f"got {ahead} volumes ahead; at least 1")
    return _prepared(iter(works), backend or chosen(), ahead, threads)


def _prepared(works: Iterator[Work], backend: Backend, ahead: int, threads: int) -> Iterator[Any]:
    submit, receive = _stages(backend, threads)

    def step() -> list[Any]:
        """One work drawn and begun; nothing at the end."""
        for work in works:
            return [submit(work)]
        return []

    with ThreadPoolExecutor(1, thread_name_prefix="fedmed-prepare") as pool:
        begun = deque[Future[list[Any]]]()
        try:
            begun.extend(pool.submit(step) for _ in range(ahead))
            while result := begun.popleft().result():
                begun.append(pool.submit(step))
                yield receive(result[0])
        finally:
            for future in begun:
                future.cancel()


def _stages(backend: Backend, threads: int) -> tuple[Submit, Receive]:
    """How a work is begun in the thread, and how its result is taken in the consumer's."""
    if backend.NAME == "cupy":
        from fedmed.preprocess.fused.cuda_stream import Lanes

        lanes = Lanes()
        return lanes.submit, lanes.receive
    return lambda work: backend.resample(**arguments_of(work), threads=threads), lambda result: result


def arguments_of(work: Work) -> dict[str, Any]:
    """A work as the keyword arguments of `resample`; nothing is copied."""
    return {field.name: getattr(work, field.name) for field in dataclasses.fields(work)}
