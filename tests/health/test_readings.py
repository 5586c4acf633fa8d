from __future__ import annotations

import math

import pytest

from fedmed.health.readings import QUANTITIES, merged, read

UNITS = {"", "ratio", "bytes", "celsius", "watts", "joules", "seconds"}


def test_every_quantity_has_a_base_unit_and_says_what_it_is():
    assert {each.unit for each in QUANTITIES.values()} == UNITS
    assert all(each.help.endswith(".") for each in QUANTITIES.values())


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, None])
def test_what_is_no_number_is_unsupported(bad):
    found = read("gpu_busy", bad, "gpu0")
    assert found.value is None
    assert str(found).startswith("unsupported")


def test_a_value_is_told_with_its_unit():
    assert str(read("gpu_temperature", 61)) == "61 celsius"
    assert str(read("gpu_throttled", 1, words=["SwPowerCap"])) == "1 (SwPowerCap)"
    assert str(read("gpu_busy", 0.0)) == "0 %"
    assert str(read("network_loss", 0.00134)) == "0.134 %"


def test_of_several_readers_the_first_that_knows_counts():
    one = [read("gpu_busy", None, "gpu0", "no file"), read("gpu_temperature", 40, "gpu0")]
    other = [read("gpu_busy", 0.5, "gpu0"), read("gpu_temperature", 0, "gpu0"), read("gpu_busy", 0.1, "gpu1")]
    found = {(each.device, each.name): each.value for each in merged(one, other)}
    assert found == {("gpu0", "gpu_busy"): 0.5, ("gpu0", "gpu_temperature"): 40, ("gpu1", "gpu_busy"): 0.1}
