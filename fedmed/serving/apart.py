"""The rungs of the ladder, each measured in a process of its own that gives way to all other work.

What a rung is shown are patients' prepared images. They go through a pipe, one after the other, and are never on a disk
there: the process that asks holds one of them at a time. Without labels FP32's own decisions stand in for them, and what is
measured is agreement: the share of images (of drawn pixels, by Dice) that a rung decides as FP32 does. That is no accuracy.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from fedmed.clock import SystemClock
from fedmed.errors import DataError, FedmedError, first_line
from fedmed.serving.climbing import Trial
from fedmed.serving.engines import table
from fedmed.serving.engines.engine import Engine, Floats, Options
from fedmed.serving.ladder import REFERENCE, Rung
from fedmed.serving.measuring import LEADING, MEASURES, Labels, latency, logits_of, probabilities_of
from fedmed.serving.packages import Package
from fedmed.serving.testing import MAX_ANSWER_BYTES, SILENT, cap_memory, ended, self_test

MODULE = "fedmed.serving.apart"
AGREEMENT = {"classification": "accuracy", "segmentation": "dice"}
"""The measure by which a rung agrees with the reference's decisions."""
NICE = 10
LEAST_RUNS, RUNS_S = 5, 3.0
"""Calls that are timed at least, and about how long timing takes at most."""


@dataclass(frozen=True)
class Shown:
    """What every rung is shown."""

    count: int
    cases: Callable[[], Iterator[Floats]]
    """Prepared inputs `(*inputs)`, the same at each call. May raise FedmedError."""
    y: Labels | None = None
    """Their classes `(N,)`, or None: then it is agreement that is measured."""


@dataclass(frozen=True)
class Measured:
    """A rung, and what it decided where nobody else had."""

    rung: Rung
    decided: Labels | None = None


def rungs_apart(
    package: Package, shown: Shown, how: Trial, backend: str = table.AUTO, only: Collection[str] = table.PRECISIONS
) -> tuple[Rung, ...]:
    """Every precision of `only` on every back end that can run it here, the reference first.

    What fails is a rung with its failure.
    """
    found, y = list[Rung](), shown.y
    measure = AGREEMENT[package.card.kind] if shown.y is None else LEADING[package.card.kind]
    for precision in (each for each in table.PRECISIONS if each in only):
        for name in table.able(package, precision, backend):
            known = precision != REFERENCE or shown.y is not None
            if known and y is None:
                found.append(Rung(precision, name, failure=f"{REFERENCE} decided nothing to compare with"))
                continue
            done = measured_apart(package, Rung(precision, name), replace(shown, y=y if known else None), measure, how)
            found.append(done.rung)
            y = done.decided if y is None else y
    return tuple(found)


