"""Inference at the edge: ONNX Runtime against eager PyTorch on this processor, and what int8 loses on real data.

    .venv/bin/python benchmarks/edge_serving.py [--json] [--only latency|accuracy] [--threads 1|2]

Latency: ResNet-18 at 224 x 224, batch 1, a random image, everybody in turn in one process, on one thread and on two: with
others on the machine PyTorch's threads wait for each other longer than ONNX Runtime's, so one thread is the fair one then,
and its processor time more so, which does not count what others take.
The network is
fedmed's own (GroupNorm) with the stem of He et al. 2016 (7 x 7, stride 2, max-pool), since the library's stem is made for
small images; beside it the same with BatchNorm, which the exporter folds away, as the figures in the literature have it.
Random weights: no statement on accuracy. Accuracy: the scenarios `pneumonia` and `skin`, federated for a few rounds by the
product, exported, calibrated on training cases, scored on the test split.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from form import Row, data_root, make_row, show
from torch import Tensor, nn

from fedmed.clock import generator
from fedmed.config.catalogue import find
from fedmed.config.loading import load
from fedmed.config.scenario import Scenario
from fedmed.learning.models import Residual
from fedmed.serving.cases import check_set, read_cases, spread
from fedmed.serving.engines.ort_cpu import open_model
from fedmed.serving.engines.table import open_engine
from fedmed.serving.exporting import export, outputs_of, to_onnx
from fedmed.serving.measuring import MEASURES, logits_of
from fedmed.serving.packages import S8S8, U8S8, Package
from fedmed.serving.quantising import int8_models, quantise
from fedmed.serving.sources import Asked, trained
from fedmed.serving.verdict import deviation

SIDE, THREADS, CALIBRATION = 224, (1, 2), 16
INPUTS = (3, SIDE, SIDE)
FASTER, POINTS = 4.0, 1.0
"""Bars: int8 against eager fp32, and the loss allowed."""
PLAIN, INT8 = "eager torch fp32", "ORT int8 U8S8"
SCENARIOS = {"pneumonia": ("auc", "accuracy"), "skin": ("auc", "accuracy")}

Call = Callable[[], Any]


class EdgeResNet(nn.Module):
    """ResNet-18 for 224 x 224 (He et al. 2016, table 1) of fedmed's blocks: `(N, 3, 224, 224)` -> `(N, 10)`."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(3, 64, 7, 2, 3, bias=False),
            nn.GroupNorm(8, 64),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
        ]
        channels = 64
        for stage in range(4):
            for block in range(2):
                layers.append(Residual(channels, 64 << stage, 2 if stage and not block else 1))
                channels = 64 << stage
        self.body, self.head = nn.Sequential(*layers), nn.Linear(channels, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch."""
        return self.head(self.body(x).mean((2, 3)))


def network(norm: str) -> nn.Module:
    """The network with GroupNorm, or with BatchNorm in every place of it."""
    torch.manual_seed(0)
    made = EdgeResNet()
    if norm == "BatchNorm":
        for parent in list(made.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, nn.GroupNorm):
                    setattr(parent, name, nn.BatchNorm2d(child.num_channels))
    return made.eval().requires_grad_(False)


def images(count: int) -> Iterator[np.ndarray]:
    """Random images, mean 0 and deviation 1."""
    random = generator(1, "images")
    for _ in range(count):
        yield random.standard_normal(INPUTS, np.float32)


def contestants(norm: str, threads: int) -> tuple[dict[str, Call], dict[str, float], dict[str, int]]:
    """Calls by name, how far each one's logits are from eager fp32, and the bytes of each file."""
    plain = network(norm)
    last = network(norm).to(memory_format=torch.channels_last)
    image = next(images(1))[None]
    x = torch.from_numpy(image)
    x_last = x.contiguous(memory_format=torch.channels_last)
    model = to_onnx(plain, INPUTS)
    int8 = int8_models(model, images(CALIBRATION), INPUTS)
    files = {"ORT fp32": model, INT8: int8[U8S8], "ORT int8 S8S8": int8[S8S8]}
    engines = {name: open_model(model, name, threads) for name, model in files.items()}
    calls: dict[str, Call] = {PLAIN: lambda: plain(x).numpy(), f"{PLAIN}, channels last": lambda: last(x_last).numpy()}
    calls |= {name: (lambda engine=engine: engine.run(image)) for name, engine in engines.items()}
    expected = outputs_of(plain, image)
    apart = {name: deviation(call(), expected) for name, call in calls.items() if name != PLAIN}
    return calls, apart, {name: len(model) for name, model in files.items()}


Took = dict[str, list[tuple[float, float]]]
"""Of every call by name, milliseconds on the wall and of this thread's processor time."""


def in_turn(calls: dict[str, Call], rounds: int) -> Took:
    """Everybody once a round after a warm-up, so that what disturbs one disturbs all."""
    took: Took = {name: [] for name in calls}
    for number in range(rounds + 5):
        for name, call in calls.items():
            begun, worked = time.perf_counter(), time.thread_time()
            call()
            if number >= 5:
                took[name].append((1e3 * (time.perf_counter() - begun), 1e3 * (time.thread_time() - worked)))
    return took


def latency(rounds: int, only: int | None = None) -> list[Row]:
    """Milliseconds of a call, and the bar."""
    rows = [make_row("load at the beginning", os.getloadavg()[0], "of 1 minute")]
    for norm, threads in (
        (norm, threads) for norm in ("GroupNorm", "BatchNorm") for threads in ([only] if only else THREADS)
    ):
        torch.set_num_threads(threads)
        with torch.inference_mode():
            calls, apart, sizes = contestants(norm, threads)
            took = in_turn(calls, rounds)
        at = f"{norm}, {threads} thread{'s' * (threads > 1)}: "
        rows += times_of(took, at, threads)
        rows += [make_row(f"{at}{name}, logits off", value, "of their size (L2)") for name, value in apart.items()]
        if threads == (only or THREADS[0]):
            rows += [make_row(f"{norm}: {name}, file", size / 1e6, "MB") for name, size in sizes.items()]
        rows.append(make_row(f"{at}load", os.getloadavg()[0], "of 1 minute"))
    return rows


def times_of(took: Took, at: str, threads: int) -> list[Row]:
    """What each took, and how often int8 goes into its rivals; processor time where one thread does all of the work."""
    rows = []
    wall = {name: [each for each, _ in values] for name, values in took.items()}
    worked = {name: [each for _, each in values] for name, values in took.items()}
    for name in took:
        rows.append(make_row(f"{at}{name}, min", min(wall[name]), "ms"))
        rows.append(make_row(f"{at}{name}, median", statistics.median(wall[name]), "ms"))
        if threads == 1:
            rows.append(make_row(f"{at}{name}, processor time, median", statistics.median(worked[name]), "ms"))
    for rival in (PLAIN, f"{PLAIN}, channels last"):
        what = f"{at}int8 U8S8 against {rival}"
        ratio = min(wall[rival]) / min(wall[INT8])
        rows.append(make_row(f"{what}, min", ratio, "x", f">= {FASTER:g}", ratio >= FASTER))
        rows.append(make_row(f"{what}, median", statistics.median(wall[rival]) / statistics.median(wall[INT8]), "x"))
        if threads == 1:
            less = statistics.median(worked[rival]) / statistics.median(worked[INT8])
            rows.append(make_row(f"{what}, processor time, median", less, "x"))
    return rows


def accuracy(rounds: int) -> list[Row]:
    """Federate, export, quantise, score: what each step down costs on the test split."""
    from fedmed.simulate.run import Request, simulate

    rows = []
    for name, measures in SCENARIOS.items():
        scenario = load(find(name), [f"rounds={rounds}", "evaluation.baselines=false"])
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder) / "run"
            simulate(Request(scenario, data_root(), run))
            rows += released(scenario, run, Path(folder) / "package", measures)
    return rows


