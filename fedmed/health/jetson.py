"""A Jetson's GPU, board and memory through sysfs, because NVML does not work there.

NVML answers on a Jetson with "not supported", or worse with success and zeros, so sysfs comes first. Where things lie
differs by release (paths below are tried in order); what none of them has is told as unsupported:
- load of the GPU in thousandths: JetPack 4 and 5 `/sys/devices/gpu.0/load` and `/sys/devices/platform/gpu.0/load`, JetPack 6
  and 7 on Orin `/sys/devices/platform/bus@0/17000000.gpu/load`, each also behind `/sys/class/devfreq/NAME/device/load`. A
  Thor (devfreq `gpu-gpc-0`) has none; there NVML says it;
- temperatures in thousandths of a degree: thermal zones `GPU-therm` (JetPack 4 and 5) or `gpu-thermal` (6 and 7), and
  `tj-thermal` for the hottest; a zone that is off gives an error or -256000;
- power: an INA3221 with volts in mV and current in mA by rail (hwmon; `iio:device` with mW up to JetPack 4);
- the memory's controller: cycles that it worked in kHz (`actmon_avg_activity/mc_all` up to JetPack 5, `cactmon/mc_all` on
  6, BPMP's `actmon` on 7), over its clock in Hz; these files are root's.
Paths and scales follow what jetson-stats and its users found; none was read on a board by us.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedmed.health.readings import Reading, read
from fedmed.health.sysfs import below, first_number, number, text

GPU = "gpu0"
LOADS = (
    "sys/devices/platform/bus@0/17000000.gpu/load",
    "sys/devices/platform/17000000.gpu/load",
    "sys/devices/platform/gpu.0/load",
    "sys/devices/gpu.0/load",
)
_GPU_NODE = re.compile(r".*\.(gpu|ga10b|gv11b|gp10b|gm20b)|gpu\.0")
"""Of devfreq: by address and kind of the GPU."""
_COLDEST_C, _HOTTEST_C = -50.0, 200.0
_TOTAL_RAILS = ("VDD_IN", "POM_5V_IN")
"""The rail of the whole board, where there is one; else all rails of the INA3221 together are the board."""
_GPU_RAILS = ("VDD_GPU", "VDD_GPU_SOC", "GPU", "POM_5V_GPU", "VDD_SYS_GPU")
_SUM_OF_SHUNTS = 7


@dataclass(frozen=True)
class Jetson:
    """The reader; `root` is / but in tests."""

    root: Path = Path("/")
    name: str = "jetson"

    def why_not(self) -> str | None:
        """Why this is not a Jetson; None where it is one."""
        if (self.root / "etc/nv_tegra_release").is_file():
            return None
        compatible = text(self.root / "proc/device-tree/compatible") or ""
        return None if "nvidia,tegra" in compatible else "this is no Jetson"

    def is_available(self) -> bool:
        """Whether this is a Jetson."""
        return self.why_not() is None

    @property
    def is_thor(self) -> bool:
        """Whether NVML is needed beside sysfs: a Thor's GPU has no load in sysfs."""
        return (self.root / "sys/class/devfreq/gpu-gpc-0").is_dir()

    def read(self) -> list[Reading]:
        """All that a Jetson tells, and what it does not."""
        rails = self._rails()
        return [
            self._busy(),
            *self._memory(),
            read("gpu_memory_busy", None, GPU, "the GPU has no memory of its own"),
            self._temperature("gpu_temperature", GPU, ("gpu-thermal", "gpu-therm")),
            self._temperature("board_temperature", "", ("tj-thermal", "tj-therm", "soc0-thermal", "ao-therm")),
            *self._power(rails),
            self._overcurrent(),
            self._emc(),
            *(
                read(name, None, GPU, "a Jetson does not tell it")
                for name in (
                    "gpu_power_limit",
                    "gpu_energy",
                    "gpu_ecc_corrected",
                    "gpu_ecc_uncorrected",
                    "gpu_ecc_corrected_lifetime",
                    "gpu_ecc_uncorrected_lifetime",
                    "gpu_throttled",
                )
            ),
        ]

    def _busy(self) -> Reading:
        nodes = [path for path in below(self.root / "sys/class/devfreq", "*") if _GPU_NODE.fullmatch(path.name)]
        load = first_number(*(path / "device/load" for path in nodes), *(self.root / path for path in LOADS))
        if load is None or not 0 <= load <= 1000:
            return read("gpu_busy", None, GPU, "no load below sys/class/devfreq or sys/devices/platform")
        return read("gpu_busy", load / 1000, GPU)

    def _memory(self) -> Sequence[Reading]:
        why = "the GPU shares the machine's memory"
        return read("gpu_memory_used", None, GPU, why), read("gpu_memory_free", None, GPU, why)

    def _temperature(self, name: str, device: str, zones: tuple[str, ...]) -> Reading:
        found = {
            (text(zone / "type") or "").lower(): zone / "temp"
            for zone in below(self.root / "sys/class/thermal", "thermal_zone*")
        }
        for wanted in zones:
            raw = number(found[wanted]) if wanted in found else None
            if raw is not None and _COLDEST_C <= raw / 1000 <= _HOTTEST_C:
                return read(name, raw / 1000, device)
        is_off = any(wanted in found for wanted in zones)
        return read(name, None, device, "the sensor is off" if is_off else f"no thermal zone {' or '.join(zones)}")

    def _rails(self) -> dict[str, float]:
        """Watts by rail."""
        found: dict[str, float] = {}
        for monitor in below(self.root / "sys/class/hwmon", "hwmon*"):
            if (text(monitor / "name") or "").startswith("ina3221"):
                found |= _hwmon_rails(monitor)
        for monitor in below(self.root / "sys/bus/i2c/drivers/ina3221x", "*/iio:device*"):
            for label in below(monitor, "rail_name_*"):
                milliwatts = number(monitor / f"in_power{label.name.removeprefix('rail_name_')}_input")
                if milliwatts is not None and (rail := text(label)):
                    found[rail] = milliwatts / 1000
        return found

    def _power(self, rails: dict[str, float]) -> Sequence[Reading]:
        why = f"no rail of its own among {', '.join(sorted(rails))}" if rails else "no INA3221 below sys/class/hwmon"
        gpu = next((rails[name] for name in _GPU_RAILS if name in rails), None)
        total = next((rails[name] for name in _TOTAL_RAILS if name in rails), sum(rails.values()) if rails else None)
        return read("gpu_power", gpu, GPU, why), read("board_power", total, "", why)

    def _overcurrent(self) -> Reading:
        counts = [number(path) for path in below(self.root / "sys/class/hwmon", "hwmon*/oc*_event_cnt")]
        known = [count for count in counts if count is not None]
        return read("gpu_overcurrent", sum(known) if known else None, GPU, "no oc*_event_cnt below sys/class/hwmon")

    def _emc(self) -> Reading:
        kernel = self.root / "sys/kernel"
        active = first_number(
            kernel / "debug/cactmon/mc_all",
            kernel / "debug/bpmp/debug/actmon/mc_all_avg_activity",
            kernel / "actmon_avg_activity/mc_all",
        )
        rate = first_number(kernel / "debug/bpmp/debug/clk/emc/rate", self.root / "sys/class/devfreq/bwmgr/cur_freq")
        if active is None or not rate:
            return read("emc_busy", None, "", "the memory controller's files are not there, or only root reads them")
        return read("emc_busy", min(1.0, active * 1000 / rate))


def _hwmon_rails(monitor: Path) -> dict[str, float]:
    found: dict[str, float] = {}
    for label in below(monitor, "in*_label"):
        at = label.name.removeprefix("in").removesuffix("_label")
        rail = text(label) or ""
        # Channel 7 is the sum of the shunts' voltages, "NC" a channel with nothing on it: neither is a rail.
        if not at.isdigit() or int(at) == _SUM_OF_SHUNTS or not rail or rail == "NC":
            continue
        millivolts, milliamperes = number(monitor / f"in{at}_input"), number(monitor / f"curr{at}_input")
        if millivolts is not None and milliamperes is not None:
            found[rail] = millivolts * milliamperes / 1e6
    return found
