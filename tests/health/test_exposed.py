from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

from fedmed.health.exposed import measures, metric_name
from fedmed.health.host import Host
from fedmed.health.jetson import Jetson
from fedmed.health.nvml import Nvml
from fedmed.health.policy import Watch, step
from fedmed.health.readings import QUANTITIES, read
from tests.health.cards import Recorded
from tests.health.trees import ORIN_JP6, laid_out


class Shown:
    """Rows as a collector of prometheus-client."""

    def __init__(self, rows):
        self.rows = rows

    def collect(self):
        families = {}
        for name, about, _, labels, value in self.rows:
            kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            family = families.setdefault(name, kind(name, about, labels=sorted(labels)))
            family.add_metric([labels[key] for key in sorted(labels)], value)
        return families.values()


def exposition(rows):
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Shown(rows))
    return generate_latest(registry).decode()


def everything(folder):
    readings = [*Nvml(lambda: Recorded(ecc={(0, 0): 2, (1, 0): 0})).read(), *Host(data=folder).read()]
    watch, _ = step(Watch(), [*readings, read("gpu_temperature", 90, "gpu1")], 0)
    return measures(readings, watch)


def test_names_say_the_unit():
    for name, quantity in QUANTITIES.items():
        shown = metric_name(name)
        assert re.fullmatch("fedmed_[a-z_]+", shown)
        assert shown.removesuffix("_total").endswith(quantity.unit)
        assert shown.endswith("_total") == quantity.is_counter


def test_the_names_of_dcgm_are_its_own():
    assert all(re.fullmatch("DCGM_FI_DEV_[A-Z_]+", each.dcgm) for each in QUANTITIES.values() if each.dcgm)
    assert QUANTITIES["gpu_temperature"].dcgm == "DCGM_FI_DEV_GPU_TEMP"


def test_rows_have_values_and_devices(tmp_path):
    rows = everything(tmp_path)
    told = {(name, labels.get("device", labels.get("limit", ""))): value for name, _, _, labels, value in rows}
    assert told["fedmed_gpu_temperature_celsius", "gpu0"] == 61
    assert told["fedmed_gpu_ecc_corrected_total", "gpu0"] == 2
    assert told["fedmed_health_alerts", "gpu-hot"] == 1
    assert told["fedmed_health_alerts", "ecc-corrected"] == 1
    assert told["fedmed_health_alerts", "gpu-lost"] == 0


def test_what_is_unsupported_is_counted_apart_and_never_0(tmp_path):
    rows = measures(Jetson(laid_out(tmp_path, ORIN_JP6)).read())
    names = {name for name, *_ in rows}
    assert "fedmed_gpu_ecc_uncorrected_total" not in names
    missing = {labels["quantity"] for name, _, _, labels, _ in rows if name == "fedmed_unsupported"}
    assert {"gpu_ecc_uncorrected", "gpu_memory_used", "gpu_power_limit"} <= missing
    assert "gpu_temperature" not in missing


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not on PATH: Debian's package prometheus has it")
def test_promtool_takes_the_rows(tmp_path):
    for number, rows in enumerate([everything(tmp_path), measures(Jetson(laid_out(tmp_path / "orin", ORIN_JP6)).read())]):
        shown = exposition(rows)
        assert shown.count("# HELP") == len({name for name, *_ in rows}), number
        done = subprocess.run(["promtool", "check", "metrics"], input=shown, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
