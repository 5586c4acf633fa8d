"""The fused pass on a GPU: kernels/*.cu through CuPy, compiled for the card at hand."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fedmed.errors import MissingPart
from fedmed.preprocess.fused import launch, twin
from fedmed.preprocess.fused.arguments import Edge, Request, Shape, check_out, checked
from fedmed.preprocess.fused.augmentation import AugmentParameters, as_volumes, check_images, check_labels
from fedmed.preprocess.fused.folding import bound
from fedmed.preprocess.fused.window import Window

NAME = "cupy"
HOST = 1
"""DLPack's number of memory that the CPU owns."""


@functools.cache
def why_not() -> str | None:
    """Why this back end cannot run here, or None once a kernel was compiled, run, and found right.

    CuPy's own `is_available()` only counts devices: on a Jetson with a mismatched driver it says yes and no kernel runs.
    """
    try:
        import cupy
        from cupy.cuda.compiler import CompileException
    except ImportError as error:
        return f"CuPy cannot be imported ({_line(error)}); install fedmed[gpu]"
    try:
        if cupy.cuda.runtime.getDeviceCount() == 0:
            return "CuPy finds no GPU"
        return _probe()
    except (RuntimeError, OSError, ImportError, CompileException) as error:
        return f"no kernel runs on a GPU here ({type(error).__name__}: {_line(error)})"


def _line(error: Exception) -> str:
    """An error's text as one line that is not too long: CuPy's and the compiler's fill screens."""
    return " ".join(str(error).split())[:300]


def _probe() -> str | None:
    """Run one kernel of each source on a small volume and compare it with the definition."""
    voxels = (np.arange(5 * 6 * 7, dtype=np.int16) * 37 % 211 - 90).reshape(5, 6, 7)
    matrix = np.array([[0.7, 0.1, 0, 0.2], [0, 0.8, 0.2, -0.3], [0.1, 0, 0.6, 0.4]])
    window = Window(-80.0, 100.0)
    wanted = twin.resample(voxels, np.ones(5), np.zeros(5), matrix, (6, 6, 40), window=window)
    request = checked(voxels, np.ones(5), np.zeros(5), matrix, (6, 6, 40), window, None, 0.0, "border", np.float32)
    error = float(np.abs(to_host(_resampled(request, None))[0] - wanted).max())
    return None if error <= bound(request) else f"a kernel ran on the GPU, but its result is wrong by {error:.3g}"


def version() -> str:
    """CuPy's, CUDA's, and the card's compute capability."""
    import cupy

    runtime = cupy.cuda.runtime.runtimeGetVersion()
    return (
        f"cupy {cupy.__version__}, CUDA {runtime // 1000}.{runtime % 1000 // 10}, sm_{cupy.cuda.Device().compute_capability}"
    )


def source_sha256() -> str:
    """Of the kernels' sources."""
    return launch.source_sha256()


def adopted(array: Any) -> Any:
    """An array of another library (DLPack): without a copy where it lies on a GPU, else copied there."""
    import cupy

    on_host = array.__dlpack_device__()[0] == HOST
    return cupy.asarray(np.from_dlpack(array)) if on_host else cupy.from_dlpack(array)


def to_host(array: Any) -> NDArray[Any]:
    """A result of this back end as a NumPy array; waits for it."""
    import cupy

    host: NDArray[Any] = cupy.asnumpy(array)
    return host


def resample(
    voxels: Any,
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
    out: Any = None,
    threads: int = 1,
) -> Any:
    """What twin.resample defines, in float32 within folding.bound: a CuPy array, on CuPy's current stream.

    `voxels` may lie on the host (NumPy) or on the GPU (CuPy); `out`, where given, is a C-contiguous CuPy array. `threads`
    is for the CPU. Raises ValueError as the twin does, and MissingPart where no kernel runs.
    """
    _need_gpu()
    return _resampled(checked(voxels, slope, intercept, to_voxel, shape, window, padding, fill, edge, dtype), out)


def _resampled(request: Request, out: Any) -> Any:
    import cupy

    on_card = dataclasses.replace(request, voxels=cupy.ascontiguousarray(cupy.asarray(request.voxels)))
    if out is None:
        out = cupy.empty(request.shape if request.single else request.out_shape, request.dtype)
    check_out(out, request)
    if not out.flags.c_contiguous:
        raise ValueError("got an out that is not C-contiguous")
    run(launch.resample(on_card), out)
    return out


def run(call: launch.Launch, out: Any) -> None:
    """Enqueue one kernel on CuPy's current stream."""
    import cupy

    inputs = [cupy.asarray(array) for array in call.inputs]
    kernel = _module(call.source, cupy.cuda.Device().id).get_function(call.entry)
    kernel((call.blocks,), launch.BLOCK, (*inputs, out, *call.scalars))


@functools.cache
def _module(name: str, device: int) -> Any:
    import cupy

    # No fast-math: it would round divisions, roots and powers otherwise than the bounds say.
    return cupy.RawModule(code=launch.source(name))


def augment(
    images: Any,
    parameters: AugmentParameters,
    *,
    values: tuple[float, float] = (0.0, 1.0),
    edge: Edge = "border",
    fill: float = 0.0,
    threads: int = 1,
) -> Any:
    """What twin_augment.augment defines, within augmentation.bound: a CuPy array, on CuPy's current stream.

    Raises ValueError as the twin does, and MissingPart where no kernel runs.
    """
    _need_gpu()
    import cupy

    check_images(images, values)
    volumes = cupy.ascontiguousarray(cupy.asarray(as_volumes(images, parameters, edge)))
    out = cupy.empty(images.shape, np.float32)
    run(launch.augment(volumes, parameters, values, edge, fill), out)
    return out


def augment_labels(
    labels: Any, parameters: AugmentParameters, *, edge: Edge = "border", fill: int = 0, threads: int = 1
) -> Any:
    """What twin_augment.augment_labels defines, to the last bit: a CuPy array.

    Raises ValueError as the twin does, and MissingPart where no kernel runs.
    """
    _need_gpu()
    import cupy

    check_labels(labels)
    volumes = cupy.ascontiguousarray(cupy.asarray(as_volumes(labels, parameters, edge)))
    out = cupy.empty(labels.shape, labels.dtype)
    bits = np.dtype(f"u{labels.dtype.itemsize}")
    run(launch.labels(volumes.view(bits), parameters, edge, fill), out.view(bits))
    return out


def _need_gpu() -> None:
    if reason := why_not():
        raise MissingPart(reason)
