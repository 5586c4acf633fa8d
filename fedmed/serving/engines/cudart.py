"""The few calls of the CUDA runtime that an engine needs, through ctypes: TensorRT brings the library, not its bindings.

Source: CUDA Runtime API, "Memory Management", "Stream Management", "Device Management". Unmeasured: no card was at hand.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any

from fedmed.errors import EngineFailed

LIBRARIES = ("libcudart.so", "libcudart.so.12", "libcudart.so.13")
TO_DEVICE, TO_HOST = 1, 2  # cudaMemcpyKind
MAJOR, MINOR = 75, 76  # cudaDevAttrComputeCapabilityMajor and Minor


@lru_cache(maxsize=1)
def library() -> Any | None:
    """The CUDA runtime, or None."""
    for name in LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def why_not() -> str | None:
    """Why there is no card to compute on, or None."""
    if (runtime := library()) is None:
        return f"there is no CUDA runtime ({', '.join(LIBRARIES)})"
    count = ctypes.c_int()
    code = runtime.cudaGetDeviceCount(ctypes.byref(count))
    return None if code == 0 and count.value else f"there is no CUDA card (error {code})"


def architecture() -> str:
    """Of the first card: `sm87` on Orin, `sm75` on T4."""
    digits = []
    for attribute in (MAJOR, MINOR):
        value = ctypes.c_int()
        _call("cudaDeviceGetAttribute", ctypes.byref(value), attribute, 0)
        digits.append(str(value.value))
    return "sm" + "".join(digits)


class Buffer:
    """Memory on the card; it goes with the object."""

    def __init__(self, size: int) -> None:
        self.size, self._pointer = size, ctypes.c_void_p()
        _call("cudaMalloc", ctypes.byref(self._pointer), ctypes.c_size_t(size))

    @property
    def address(self) -> int:
        """As a number, for TensorRT."""
        return int(self._pointer.value or 0)

    def fill(self, source: int, size: int) -> None:
        """Copy `size` bytes from the host's address `source`."""
        _call("cudaMemcpy", self._pointer, ctypes.c_void_p(source), ctypes.c_size_t(size), TO_DEVICE)

    def read(self, target: int, size: int) -> None:
        """Copy `size` bytes to the host's address `target`."""
        _call("cudaMemcpy", ctypes.c_void_p(target), self._pointer, ctypes.c_size_t(size), TO_HOST)

    def __del__(self) -> None:
        if self._pointer.value and (runtime := library()) is not None:
            runtime.cudaFree(self._pointer)


def new_stream() -> int:
    """A stream, as a number."""
    stream = ctypes.c_void_p()
    _call("cudaStreamCreate", ctypes.byref(stream))
    return int(stream.value or 0)


def wait(stream: int) -> None:
    """Until all that was given to the stream is done."""
    _call("cudaStreamSynchronize", ctypes.c_void_p(stream))


def _call(name: str, *arguments: Any) -> None:
    runtime = library()
    if runtime is None:
        raise EngineFailed(why_not() or "there is no CUDA runtime")
    if (code := getattr(runtime, name)(*arguments)) != 0:
        raise EngineFailed(f"{name} ended with the CUDA error {code}")
