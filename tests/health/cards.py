from __future__ import annotations

from types import SimpleNamespace

import pynvml

T4 = {
    "UtilizationRates": SimpleNamespace(gpu=37, memory=12),
    "MemoryInfo": SimpleNamespace(used=3 * 2**30, free=12 * 2**30, total=15360 * 2**20),
    "Temperature": 61,
    "PowerUsage": 35_400,
    "PowerManagementLimit": 70_000,
    "PowerManagementDefaultLimit": 70_000,
    "PowerManagementLimitConstraints": (60_000, 70_000),
    "TotalEnergyConsumption": 123_456_000,
    "CurrentClocksEventReasons": 0x4 | 0x1,
}


class Recorded:
    """NVML's answers as a T4's driver gives them, with faults in their place; names and errors are the binding's."""

    def __init__(self, answers=T4, cards=1, ecc=None, fails_at=""):
        self.answers, self.cards, self.ecc, self.fails_at = answers, cards, ecc or {}, fails_at
        self.opened, self.set = 0, []

    def __getattr__(self, name):
        if not name.startswith("nvmlDeviceGet"):
            return getattr(pynvml, name)
        answer = self.answers[name.removeprefix("nvmlDeviceGet")]

        def asked(handle, *_):
            if isinstance(answer, Exception):
                raise answer
            return answer

        return asked

    def nvmlInit(self):
        if self.fails_at == "init":
            raise pynvml.NVMLError(pynvml.NVML_ERROR_DRIVER_NOT_LOADED)
        self.opened += 1

    def nvmlShutdown(self):
        self.opened -= 1

    def nvmlDeviceGetCount(self):
        return self.cards

    def nvmlDeviceGetHandleByIndex(self, index):
        if not 0 <= index < self.cards:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        if self.fails_at == f"card {index}":
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        return index

    def nvmlDeviceGetTotalEccErrors(self, handle, kind, counter):
        if self.ecc is None or (kind, counter) not in self.ecc:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return self.ecc[kind, counter]

    def nvmlDeviceSetPowerManagementLimit(self, handle, milliwatts):
        if self.fails_at == "set":
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NO_PERMISSION)
        self.set.append((handle, milliwatts))
