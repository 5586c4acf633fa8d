"""An NVIDIA card through NVML (nvidia-ml-py): each field by itself, so that one that is not supported hides no other.

NVML's units: power in mW, energy in mJ, utilisation in percent, memory in bytes (NVML API reference, "Device Queries").
The binding is loaded when it is first asked for: it is an extra, and the driver may come later than the agent.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from fedmed.errors import ConfigError, MissingPart
from fedmed.health.readings import Reading, read

MOST_CARDS = 64
SLOWED = (
    ("SwPowerCap", 0x4),
    ("HwSlowdown", 0x8),
    ("SwThermalSlowdown", 0x20),
    ("HwThermalSlowdown", 0x40),
    ("HwPowerBrakeSlowdown", 0x80),
)
"""Reasons of NVML (nvmlClocksEventReasons) that mean heat or power; idle clocks and those that a user set are no fault."""
_ECC = (
    ("gpu_ecc_corrected", "NVML_MEMORY_ERROR_TYPE_CORRECTED", "NVML_VOLATILE_ECC"),
    ("gpu_ecc_uncorrected", "NVML_MEMORY_ERROR_TYPE_UNCORRECTED", "NVML_VOLATILE_ECC"),
    ("gpu_ecc_corrected_lifetime", "NVML_MEMORY_ERROR_TYPE_CORRECTED", "NVML_AGGREGATE_ECC"),
    ("gpu_ecc_uncorrected_lifetime", "NVML_MEMORY_ERROR_TYPE_UNCORRECTED", "NVML_AGGREGATE_ECC"),
)


def load() -> ModuleType | None:
    """The binding; None where nvidia-ml-py is not installed."""
    try:
        return importlib.import_module("pynvml")
    except ImportError:
        return None


@dataclass(frozen=True)
class Nvml:
    """The reader; tests of faults give it another `binding`."""

    binding: Callable[[], Any] = load
    name: str = "nvml"

    def why_not(self) -> str | None:
        """Why no card can be read; None where one can."""
        library = self.binding()
        if library is None:
            return "nvidia-ml-py is not installed: pip install 'fedmed[nvml]'"
        try:
            with _opened(library):
                return None if library.nvmlDeviceGetCount() else "the driver finds no card"
        except library.NVMLError as error:
            return f"NVML says: {error}"

    def is_available(self) -> bool:
        """Whether a card can be read."""
        return self.why_not() is None

    def read(self) -> list[Reading]:
        """All fields of all cards. Raises MissingPart where there is no binding or no driver."""
        library = self._library()
        try:
            with _opened(library):
                return [reading for index in range(_count(library)) for reading in _Card(library, index).read()]
        except library.NVMLError as error:
            raise MissingPart(f"the NVIDIA driver cannot be asked ({error}); `nvidia-smi` says more") from error

    def limit_power(self, device: str, share: float) -> float:
        """Let a card draw `share` of its default power, or the least that it allows; returns the watts.

        Only called where the operator's switch is on (`policy.Switches`). Raises ConfigError where the card or the system
        refuses.
        """
        library = self._library()
        index = int(device.removeprefix("gpu")) if device.removeprefix("gpu").isdigit() else -1
        try:
            with _opened(library):
                handle = library.nvmlDeviceGetHandleByIndex(index)
                least, most = library.nvmlDeviceGetPowerManagementLimitConstraints(handle)
                wanted = int(share * library.nvmlDeviceGetPowerManagementDefaultLimit(handle))
                milliwatts = min(max(wanted, least), most)
                library.nvmlDeviceSetPowerManagementLimit(handle, milliwatts)
        except library.NVMLError as error:
            raise ConfigError(
                f"the power of {device[:20]} cannot be set ({error}); it needs root and a card that allows it, "
                "or switch may_limit_power off"
            ) from error
        return float(milliwatts) / 1000

    def _library(self) -> Any:
        library = self.binding()
        if library is None:
            raise MissingPart(self.why_not() or "")
        return library


@contextmanager
def _opened(library: Any) -> Iterator[None]:
    library.nvmlInit()
    try:
        yield
    finally:
        library.nvmlShutdown()


def _count(library: Any) -> int:
    return min(int(library.nvmlDeviceGetCount()), MOST_CARDS)


class _Card:
    """One card while NVML is open."""

    def __init__(self, library: Any, index: int) -> None:
        self._library, self._device = library, f"gpu{index}"
        self._handle: Any = None
        self._lost = ""
        try:
            self._handle = library.nvmlDeviceGetHandleByIndex(index)
        except library.NVMLError as error:
            self._lost = str(error)

    def read(self) -> list[Reading]:
        found = [
            *self._several(("gpu_busy", "gpu_memory_busy"), lambda: self._rates()),
            *self._several(("gpu_memory_used", "gpu_memory_free"), lambda: self._memory()),
            *self._several(("gpu_temperature",), lambda: [self._ask("Temperature", self._library.NVML_TEMPERATURE_GPU)]),
            *self._several(("gpu_power",), lambda: [self._ask("PowerUsage") / 1000]),
            *self._several(("gpu_power_limit",), lambda: [self._ask("PowerManagementLimit") / 1000]),
            *self._several(("gpu_energy",), lambda: [self._ask("TotalEnergyConsumption") / 1000]),
            *(reading for name, kind, counter in _ECC for reading in self._ecc(name, kind, counter)),
            self._throttled(),
        ]
        return [
            read("gpu_reachable", 0.0 if self._lost else 1.0, self._device, words=[self._lost] if self._lost else []),
            *found,
        ]

    def _ask(self, what: str, *more: Any) -> Any:
        return getattr(self._library, f"nvmlDeviceGet{what}")(self._handle, *more)

    def _several(self, names: Sequence[str], ask: Callable[[], Sequence[float]]) -> list[Reading]:
        """Fields that are read together; what the driver refuses is unsupported, with what it says."""
        if self._lost:
            return [read(name, None, self._device, self._lost) for name in names]
        try:
            return [read(name, value, self._device) for name, value in zip(names, ask(), strict=True)]
        except self._library.NVMLError as error:
            if isinstance(error, self._library.NVMLError_GpuIsLost):
                self._lost = str(error)
            return [read(name, None, self._device, f"NVML says: {error}") for name in names]

    def _rates(self) -> Sequence[float]:
        rates = self._ask("UtilizationRates")
        return rates.gpu / 100, rates.memory / 100

    def _memory(self) -> Sequence[float]:
        memory = self._ask("MemoryInfo")
        return memory.used, memory.free

    def _ecc(self, name: str, kind: str, counter: str) -> list[Reading]:
        library = self._library
        return self._several(
            (name,), lambda: [self._ask("TotalEccErrors", getattr(library, kind), getattr(library, counter))]
        )

    def _throttled(self) -> Reading:
        reasons = 0

        def asked() -> Sequence[float]:
            nonlocal reasons
            try:
                reasons = self._ask("CurrentClocksEventReasons")
            except self._library.NVMLError_FunctionNotFound:
                reasons = self._ask("CurrentClocksThrottleReasons")  # its name before driver 535
            return [float(any(reasons & bit for _, bit in SLOWED))]

        [found] = self._several(("gpu_throttled",), asked)
        words = [name for name, bit in SLOWED if reasons & bit]
        return read(found.name, found.value, found.device, found.why, words)
