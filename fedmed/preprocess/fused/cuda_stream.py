"""Lanes onto the GPU: pinned memory, a copy and a kernel each on a stream of its own, so that they overlap."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fedmed.preprocess.fused import cuda, launch
from fedmed.preprocess.fused.arguments import checked

if TYPE_CHECKING:
    from fedmed.preprocess.fused.overlap import Work

LANES = 3
"""One is filled by the host, one copies, one computes."""


class Lane:
    """A pinned buffer, a buffer on the card, and the stream on which both are used."""

    def __init__(self) -> None:
        import cupy

        self.stream = cupy.cuda.Stream(non_blocking=True)
        self.copied = cupy.cuda.Event(disable_timing=True)
        self.pinned: Any = None
        self.card: Any = None

    def reserve(self, count: int) -> None:
        """At least `count` bytes in both buffers; they only grow."""
        import cupy

        self.copied.synchronize()  # the pinned bytes may still be under way
        if self.card is None or self.card.nbytes < count:
            self.pinned = np.frombuffer(cupy.cuda.alloc_pinned_memory(count), np.uint8, count)
            with self.stream:
                self.card = cupy.empty(count, np.uint8)


class Lanes:
    """`begin` in the drawing thread, what it returns in the consumer's; results are used on the consumer's stream."""

    def __init__(self) -> None:
        import cupy

        self.device, self.consumer = cupy.cuda.Device(), cupy.cuda.get_current_stream()
        self.lanes, self.turn = [Lane() for _ in range(LANES)], 0

    def begin(self, work: Work) -> Callable[[], Any]:
        """Copy to pinned memory, then enqueue copy and kernel; what is returned gives the result."""
        import cupy

        from fedmed.preprocess.fused.overlap import arguments_of

        request = checked(**arguments_of(work))
        lane, self.turn = self.lanes[self.turn], (self.turn + 1) % LANES
        with self.device:
            count = math.prod(request.voxels.shape) * request.voxels.dtype.itemsize
            lane.reserve(count)
            host = lane.pinned[:count].view(request.voxels.dtype).reshape(request.voxels.shape)
            np.copyto(host, request.voxels)
            # The result's memory belongs to the consumer's stream: what used it before was enqueued there, so the kernel
            # waits for that; what uses it next is enqueued there too. The copy waits for nothing.
            with self.consumer:
                out = cupy.empty(request.shape if request.single else request.out_shape, request.dtype)
                free = cupy.cuda.Event(disable_timing=True)
                free.record()
            done = cupy.cuda.Event(disable_timing=True)
            with lane.stream:
                card = lane.card[:count].view(request.voxels.dtype).reshape(request.voxels.shape)
                card.set(host, stream=lane.stream)
                lane.copied.record()
                lane.stream.wait_event(free)
                cuda.run(launch.resample(dataclasses.replace(request, voxels=card)), out)
                done.record()
        return functools.partial(self._receive, out, done)

    def _receive(self, out: Any, done: Any) -> Any:
        """The result, once the consumer's stream has been told to wait for it."""
        self.consumer.wait_event(done)
        return out
