"""One reading of a machine: a number with its unit, or that it is unsupported and why. Never 0 for what cannot be read."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

MOST_WORDS = 200


@dataclass(frozen=True)
class Quantity:
    """Something that can be read."""

    name: str
    unit: str
    """In which it is read: a unit of Prometheus' base units, or empty for a number of things."""
    help: str
    dcgm: str = ""
    """Its name in NVIDIA's dcgm-exporter, whose unit may be another; empty where it has none."""
    is_counter: bool = False


QUANTITIES = {
    each.name: each
    for each in (
        Quantity("gpu_reachable", "", "1 where the driver reaches the GPU, 0 where it has lost it."),
        Quantity("gpu_busy", "ratio", "Share of time that the GPU worked.", "DCGM_FI_DEV_GPU_UTIL"),
        Quantity("gpu_memory_used", "bytes", "Memory of the GPU that is taken.", "DCGM_FI_DEV_FB_USED"),
        Quantity("gpu_memory_free", "bytes", "Memory of the GPU that is free.", "DCGM_FI_DEV_FB_FREE"),
        Quantity("gpu_memory_busy", "ratio", "Share of time that the GPU's memory was moved.", "DCGM_FI_DEV_MEM_COPY_UTIL"),
        Quantity("gpu_temperature", "celsius", "Temperature of the GPU.", "DCGM_FI_DEV_GPU_TEMP"),
        Quantity("gpu_power", "watts", "Power that the GPU draws.", "DCGM_FI_DEV_POWER_USAGE"),
        Quantity("gpu_power_limit", "watts", "Most power that the GPU may draw."),
        Quantity(
            "gpu_energy", "joules", "Energy since the driver was loaded.", "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", True
        ),
        Quantity("gpu_ecc_corrected", "", "Memory errors corrected since the boot.", "DCGM_FI_DEV_ECC_SBE_VOL_TOTAL", True),
        Quantity(
            "gpu_ecc_uncorrected", "", "Memory errors not corrected since boot.", "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", True
        ),
        Quantity(
            "gpu_ecc_corrected_lifetime",
            "",
            "Memory errors corrected in the GPU's life.",
            "DCGM_FI_DEV_ECC_SBE_AGG_TOTAL",
            True,
        ),
        Quantity(
            "gpu_ecc_uncorrected_lifetime",
            "",
            "Memory errors not corrected in its life.",
            "DCGM_FI_DEV_ECC_DBE_AGG_TOTAL",
            True,
        ),
        Quantity("gpu_throttled", "", "1 where heat or power slows the GPU down.", "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS"),
        Quantity("gpu_overcurrent", "", "Times that the board slowed the GPU for too much current.", is_counter=True),
        Quantity("emc_busy", "ratio", "Share of time that the shared memory's controller worked."),
        Quantity("board_power", "watts", "Power that the whole board draws."),
        Quantity("board_temperature", "celsius", "Temperature of the hottest part of the board."),
        Quantity("cpu_busy", "ratio", "Load of the last minute for each processor."),
        Quantity("memory_free", "bytes", "Memory that programs may still take."),
        Quantity("memory_total", "bytes", "Memory of the machine."),
        Quantity("memory_used", "ratio", "Share of the machine's memory that is taken."),
        Quantity("disk_used", "ratio", "Share of the file system that is taken where the data lies."),
        Quantity("disk_free", "bytes", "Bytes that may still be written where the data lies."),
        Quantity("disk_total", "bytes", "Size of the file system where the data lies."),
        Quantity("uptime", "seconds", "Since the machine was started."),
        Quantity("network_loss", "ratio", "Share of segments that had to be sent again."),
        Quantity("storage_latency", "seconds", "Of one write that is on the disk when it returns."),
        Quantity("task_steps", "", "Steps that a running task has done.", is_counter=True),
    )
}


@dataclass(frozen=True)
class Reading:
    """`value` in the quantity's unit; None where it is unsupported, and `why` says so."""

    name: str
    value: float | None
    device: str = ""
    """Such as "gpu0"; empty for the machine."""
    why: str = ""
    words: tuple[str, ...] = ()
    """Names that belong to the value, such as the reasons for which a GPU is slowed."""

    def __str__(self) -> str:
        if self.value is None:
            return f"unsupported ({self.why})" if self.why else "unsupported"
        unit = QUANTITIES[self.name].unit
        named = f" ({', '.join(self.words)})" if self.words else ""
        return f"{measured(self.value, unit)}{named}"


def measured(value: float, unit: str) -> str:
    """A value for people: `61 celsius`, and a ratio in per cent."""
    if unit == "ratio":
        return f"{100 * value:.3g} %"
    return f"{value:.6g}{' ' + unit if unit else ''}"


def read(name: str, value: float | None, device: str = "", why: str = "", words: Iterable[str] = ()) -> Reading:
    """A reading; what is no finite number is unsupported."""
    assert name in QUANTITIES, name
    if value is not None and not math.isfinite(value):
        value, why = None, why or "no number was read"
    return Reading(
        name, None if value is None else float(value), device, "" if value is not None else why[:MOST_WORDS], tuple(words)
    )


def merged(*groups: Iterable[Reading]) -> list[Reading]:
    """One reading of each quantity of each device: the first that has a value; else the first."""
    found: dict[tuple[str, str], Reading] = {}
    for group in groups:
        for each in group:
            before = found.get((each.device, each.name))
            if before is None or (before.value is None and each.value is not None):
                found[each.device, each.name] = each
    return list(found.values())
