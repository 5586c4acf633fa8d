"""Measures the machine at hand: products of matrices, memory, and training itself. PyTorch is imported here, when asked.

On a machine with a GPU the same is done through torch.cuda; that way is untested, for want of one.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fedmed.clock import Clock
from fedmed.config.scenario import Training
from fedmed.config.topology import Precision
from fedmed.operation.doctor.machine import memory
from fedmed.twin.calibration import PRECISIONS, Calibration, Measured, nearest_built_in, share_used
from fedmed.twin.counting import cost_of
from fedmed.twin.profiles import PASSES

if TYPE_CHECKING:
    from torch import Tensor, device

    from fedmed.learning.order import ModelSpec

EACH_S = 2.0
"""Seconds that each number may take."""
LEAST, MOST = 3, 30
"""Times that it is measured."""
SIDE, LARGE_SIDE = 1024, 8192
"""Of the matrices, on a processor and on an accelerator."""
COPIED = 128 * 2**20
"""Bytes that are copied, beyond any cache but the largest."""
STEPS = 4
"""Optimiser steps in one go."""
Say = Callable[[str, int, int], None]


def calibrate(spec: ModelSpec, training: Training, clock: Clock, say: Say, each_s: float = EACH_S) -> Calibration:
    """Measure; `say` is told what is done, and how many of how many. Takes about 5 x `each_s` seconds and what PyTorch
    needs to start. Raises DataError where not even one case fits into memory, ConfigError where the model cannot be made."""
    import torch

    from fedmed.learning.prediction import device_of

    at = device_of("auto")
    is_gpu = at.type == "cuda"
    what = torch.cuda.get_device_name(at) if is_gpu else f"{_processor()}, {torch.get_num_threads()} threads"
    load, found = os.getloadavg()[0], list[Measured]()
    tried = [each for each in PRECISIONS if _runs(each, at)]
    total = len(tried) + 3
    for number, precision in enumerate(tried, 1):
        say(f"products of matrices in {precision}", number, total)
        found.append(_products(precision, at, clock, each_s))
    say("memory", len(tried) + 1, total)
    found.append(_copies(at, clock, each_s))
    if (free := _free(at)) is not None:
        found.append(Measured("memory", (free,), "free for this process"))
    say(f"training of {spec.name}", len(tried) + 2, total)
    step = _steps(spec, training, clock, each_s)
    found += [step, _used(spec, training, step, found, at)]
    say("done", total, total)
    model = f"{spec.name} on {' x '.join(map(str, spec.inputs))}, batches of {training.batch_size}"
    busy = (load, os.getloadavg()[0])
    return Calibration(what, nearest_built_in(what, is_gpu), model, tuple(found), busy, os.cpu_count() or 1)


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


def _times(work: Callable[[], object], at: device, clock: Clock, each_s: float) -> tuple[float, ...]:
    """Seconds of `work`, several times, once for nothing before."""
    import torch

    def once() -> float:
        began = clock.now()
        work()
        if at.type == "cuda":
            torch.cuda.synchronize(at)
        return max(clock.now() - began, 1e-9)

    once()
    taken: list[float] = []
    while len(taken) < LEAST or (sum(taken) < each_s and len(taken) < MOST):
        taken.append(once())
    return tuple(taken)


def _runs(precision: Precision, at: device) -> bool:
    """float16 on a processor is emulated, and trains nothing there."""
    import torch

    if at.type != "cuda":
        return precision in ("fp32", "bf16")
    return precision in ("fp32", "fp16") or torch.cuda.is_bf16_supported()  # TF32 came with bf16


def _products(precision: Precision, at: device, clock: Clock, each_s: float) -> Measured:
    import torch

    side = LARGE_SIDE if at.type == "cuda" else SIDE
    kind = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision, torch.float32)
    one, other = (torch.ones(side, side, dtype=kind, device=at) for _ in range(2))
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    try:
        times = _times(lambda: one @ other, at, clock, each_s)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    rates = tuple(2 * side**3 / each for each in times)
    return Measured(f"speed.{precision}", rates, f"product of two matrices of {side} x {side}")


def _copies(at: device, clock: Clock, each_s: float) -> Measured:
    import torch

    one, other = (torch.zeros(COPIED // 4, device=at) for _ in range(2))
    times = _times(lambda: other.copy_(one), at, clock, each_s)
    return Measured(
        "bandwidth", tuple(2 * COPIED / each for each in times), f"copies of {COPIED >> 20} MiB, read and written"
    )


def _free(at: device) -> float | None:
    import torch

    if at.type == "cuda":
        return float(torch.cuda.mem_get_info(at)[0])
    found = memory()
    return None if found is None else float(found)


def _steps(spec: ModelSpec, training: Training, clock: Clock, each_s: float) -> Measured:
    """fedmed's own training on cases of noise."""
    import torch

    from fedmed.learning import models
    from fedmed.learning.order import Order, Preparation
    from fedmed.learning.training import train

    work = training.model_copy(update={"epochs": None, "steps": STEPS})
    order = Order(
        round=1,
        seed=0,
        model=spec,
        preparation=Preparation(),
        training=work,
        learning_rate=min(training.learning_rate, 1e-3),  # weights stay finite whatever is trained on noise
        class_weights=(1.0,) * spec.classes,
    )
    model = models.build(spec.name, spec.inputs, spec.outputs, spec.options, spec.kind)
    data = _noise(spec, training.batch_size)
    times = _times(lambda: train(model, data, order, "calibration"), torch.device("cpu"), clock, each_s)  # it waits itself
    return Measured(
        "step", tuple(each / STEPS for each in times), f"{STEPS} steps of fedmed's training on noise, unaugmented"
    )


def _noise(spec: ModelSpec, cases: int) -> tuple[Tensor, Tensor]:
    import torch

    chance = torch.Generator().manual_seed(0)
    x = torch.randn(cases, *spec.inputs, generator=chance)
    if spec.kind == "segmentation":
        return x, torch.randint(spec.classes, (cases, *spec.inputs[1:]), generator=chance, dtype=torch.uint8)
    return x, torch.randint(spec.classes, (cases,), generator=chance)


def _used(spec: ModelSpec, training: Training, step: Measured, found: list[Measured], at: device) -> Measured:
    speeds = {each.key: each.best for each in found}
    mixed = training.precision == "auto" and at.type == "cuda"
    wanted = (
        ("speed.bf16", "speed.fp16") if mixed else ("speed.tf32", "speed.fp32") if at.type == "cuda" else ("speed.fp32",)
    )
    key = next(each for each in wanted if each in speeds)
    operations = cost_of(spec).operations
    shares = tuple(share_used(PASSES, operations, training.batch_size, each, speeds[key]) for each in step.values)
    return Measured("used", shares, f"operations of a step / (its time x {key.partition('.')[2]})")
