"""Volumes prepared ahead of their use: the next is decoded while this one's kernel runs and the consumer has the last."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fedmed.preprocess.fused.arguments import Edge, Shape
from fedmed.preprocess.fused.backends import Backend, chosen
from fedmed.preprocess.fused.window import Window

T = TypeVar("T")
AHEAD = 2
"""Volumes that are decoded or computed at a time: one of each."""


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


Begin = Callable[[Work], Callable[[], Any]]
"""Begins a work in the drawing thread; what it returns waits for the result, in the consumer's thread."""


def prepare(
    works: Iterable[tuple[T, Work | None]], backend: Backend | None = None, *, ahead: int = AHEAD, threads: int = 1
) -> Iterator[tuple[T, Any]]:
    """Each label with the result of its work, in their order: a NumPy array, or a CuPy array on the GPU.

    A label without a work comes back with None, in its turn. `works` is drawn from in a thread of its own, so that a
    generator that decodes does so while kernels run: on a CPU in a second thread, which uses `threads`; on a GPU through
    pinned memory, copy and kernel on streams of their own, and the arrays are safe to use on the stream that was current
    when the first was asked for, without waiting. At most `ahead` volumes are between their drawing and their result, and
    an iterator without variables of its own (`map`) holds no further one. An error that drawing or a kernel raises is
    raised here in its turn, and ends it. Leaving the loop early ends the threads after the volumes they are at.
    Raises ValueError for an `ahead` below 1, and what `resample` raises.
    """
    if ahead < 1:
        raise ValueError(f"got {ahead} volumes ahead; at least 1")
    return _prepared(iter(works), backend or chosen(), ahead, threads)


def _prepared(works: Iterator[tuple[T, Work | None]], backend: Backend, ahead: int, threads: int) -> Iterator[tuple[T, Any]]:
    computing = ThreadPoolExecutor(1, thread_name_prefix="fedmed-prepare-kernels")
    begin = _beginning(backend, threads, computing)

    def step() -> tuple[T, Callable[[], Any]] | None:
        """One work drawn and begun; None at the end."""
        for label, work in works:
            return label, begin(work) if work is not None else lambda: None
        return None

    begun = deque[Future[tuple[T, Callable[[], Any]] | None]]()
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="fedmed-prepare") as drawing:
            try:
                begun.extend(drawing.submit(step) for _ in range(ahead))
                while drawn := begun.popleft().result():
                    label, taken = drawn[0], drawn[1]()
                    begun.append(drawing.submit(step))
                    yield label, taken
            finally:
                for future in begun:
                    future.cancel()
    finally:
        computing.shutdown(cancel_futures=True)


def _beginning(backend: Backend, threads: int, computing: ThreadPoolExecutor) -> Begin:
    """How a work is begun."""
    if backend.NAME == "cupy":
        from fedmed.preprocess.fused.cuda_stream import Lanes

        return Lanes().begin
    return lambda work: computing.submit(backend.resample, **arguments_of(work), threads=threads).result


def arguments_of(work: Work) -> dict[str, Any]:
    """A work as the keyword arguments of `resample`; nothing is copied."""
    return {field.name: getattr(work, field.name) for field in dataclasses.fields(work)}
