"""A folder of slices to a finished tensor, one thread each: MONAI, SimpleITK and fedmed on the same grid.

    scripts/bench dicom_peers [--json]

Every arm reads the whole folder, resamples to 1.5 mm isotropic and windows -160..240 HU to 0..1. The output grid is the one
that MONAI chooses, edges are the nearest voxel's, and the outputs are compared voxel by voxel; the arms run in turn, in one
process. MONAI runs in float32, its faster mode (its default is float64). fedmed runs with every check of its intake: caps,
geometry, duplicates, gaps, padding. The SHA-256 over the voxels, by which the cache names a volume and which the peers have
nothing like, is a row of its own. CPU seconds of the process are quoted; the data is in the page cache.
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
from form import Row, data_root, make_row, need, show
from numpy.typing import NDArray

SPACING_MM = 1.5
LOW, HIGH = -160.0, 240.0
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
REAL = "ct/acrin_chest_petct_49"
BARS = {"synthetic": 8.0, "real": 4.0}
SITK_BAR = 3.0
MEMORY_BAR_MB = 300

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Grid:
    """Where the output voxels lie: index `(k, j, i, 1)` -> mm, LPS+."""

    affine: NDArray[np.float64]
    shape: tuple[int, int, int]


@dataclass
class Arm:
    """One library's way from the folder to the tensor."""

    name: str
    run: Callable[[], Array]
    seconds: list[float] = field(default_factory=list)

    def timed(self) -> Array:
        """One run, its CPU seconds noted."""
        began = time.process_time()
        found = self.run()
        self.seconds.append(time.process_time() - began)
        return found


def monai(folder: Path) -> tuple[Array, Grid]:
    """MONAI 1.x, PydicomReader, float32: the tensor `(K, J, I)` and its grid."""
    import torch
    from monai.transforms import EnsureChannelFirst, LoadImage, ScaleIntensityRange, Spacing

    torch.set_num_threads(1)
    image = EnsureChannelFirst()(LoadImage(reader="PydicomReader")(folder))
    spaced = Spacing((SPACING_MM,) * 3, mode="bilinear", padding_mode="border", dtype=torch.float32)(image)
    windowed = ScaleIntensityRange(LOW, HIGH, 0, 1, clip=True)(spaced)
    values = np.asarray(windowed)[0].transpose(2, 1, 0)
    affine = (RAS_TO_LPS @ np.asarray(windowed.affine, np.float64))[:, [2, 1, 0, 3]]
    return values, Grid(affine, values.shape)


def simpleitk(folder: Path, grid: Grid) -> Array:
    """SimpleITK's reader (names by GDCM), resampler and window filter on `grid`."""
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    reader.SetOutputPixelType(sitk.sitkFloat32)
    image = reader.Execute()
    across = grid.affine[:3, [2, 1, 0]]
    spacing = np.linalg.norm(across, axis=0)
    resample = sitk.ResampleImageFilter()
    resample.SetSize([int(n) for n in grid.shape[::-1]])
    resample.SetOutputSpacing(spacing.tolist())
    resample.SetOutputOrigin(grid.affine[:3, 3].tolist())
    resample.SetOutputDirection((across / spacing).ravel().tolist())
    resample.SetInterpolator(sitk.sitkLinear)
    resample.UseNearestNeighborExtrapolatorOn()
    windowed = sitk.IntensityWindowing(resample.Execute(image), LOW, HIGH, 0.0, 1.0)
    return sitk.GetArrayFromImage(windowed)


def ours(folder: Path, grid: Grid, split: list[tuple[float, float, float]] | None = None, digest: bool = False) -> Array:
    """fedmed: survey with its checks, load, one fused pass; `split` gets the CPU seconds of the three."""
    from fedmed.dicom.series import load
    from fedmed.dicom.survey import survey
    from fedmed.preprocess import grid as grids
    from fedmed.preprocess.fused import compiled
    from fedmed.preprocess.fused.window import Window

    began = time.process_time()
    found = survey(folder, pixels=False, workers=0)
    [stack] = [stack for stack in found.stacks if stack.refusal is None]
    parsed = time.process_time()
    volume = load(stack, found.instances, workers=1, digest=digest)
    decoded = time.process_time()
    matrix = grids.to_voxel(volume.affine, grids.Grid(grid.affine, grid.shape))
    made = compiled.resample(
        volume.voxels,
        volume.slope,
        volume.intercept,
        matrix,
        grid.shape,
        window=Window(LOW, HIGH),
        padding=volume.padding,
        fill=LOW,
    )
    if split is not None:
        split.append((parsed - began, decoded - parsed, time.process_time() - decoded))
    return made


