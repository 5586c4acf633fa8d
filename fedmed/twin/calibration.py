"""What was measured of the machine at hand, as an entry of `topology.machines`: each number with how it was measured."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedmed.config.topology import Precision


@dataclass(frozen=True)
class Measured:
    """One number, several times: the larger the better for rates, the smaller for times."""

    key: str
    """`speed.fp32`, `bandwidth`, `memory`, `step`, `used`."""
    values: tuple[float, ...]
    """In the base unit: operations, bytes or bytes a second, seconds, parts."""
    how: str

    @property
    def best(self) -> float:
        """The least time, the highest rate."""
        return min(self.values) if self.key == "step" else max(self.values)

    @property
    def median(self) -> float:
        """Half of the times it was better."""
        return statistics.median(self.values)

    @property
    def value(self) -> float:
        """What a profile has: the peak of a speed, the median of all that is reached."""
        return self.best if self.key.startswith("speed.") else self.median


@dataclass(frozen=True)
class Calibration:
    """All of it."""

    what: str
    """Processor or accelerator, and what it runs."""
    like: str
    """The built-in machine that has what could not be measured."""
    model: str
    """What was trained."""
    measured: tuple[Measured, ...]
    load: tuple[float, float]
    """Mean number of processes that ran or waited in the minute before, and at the end."""
    cores: int


def share_used(passes: float, operations: float, batch: int, step_s: float, peak: float) -> float:
    """Share of the peak that a step reached, in 0..1: passes x operations x batch / (seconds x peak)."""
    return min(1.0, max(1e-6, passes * operations * batch / (step_s * peak)))


_UNITS: Mapping[str, Sequence[tuple[float, str]]] = {
    "speed": ((1e12, "TFLOPS"), (1e9, "GFLOPS"), (1e6, "MFLOPS")),
    "bandwidth": ((1e9, "GB/s"), (1e6, "MB/s")),
    "memory": ((1e9, "GB"), (1e6, "MB")),
    "step": ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")),
    "used": ((1.0, ""),),
}


def quantity(key: str, value: float) -> str:
    """As a scenario has it: `95.2 GFLOPS`."""
    units = _UNITS[key.partition(".")[0]]
    by, unit = next((each for each in units if value >= each[0]), units[-1])
    return f"{value / by:.4g} {unit}".strip()


def entry(found: Calibration, name: str, of_scenario: bool) -> str:
    """YAML of a section `machines` with this one machine, a comment of how behind each number.

    The time of a step is that of the model that was trained: it is part of the entry where that is the scenario's.
    """
    lines = [
        f"# {_said(found.what)}; trained: {_said(found.model)}",
        f"# load {found.load[0]:.2f} at the start, {found.load[1]:.2f} at the end; behind each number best and median",
        "machines:",
        f"  {name}:",
        f"    like: {found.like} # what is not written below, price and power among it, is that machine's",
    ]
    if found.load[0] > found.cores:
        lines.insert(2, f"# the {found.cores} cores were busy with other work: measure again when they are not")
    speeds = [each for each in found.measured if each.key.startswith("speed.")]
    if speeds:
        lines.append("    speed:")
        lines += [f"      {_line(each, each.key.partition('.')[2])}" for each in speeds]
    for each in found.measured:
        if each not in speeds:
            lines.append(("    " if of_scenario or each.key != "step" else "    # ") + _line(each, each.key))
    return "\n".join(lines) + "\n"


def _line(each: Measured, key: str) -> str:
    best, median = quantity(each.key, each.best), quantity(each.key, each.median)
    return f"{key}: {quantity(each.key, each.value)} # {each.how}; {best}, {median} of {len(each.values)}"


def _said(text: str) -> str:
    """In a comment: one line, whatever a driver calls its device."""
    return " ".join(text.split())


def nearest_built_in(device: str, is_accelerator: bool) -> str:
    """Whose price and power stand in for what cannot be measured."""
    if not is_accelerator:
        return "cpu"
    parts = (("T4", "t4"), ("H100", "h100"), ("H200", "h100"), ("A100", "a100"), ("AGX", "agx-orin"), ("Orin", "orin-nano"))
    return next((name for part, name in parts if part in device), "a100")


PRECISIONS: tuple[Precision, ...] = ("fp32", "tf32", "fp16", "bf16")
"""Those whose speed is measured; int8 trains nothing."""
