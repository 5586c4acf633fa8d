"""The self-test of a package on a device: does it make of the golden inputs what it made where it was exported?

A bad release may not only be wrong: it may crash ONNX Runtime, take all the memory or never end. So a device tries it in
a child process, and only what passed there is opened beside the work that goes on.
"""

from __future__ import annotations

import json
import math
import resource
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from fedmed.clock import Clock, SystemClock
from fedmed.errors import DataError, FedmedError, first_line
from fedmed.serving.engines import table
from fedmed.serving.engines.engine import PLAIN, Engine, Options
from fedmed.serving.engines.ort_cpu import NAME as PROCESSOR
from fedmed.serving.packages import Package
from fedmed.serving.verdict import Verdict, deviation

MAX_ANSWER_BYTES = 64 * 1024
SILENT = "gave no answer within {:g} s and was ended"


@dataclass(frozen=True)
class Limits:
    """Of the child process."""

    seconds: float = 60.0
    """TensorRT needs minutes where it has no plan yet."""
    memory_bytes: int = 4 << 30
    """Of its address space, on a processor alone: what computes on a card maps far more than it uses."""


LIMITS = Limits()


def self_test(engine: Engine, package: Package, clock: Clock | None = None) -> Verdict:
    """Run the golden inputs, together and the first alone, and compare with the logits that are expected."""
    clock, golden = clock or SystemClock(), package.golden
    expected = golden.expected(table.module(engine.name).FILES[engine.precision])
    allowed, worst, begun = package.card.tolerances[engine.precision], 0.0, clock.now()
    try:
        for count in (len(golden.inputs), 1):
            worst = max(worst, deviation(engine.run(golden.inputs[:count]), expected[:count]))
    except (FedmedError, MemoryError) as error:
        return Verdict(False, first_line(error), None, clock.now() - begun)
    took = clock.now() - begun
    if not worst <= allowed:
        got = f"{worst:.3g}" if math.isfinite(worst) else "no numbers or another shape"
        return Verdict(
            False,
            f"its logits are off by {got} of their size, allowed is {allowed:g} for {engine.precision}",
            worst if math.isfinite(worst) else None,
            took,
        )
    return Verdict(True, f"off by {worst:.2g} of the logits' size, allowed is {allowed:g}", worst, took)


def self_test_apart(
    folder: Path, precision: str, backend: str = table.AUTO, limits: Limits = LIMITS, options: Options = PLAIN
) -> Verdict:
    """Load, open and test a package in a child process, which may crash or hang: that is a verdict, and never raised."""
    plans = "" if options.plans is None else str(options.plans)
    numbers = [str(number) for number in (limits.memory_bytes, options.threads, options.batch)]
    command = [sys.executable, "-m", "fedmed.serving", str(folder), precision, backend, plans, *numbers]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=limits.seconds, check=False)
    except subprocess.TimeoutExpired:
        return Verdict(False, SILENT.format(limits.seconds), None, limits.seconds)
    if done.returncode != 0:
        return Verdict(False, ended(done.returncode, done.stderr))
    try:
        return _parsed(done.stdout)
    except (ValueError, TypeError, DataError) as error:
        return Verdict(False, f"the engine's answer cannot be read ({first_line(error)})")


def child(arguments: list[str]) -> None:
    """What the child process does: arguments in, one line of JSON out."""
    folder, precision, backend, plans, memory, threads, batch = arguments
    options = Options(int(threads), Path(plans) if plans else None, int(batch))
    try:
        package = Package.load(Path(folder))
        cap_memory(package, precision, backend, int(memory))
        verdict = self_test(table.open_engine(package, precision, backend, options), package)
    except (FedmedError, MemoryError) as error:
        verdict = Verdict(False, first_line(error))
    sys.stdout.write(json.dumps(asdict(verdict)) + "\n")


def cap_memory(package: Package, precision: str, backend: str, most_bytes: int) -> None:
    """Of this process, where the model will run on the processor."""
    if table.able(package, precision, backend)[:1] == [PROCESSOR]:
        resource.setrlimit(resource.RLIMIT_AS, (most_bytes, most_bytes))


def _parsed(answer: bytes) -> Verdict:
    if len(answer) > MAX_ANSWER_BYTES:
        raise DataError(f"it has {len(answer)} bytes; allowed are {MAX_ANSWER_BYTES}")
    told = json.loads(answer)
    verdict = Verdict(**told)
    if type(verdict.passed) is not bool or not isinstance(verdict.reason, str):
        raise DataError("it is no verdict")
    return verdict


def ended(code: int, said: bytes) -> str:
    """How a child process ended, and its last words."""
    return f"the engine ended {_ending(code)}: {_last_line(said)}"


def _ending(code: int) -> str:
    return f"with the code {code}" if code > 0 else f"by the signal {signal.Signals(-code).name}"


def _last_line(said: bytes) -> str:
    lines = said.decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:300] if lines else "it said nothing"