def compared(label: str, folder: Path, runs: int) -> list[Row]:
    """All arms in turn on one folder; every output against MONAI's."""
    split: list[tuple[float, float, float]] = []
    reference, grid = monai(folder)
    arms = [
        Arm("MONAI float32", lambda: monai(folder)[0]),
        Arm("SimpleITK", lambda: simpleitk(folder, grid)),
        Arm("fedmed", lambda: ours(folder, grid, split)),
        Arm("fedmed with the digest of its voxels", lambda: ours(folder, grid, digest=True)),
    ]
    apart = {arm.name: 0.0 for arm in arms}
    ours(folder, grid)  # compiles
    for _ in range(runs):
        for arm in arms:
            apart[arm.name] = max(apart[arm.name], float(np.abs(arm.timed() - reference).max()))
    rows = [
        make_row(f"{label}, {arm.name}", min(arm.seconds), f"CPU s, min (median {median(arm.seconds):.3f})") for arm in arms
    ]
    for what, seconds in zip(("headers and checks", "decode", "fused pass"), np.min(split, axis=0).tolist(), strict=True):
        rows.append(make_row(f"{label}, fedmed: {what}", seconds, "CPU s, min"))
    for arm in arms[1:3]:
        worst = apart[arm.name]
        rows.append(
            make_row(f"{label}, {arm.name}: largest difference from MONAI", worst, "of 0..1", "<= 1e-3", worst <= 1e-3)
        )
    return rows + ratios(label, arms)


def ratios(label: str, arms: list[Arm]) -> list[Row]:
    """fedmed against each peer, as the ratio of the minima."""
    rows = []
    for arm, bar in ((arms[0], BARS[label]), (arms[1], SITK_BAR)):
        times, middle = min(arm.seconds) / min(arms[2].seconds), median(arm.seconds) / median(arms[2].seconds)
        rows.append(
            make_row(f"{label}, {arm.name} / fedmed", times, f"times (medians {middle:.1f})", f">= {bar:g}", times >= bar)
        )
    return rows


def memory(folder: Path) -> Row:
    """Peak memory of fedmed's way above the interpreter with everything imported and compiled, in a process of its own."""
    command = [sys.executable, __file__, "--memory", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent)
    peak = float(done.stdout.splitlines()[-1])
    name = "synthetic, peak memory above the imported interpreter"
    return make_row(name, peak, "MB", f"<= {MEMORY_BAR_MB}", peak <= MEMORY_BAR_MB)


def measured_memory(folder: Path) -> float:
    """What `memory` measures, in this process: the kernel's high-water mark, reset once all is imported and compiled."""
    small = Path(tempfile.mkdtemp(prefix="fedmed-bench-"))
    synthetic(small, slices=4, side=16)
    grid = Grid(np.diag([2.5, SPACING_MM, SPACING_MM, 1.0])[[2, 1, 0, 3]], (4, 8, 8))
    ours(small, grid)
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmHWM")
    size = (213, 267, 267)
    ours(folder, Grid(np.diag([SPACING_MM] * 3 + [1.0])[[2, 1, 0, 3]], size))
    return (_status("VmHWM") - before) / 1e3


def _status(key: str) -> int:
    """A line of this process's status, in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


def synthetic(folder: Path, slices: int = 128, side: int = 512) -> None:
    """A CT series of `slices` x `side`^2, 0.78 x 0.78 x 2.5 mm, uncompressed."""
    from fedmed.dicom.synthetic.ct_phantom import Protocol, synthesise, write

    spacing = 400 / side
    write(synthesise(1, "bench", Protocol(slices, side, side, 2.5, (spacing, spacing), 60.0)).slices, folder)


def rows_of_all(runs: int) -> list[Row]:
    """Every row of this benchmark."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)  # MONAI and nibabel remark on every slice
    real = data_root() / REAL
    need(real, "the CT series of 49 slices")
    with tempfile.TemporaryDirectory(prefix="fedmed-bench-") as scratch:
        made = Path(scratch) / "ct"
        synthetic(made)
        return [*compared("synthetic", made, runs), *compared("real", real, runs), memory(made)]


def main() -> None:
    """Read the options, run, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--memory", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        print(measured_memory(options.memory))
    else:
        show("dicom_peers", rows_of_all(options.runs), options.json)


if __name__ == "__main__":
    main()