def released(scenario: Scenario, run: Path, folder: Path, measures: tuple[str, ...]) -> list[Row]:
    """The rows of a run's model: exported, calibrated on training cases, scored on all test cases."""
    package = export(trained(run, Asked(scenario.name, str(scenario.rounds))), folder)
    package = quantise(package, spread(package.card, read_cases(scenario, data_root(), "train"), 256))
    return scored(package, read_cases(scenario, data_root(), "test"), scenario.name, measures)


def scored(package: Package, cases: Any, name: str, measures: tuple[str, ...]) -> list[Row]:
    """Each measure in fp32 and int8, and the loss in points."""
    x, y = check_set(package.card, cases)
    logits = {precision: logits_of(open_engine(package, precision, "cpu"), x) for precision in ("fp32", "int8")}
    rows = []
    for measure in measures:
        found = {precision: MEASURES[measure](values, y) for precision, values in logits.items()}
        rows += [
            make_row(f"{name}, {len(x)} test cases: {measure} {one}", 100 * value, "points") for one, value in found.items()
        ]
        lost = 100 * (found["fp32"] - found["int8"])
        rows.append(make_row(f"{name}: {measure} lost by int8", lost, "points", f"<= {POINTS:g}", lost <= POINTS))
    off = deviation(logits["int8"], logits["fp32"])
    return [*rows, make_row(f"{name}: int8 logits off", off, "of their size (L2)")]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", choices=["latency", "accuracy"])
    parser.add_argument("--rounds", type=int, default=100, help="calls of each contestant")
    parser.add_argument("--threads", type=int, choices=THREADS, help="both when absent")
    parser.add_argument("--federated", type=int, default=20, help="rounds that the scenarios are trained for")
    args = parser.parse_args()
    rows = [] if args.only == "accuracy" else latency(args.rounds, args.threads)
    if args.only != "latency":
        rows += accuracy(args.federated)
    show("edge_serving", rows, args.json)


if __name__ == "__main__":
    main()
