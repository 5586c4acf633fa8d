"""The fused pass against the memory's own speed and against SciPy; on a GPU, against the card's copy bandwidth.

    python benchmarks/kernels.py [--json]

One CT of 128 x 512 x 512 uint16 at 2.5 x .78 x .78 mm becomes 192^3 at 1.5 mm, windowed to 0..1. Every arm gives the same
voxels, which are compared; arms run in turn, one thread each, and CPU seconds count. The floor is the time that reading the
whole input once and writing the output once would take at the speed of np.copyto, measured in the same turns, into memory
that was written before, as the arms write. (192^3 need 46 % of the input; "whole field" needs all of it.) The peer is
scipy.ndimage.affine_transform (order 1, nearest) on the rescaled volume, then the window. On a GPU, times are those of its
events, and the bandwidth is that of a copy on the card.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import scipy
from form import Row, make_row, show
from numpy.typing import NDArray
from scipy import ndimage

from fedmed.preprocess.fused import backends, compiled, cuda, overlap, parity, twin
from fedmed.preprocess.fused.augmentation import AugmentRanges, draw
from fedmed.preprocess.fused.window import Window

SIZE, SHAPE, WHOLE = (128, 512, 512), (192, 192, 192), (214, 267, 267)
STEPS = (1.5 / 2.5, 1.5 / 0.78125, 1.5 / 0.78125)
WINDOW = Window(-160, 240)
TURNS = 15
SLOW_TURNS = 3
BATCH = (16, 1, 224, 224)
TIMES_OF_THE_FLOOR = 3.0
SHARE_OF_BANDWIDTH = 0.8
RANGES = AugmentRanges(rotation_deg=(15, 0, 0), scale=(0.9, 1.1), gamma=(0.8, 1.2), contrast=(0.9, 1.1), noise=(0, 0.05))

Arms = dict[str, Callable[[], Any]]


def volume() -> NDArray[np.uint16]:
    """Stored values 0..3000; which they are makes no difference to the speed."""
    return np.random.default_rng(1).integers(0, 3000, SIZE).astype(np.uint16)


def grid(kind: str) -> NDArray[np.float64]:
    """The grid along the axes, or tilted by 17 degrees, turned by 6, or with axes exchanged; centres aligned."""
    axes = np.diag(STEPS)
    if kind == "tilted":
        axes[1, 0] = np.tan(np.radians(17)) * STEPS[0] * 2.5 / 0.78125
    if kind == "oblique":
        turn = np.radians(6)
        axes = axes @ np.array([[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]])
    if kind == "exchanged":
        axes = axes[:, [1, 2, 0]]
    inner, outer = (np.array(SIZE) - 1) / 2, (np.array(WHOLE if kind == "whole field" else SHAPE) - 1) / 2
    return np.column_stack([axes, inner - axes @ outer])


def case(voxels: Any, kind: str = "along the axes", dtype: str = "float32") -> dict[str, Any]:
    """Arguments of `resample`."""
    slope, intercept = np.ones(SIZE[0]), np.full(SIZE[0], -1024.0)
    common = {"shape": WHOLE if kind == "whole field" else SHAPE, "window": WINDOW, "dtype": dtype}
    return {"voxels": voxels, "slope": slope, "intercept": intercept, "to_voxel": grid(kind), **common}


def by_scipy(voxels: NDArray[np.uint16]) -> NDArray[np.float32]:
    """The peer: three passes."""
    units = voxels.astype(np.float32) - np.float32(1024)
    matrix = grid("along the axes")
    moved = ndimage.affine_transform(units, np.diag(matrix[:, :3]), matrix[:, 3], SHAPE, order=1, mode="nearest")
    return np.clip((moved + 160) / 400, 0, 1)


def in_turn(arms: Arms, turns: int, clock: Callable[[], float] = time.process_time) -> dict[str, list[float]]:
    """Seconds of each arm, one after the other in each turn; each ran once before."""
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for arm in arms.values():
        arm()
    for _ in range(turns):
        for name, arm in arms.items():
            began = clock()
            arm()
            seconds[name].append(clock() - began)
    return seconds


def row_ms(name: str, seconds: list[float], bar: str = "", holds: bool | None = None) -> Row:
    """Milliseconds, with the median in the unit."""
    return make_row(name, min(seconds) * 1e3, f"CPU ms, min (median {median(seconds) * 1e3:.2f})", bar, holds)


def on_cpu() -> list[Row]:
    """The compiled path, the floor and the peer."""
    voxels = volume()
    copy, single, half = np.zeros_like(voxels), np.zeros(SHAPE, np.float32), np.zeros(SHAPE, np.float16)
    whole = np.zeros(WHOLE, np.float32)
    outputs = {"float32": single, "float16": half, "whole field": whole, "padding masked": single, "two threads": single}
    arms: Arms = {
        "copy": lambda: np.copyto(copy, voxels),
        "float32": lambda: compiled.resample(**case(voxels), out=single),
        "float16": lambda: compiled.resample(**case(voxels, dtype="float16"), out=half),
        "whole field": lambda: compiled.resample(**case(voxels, "whole field"), out=whole),
        "padding masked": lambda: compiled.resample(**case(voxels), padding=(4000, 4000), out=single),
        "two threads": lambda: compiled.resample(**case(voxels), out=single, threads=2),
    }
    seconds = in_turn(arms, TURNS)
    bandwidth = 2 * voxels.nbytes / min(seconds["copy"])
    rows = [make_row("np.copyto, read and written", bandwidth / 1e9, "GB/s")]
    for name, out in outputs.items():
        ratio = min(seconds[name]) * bandwidth / (voxels.nbytes + out.nbytes)
        bar = f"<= {TIMES_OF_THE_FLOOR:g}"
        rows.append(row_ms(f"fused pass, {name}, {' x '.join(map(str, out.shape))}", seconds[name]))
        rows.append(make_row(f"fused pass, {name}", ratio, "times the floor", bar, ratio <= TIMES_OF_THE_FLOOR))
    return [*rows, *other_grids(voxels), *peer(voxels), *augmented()]


def other_grids(voxels: NDArray[np.uint16]) -> list[Row]:
    """Grids that are not along the axes."""
    out = np.zeros(SHAPE, np.float32)
    kinds = ("tilted", "exchanged", "oblique")
    arms: Arms = {kind: lambda kind=kind: compiled.resample(**case(voxels, kind), out=out) for kind in kinds}  # type: ignore[misc]
    return [row_ms(f"fused pass, {kind} grid", seconds) for kind, seconds in in_turn(arms, SLOW_TURNS).items()]


def peer(voxels: NDArray[np.uint16]) -> list[Row]:
    """SciPy on the same grid, and what the outputs differ by."""
    out = np.zeros(SHAPE, np.float32)
    arms: Arms = {"ours": lambda: compiled.resample(**case(voxels), out=out), "scipy": lambda: by_scipy(voxels)}
    seconds = in_turn(arms, SLOW_TURNS)
    apart = float(np.abs(compiled.resample(**case(voxels)) - by_scipy(voxels)).max())
    error = float(np.abs(compiled.resample(**case(voxels)).astype(np.float64) - twin.resample(**case(voxels))).max())
    return [
        row_ms(f"SciPy {scipy.__version__}, affine_transform and window", seconds["scipy"]),
        make_row("SciPy against the fused pass", min(seconds["scipy"]) / min(seconds["ours"]), "times its CPU seconds"),
        make_row("largest difference from SciPy", apart, "of the output range", "<= 1e-5", apart <= 1e-5),
        make_row("largest difference from the definition", error, "of the output range", "<= 1e-5", error <= 1e-5),
    ]


def augmented() -> list[Row]:
    """A batch of images, all augmentations on."""
    generator = np.random.default_rng(2)
    images = generator.uniform(0, 1, BATCH).astype(np.float32)
    parameters = draw(RANGES, generator, BATCH[0], (1, *BATCH[2:]))
    seconds = in_turn({"augment": lambda: compiled.augment(images, parameters)}, TURNS)["augment"]
    return [row_ms(f"augment, {BATCH[0]} images of {BATCH[2]} x {BATCH[3]}", seconds)]


def first_calls() -> list[Row]:
    """What a new process pays before its first result: nothing compiled before, then machine code from the cache."""
    call = "import numpy as np, time; began = time.process_time()\nfrom fedmed.preprocess.fused import compiled\n" + (
        "one = np.ones(3); v = np.zeros((3, 4, 5), np.uint16)\n"
        "compiled.resample(v, one, one, np.eye(4)[:3], (3, 4, 5), window=None)\nprint(time.process_time() - began)"
    )
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in ("nothing cached", "cached on disk"):
            environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
            done = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, check=True, env=environment)
            rows.append(make_row(f"first call of a process, {name}, import included", float(done.stdout), "CPU s"))
    return rows


def on_gpu() -> list[Row]:
    """The kernels on the card at hand, or one row that says why there is none."""
    if reason := cuda.why_not():
        bar = f">= {SHARE_OF_BANDWIDTH:.0%}"
        return [{"name": "kernels on a GPU", "value": "-", "unit": f"not measured: {reason}", "bar": bar, "holds": None}]
    import cupy

    voxels = cupy.asarray(volume())
    big = cupy.zeros(2**29, np.uint8)
    target = cupy.empty_like(big)
    out = {name: cupy.zeros(SHAPE, name) for name in ("float32", "float16")}
    arms: Arms = {"copy": lambda: cupy.copyto(target, big)}
    moved = {"copy": 2 * big.nbytes}
    for kind, dtype in (
        ("along the axes", "float32"),
        ("along the axes", "float16"),
        ("tilted", "float32"),
        ("oblique", "float32"),
    ):
        name = f"fused kernel, {kind}, {dtype}"
        arms[name] = prepared(case(voxels, kind, dtype), out[dtype])
        moved[name] = voxels.nbytes + out[dtype].nbytes
    seconds = {name: gpu_seconds(arm) for name, arm in arms.items()}
    bandwidth = moved["copy"] / median(seconds["copy"])
    rows = [make_row(f"{cuda.version()}: copy, read and written", bandwidth / 1e9, "GB/s")]
    for name in list(arms)[1:]:
        share = moved[name] / median(seconds[name]) / bandwidth
        bar = f">= {SHARE_OF_BANDWIDTH:.0%}" if "along" in name else ""
        unit = f"of the copy bandwidth ({median(seconds[name]) * 1e6:.0f} us, median)"
        rows.append(make_row(name, share, unit, bar, share >= SHARE_OF_BANDWIDTH if bar else None))
    return [*rows, *end_to_end(), *certified()]


def prepared(arguments: dict[str, Any], out: Any) -> Callable[[], None]:
    """The kernel alone: arguments checked and on the card before."""
    import dataclasses

    import cupy

    from fedmed.preprocess.fused import launch
    from fedmed.preprocess.fused.arguments import checked

    options = {"padding": None, "fill": 0.0, "edge": "border", **arguments}
    call = launch.resample(checked(**options))
    on_card = dataclasses.replace(call, inputs=tuple(cupy.asarray(array) for array in call.inputs))
    return lambda: cuda.run(on_card, out)


def gpu_seconds(arm: Callable[[], Any], turns: int = 50) -> list[float]:
    """Between two events around each call, after three calls."""
    import cupy

    for _ in range(3):
        arm()
    seconds = []
    for _ in range(turns):
        began, ended = cupy.cuda.Event(), cupy.cuda.Event()
        began.record()
        arm()
        ended.record()
        ended.synchronize()
        seconds.append(cupy.cuda.get_elapsed_time(began, ended) / 1e3)
    return seconds


def end_to_end() -> list[Row]:
    """Volumes on the host to tensors, wall seconds: the GPU through pinned memory and streams, the CPU on one thread."""
    voxels, count = volume(), 20
    options = {name: value for name, value in case(voxels).items() if name != "voxels"}
    works = [(number, overlap.Work(voxels, **options)) for number in range(count)]
    wall = {}
    for name in ("cupy", "numba"):
        module = backends.chosen(name)
        module.to_host(next(overlap.prepare(works[:1], module))[1])
        began = time.perf_counter()
        for _, result in overlap.prepare(works, module):
            last = result
        module.to_host(last)
        wall[name] = (time.perf_counter() - began) / count
    return [
        make_row("volume on the host to tensor, GPU", wall["cupy"] * 1e3, "ms a volume, wall"),
        make_row("the same on the CPU, one thread", wall["numba"] * 1e3, "ms a volume, wall"),
    ]


def certified() -> list[Row]:
    """Figures of a kernel that is wrong are worth nothing."""
    found = parity.certificate(backends.chosen("cupy"))
    share = found.max_error / found.bound
    return [make_row(f"parity, worst of {found.cases} cases", share, "of its bound", "<= 1", found.passed)]


def main() -> None:
    """Read the options, run, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    show("kernels", [*on_cpu(), *first_calls(), *on_gpu()], options.json)


if __name__ == "__main__":
    main()
