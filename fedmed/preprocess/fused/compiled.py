"""The fused pass on the CPU: numba's machine code, without the GIL, on as many threads as the caller says."""

from __future__ import annotations

import dataclasses
import functools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fedmed.errors import MissingPart
from fedmed.preprocess.fused.arguments import Edge, Request, Shape, check_out, checked, delivered
from fedmed.preprocess.fused.augmentation import AugmentParameters, as_volumes, check_images, check_labels
from fedmed.preprocess.fused.folding import folded
from fedmed.preprocess.fused.paths import MARGIN, Job, fill_outside, jobs
from fedmed.preprocess.fused.sources import digest
from fedmed.preprocess.fused.window import Window

NAME = "numba"
SOURCES = ("jit.py", "loops.py", "paths.py")


@functools.cache
def why_not() -> str | None:
    """Why this back end cannot run here, or None."""
    try:
        import fedmed.preprocess.fused.loops  # noqa: F401
    except ImportError as error:
        return f"numba cannot be imported ({error}); install fedmed[imaging]"
    return None


def version() -> str:
    """numba's."""
    import numba

    return f"numba {numba.__version__}"


def source_sha256() -> str:
    """Of the files that compute the results."""
    return digest(SOURCES)


def adopted(array: Any) -> NDArray[Any]:
    """An array on the host of another library (DLPack), without a copy."""
    return np.from_dlpack(array)


def to_host(array: NDArray[Any]) -> NDArray[Any]:
    """Results of this back end are NumPy arrays already."""
    return array


def resample(
    voxels: NDArray[np.generic],
    slope: NDArray[np.generic],
    intercept: NDArray[np.generic],
    to_voxel: NDArray[np.generic],
    shape: Shape,
    *,
    window: Window | None,
    padding: tuple[float, float] | None = None,
    fill: float = 0.0,
    edge: Edge = "border",
    dtype: DTypeLike = np.float32,
    out: NDArray[Any] | None = None,
    threads: int = 1,
) -> NDArray[Any]:
    """What twin.resample defines, in float32 within folding.bound; the same bits for any number of threads.

    Raises ValueError as the twin does, and MissingPart without numba.
    """
    _need_numba()
    request = checked(voxels, slope, intercept, to_voxel, shape, window, padding, fill, edge, dtype)
    request = dataclasses.replace(request, voxels=_readable(request.voxels))
    result = _target(request, out)
    bits = result.view(np.uint16) if request.dtype == np.float16 else result
    fold, parts = folded(request), -(-max(threads, 1) // len(result))
    _run([job for n, volume in enumerate(bits) for job in jobs(request, fold, n, volume, parts)], threads)
    if edge == "constant":
        for n, volume in enumerate(result):
            fill_outside(request, fold, n, volume)
    final: NDArray[Any] = delivered(result, request, out)
    return final


class _Memory:
    """An array's memory under another view."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array
        address = array.__array_interface__["data"][0]
        self.__array_interface__ = {**array.__array_interface__, "data": (address, False)}


def _readable(array: NDArray[Any]) -> NDArray[Any]:
    """`array` as the loops take it: C-contiguous and aligned, copied only if it must be.

    Said to be writable though no loop writes into it: numba would compile all of them again for what is read-only, as
    arrays over a file's bytes are.
    """
    fit = np.require(array, requirements=["C", "A"])
    return fit if fit.flags.writeable else np.asarray(_Memory(fit))


def _target(request: Request, out: NDArray[Any] | None) -> NDArray[Any]:
    """`out` itself where the loops can write into it."""
    if out is not None:
        check_out(out, request)
        if out.flags.c_contiguous and out.flags.writeable and out.dtype.isnative:
            return out[None] if request.single else out
    return np.empty(request.out_shape, request.dtype)


def _run(work: list[Job], threads: int) -> None:
    """Every job once; a result does not depend on who computed it."""
    if threads <= 1 or len(work) == 1:
        for job in work:
            job()
        return
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(job) for job in work]:
            done.result()


def augment(
    images: NDArray[np.float32],
    parameters: AugmentParameters,
    *,
    values: tuple[float, float] = (0.0, 1.0),
    edge: Edge = "border",
    fill: float = 0.0,
    threads: int = 1,
) -> NDArray[np.float32]:
    """What twin_augment.augment defines, within augmentation.bound; the same bits for any number of threads.

    Raises ValueError as the twin does, and MissingPart without numba.
    """
    _need_numba()
    from fedmed.preprocess.fused import loops

    check_images(images, values)
    volumes = _readable(as_volumes(images, parameters, edge))
    result, margin = np.empty_like(volumes), MARGIN if edge == "constant" else np.inf
    width = np.float32(values[1] - values[0])
    work: list[Job] = []
    for n, matrix in enumerate(np.array(np.broadcast_to(parameters.to_voxel, (len(volumes), 3, 4)), np.float64)):
        tone = (parameters.gamma[n], parameters.contrast[n], parameters.brightness[n] * width, parameters.noise[n] * width)
        tones = (*(np.float32(number) for number in tone), np.float32(values[0]), width)
        key = int(parameters.key[n])
        words = (np.uint32(key & 0xFFFFFFFF), np.uint32(key >> 32))
        job = functools.partial(loops.augment, volumes[n], matrix, tones, words, margin, np.float32(fill), result[n])
        work.append(job)
    _run(work, threads)
    return result.reshape(images.shape)


def augment_labels(
    labels: NDArray[np.generic], parameters: AugmentParameters, *, edge: Edge = "border", fill: int = 0, threads: int = 1
) -> NDArray[Any]:
    """What twin_augment.augment_labels defines, to the last bit.

    Raises ValueError as the twin does, and MissingPart without numba.
    """
    _need_numba()
    from fedmed.preprocess.fused import loops

    check_labels(labels)
    volumes = _readable(as_volumes(labels, parameters, edge))
    as_bits = np.dtype(f"u{labels.dtype.itemsize}")
    bits, result = volumes.view(as_bits), np.empty(volumes.shape, as_bits)
    outside, margin = np.array(fill, labels.dtype).view(as_bits)[()], MARGIN if edge == "constant" else np.inf
    matrices = np.array(np.broadcast_to(parameters.to_voxel, (len(volumes), 3, 4)), np.float64)
    _run(
        [
            functools.partial(loops.move_labels, bits[n], matrices[n], margin, outside, result[n])
            for n in range(len(volumes))
        ],
        threads,
    )
    return result.view(labels.dtype).reshape(labels.shape)


def _need_numba() -> None:
    if reason := why_not():
        raise MissingPart(reason)