def measured_apart(package: Package, rung: Rung, shown: Shown, measure: str, how: Trial) -> Measured:
    """Self-test, latency and score of one rung; without `y` its decisions, judged by themselves."""
    options, card = how.options, package.card
    numbers = (how.limits.memory_bytes, options.threads, options.batch, how.runs, shown.count)
    plans = "" if options.plans is None else str(options.plans)
    command = [sys.executable, "-m", MODULE, str(package.folder), rung.precision, rung.backend, plans, measure]
    process = subprocess.Popen(
        [*command, *map(str, numbers)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    timer = threading.Timer(how.limits.seconds, process.kill)
    timer.start()
    try:
        with process:
            assert process.stdin is not None
            fault = _told(process.stdin, shown)
            answer, said = process.communicate()
    finally:
        timed_out = not timer.is_alive()
        timer.cancel()
    if fault or process.returncode:
        why = fault or (SILENT.format(how.limits.seconds) if timed_out else ended(process.returncode, said))
        return Measured(replace(rung, failure=why))
    shape = (shown.count, *card.outputs[1:])
    try:
        return _parsed(answer, rung, shown, shape)
    except (ValueError, TypeError, KeyError, DataError) as error:
        return Measured(replace(rung, failure=f"the engine's answer cannot be read ({first_line(error)})"))


def _told(pipe: IO[bytes], shown: Shown) -> str:
    """Write the cases, then their classes; why that could not be done, but for a process that has ended."""
    try:
        for case in shown.cases():
            pipe.write(np.ascontiguousarray(case, np.float32).data)
        if shown.y is not None:
            pipe.write(np.ascontiguousarray(shown.y, np.uint16).data)
        pipe.flush()
    except BrokenPipeError:
        pass  # how it ended says why
    except FedmedError as error:
        return first_line(error)
    return ""


def _parsed(answer: bytes, rung: Rung, shown: Shown, shape: tuple[int, ...]) -> Measured:
    line, _, rest = answer.partition(b"\n")
    if len(line) > MAX_ANSWER_BYTES:
        raise DataError(f"it has {len(line)} bytes; allowed are {MAX_ANSWER_BYTES}")
    said = json.loads(line)
    if said["failure"]:
        return Measured(replace(rung, failure=str(said["failure"])))
    median, score = (None if said[key] is None else float(said[key]) for key in ("median_ms", "score"))
    done = replace(rung, median_ms=median, score=score, cases=shown.count)
    if shown.y is not None:
        return Measured(done)
    return Measured(done, np.frombuffer(rest, np.uint16).reshape(shape))


def child(arguments: list[str], given: IO[bytes], answer: IO[bytes]) -> None:
    """What the process does: cases in, one line of JSON and its decisions out."""
    folder, precision, backend, plans, measure, *numbers = arguments
    memory, threads, batch, runs, count = map(int, numbers)
    os.nice(NICE)
    decided: Labels | None = None
    said: dict[str, Any] = {"failure": "", "median_ms": None, "score": None}
    try:
        package = Package.load(Path(folder))
        x, y = _read(given, count, package)
        cap_memory(package, precision, backend, memory)
        engine = table.open_engine(package, precision, backend, Options(threads, Path(plans) if plans else None, batch))
        verdict = self_test(engine, package)
        said["failure"] = "" if verdict.passed else verdict.reason
        if verdict.passed:
            said["median_ms"] = _median_ms(engine, package.golden.inputs[:1], runs)
            if count:
                said["score"], decided = _scored(engine, x, y, measure, batch)
    except (FedmedError, MemoryError) as error:
        said["failure"] = first_line(error)
    answer.write(json.dumps(said).encode() + b"\n" + (b"" if decided is None else decided.astype(np.uint16).tobytes()))
    answer.flush()


def _read(given: IO[bytes], count: int, package: Package) -> tuple[Floats, Labels | None]:
    """Raises DataError for less than was announced."""
    inputs, space = package.card.inputs, package.card.outputs[1:]
    x = np.empty((count, *inputs), np.float32)
    if given.readinto(x.data.cast("B") if x.size else bytearray()) != x.nbytes:  # type: ignore[attr-defined]
        raise DataError(f"fewer than {count} cases came")
    rest = given.read()
    y = np.frombuffer(rest, np.uint16).reshape(count, *space) if rest else None
    return x, None if y is None else y.astype(np.int64)


def _median_ms(engine: Engine, x: Floats, runs: int) -> float:
    clock = SystemClock()
    first = latency(engine, x, clock, 1, 2).median_ms
    most = max(LEAST_RUNS, int(1e3 * RUNS_S / max(first, 1e-3)))
    return latency(engine, x, clock, min(runs, most), 1).median_ms


def _scored(engine: Engine, x: Floats, y: Labels | None, measure: str, batch: int) -> tuple[float | None, Labels | None]:
    """The score, None where it is undefined or there are no numbers; the decisions where there were none before."""
    logits = logits_of(engine, x, batch)
    if not np.isfinite(logits).all():
        return None, None
    decided = probabilities_of(logits).argmax(1) if y is None else None
    score = MEASURES[measure](logits, y if decided is None else decided)  # type: ignore[arg-type]
    return (score if math.isfinite(score) else None), decided


if __name__ == "__main__":
    child(sys.argv[1:], sys.stdin.buffer, sys.stdout.buffer)
