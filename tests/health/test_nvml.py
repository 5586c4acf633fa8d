from __future__ import annotations

import pynvml
import pytest

from fedmed.errors import ConfigError, MissingPart
from fedmed.health import nvml
from fedmed.health.nvml import SLOWED, Nvml
from tests.health.cards import T4, Recorded
from tests.health.trees import values

needs_card = pytest.mark.skipif(not Nvml().is_available(), reason=f"no GPU: {Nvml().why_not()}")
NOT_SUPPORTED = pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
LOST = pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)


@needs_card
def test_a_real_card_is_read():
    found = values(Nvml().read())
    assert found["gpu0", "gpu_reachable"] == 1
    assert found["gpu0", "gpu_memory_used"] + found["gpu0", "gpu_memory_free"] > 2**30
    assert 0 <= found["gpu0", "gpu_busy"] <= 1
    assert 0 < found["gpu0", "gpu_temperature"] < 120
    assert 0 < found["gpu0", "gpu_power"] <= 1.2 * found["gpu0", "gpu_power_limit"]


@pytest.mark.skipif(Nvml().is_available(), reason="there is a GPU")
def test_without_a_driver_the_real_library_says_so():
    assert Nvml().why_not().startswith("NVML says: ")
    with pytest.raises(MissingPart, match="nvidia-smi"):
        Nvml().read()


def test_without_the_binding_its_package_is_named():
    absent = Nvml(lambda: None)
    assert absent.why_not() == "nvidia-ml-py is not installed: pip install 'fedmed[nvml]'"
    with pytest.raises(MissingPart, match="nvidia-ml-py"):
        absent.read()


def test_the_names_of_slowdowns_are_the_real_bindings():
    for name, bit in SLOWED:
        assert getattr(pynvml, f"nvmlClocksEventReason{name}") == bit
    assert nvml.load() is pynvml


def test_a_cards_fields_have_base_units():
    ecc = {(0, 0): 3, (1, 0): 0, (0, 1): 40, (1, 1): 1}
    card = Recorded(ecc=ecc)
    readings = Nvml(lambda: card).read()
    found = values(readings)
    assert found == {
        ("gpu0", "gpu_reachable"): 1,
        ("gpu0", "gpu_busy"): 0.37,
        ("gpu0", "gpu_memory_busy"): 0.12,
        ("gpu0", "gpu_memory_used"): 3 * 2**30,
        ("gpu0", "gpu_memory_free"): 12 * 2**30,
        ("gpu0", "gpu_temperature"): 61,
        ("gpu0", "gpu_power"): 35.4,
        ("gpu0", "gpu_power_limit"): 70,
        ("gpu0", "gpu_energy"): 123_456,
        ("gpu0", "gpu_ecc_corrected"): 3,
        ("gpu0", "gpu_ecc_uncorrected"): 0,
        ("gpu0", "gpu_ecc_corrected_lifetime"): 40,
        ("gpu0", "gpu_ecc_uncorrected_lifetime"): 1,
        ("gpu0", "gpu_throttled"): 1,
    }
    [throttled] = [each for each in readings if each.name == "gpu_throttled"]
    assert throttled.words == ("SwPowerCap",)
    assert card.opened == 0


@pytest.mark.parametrize("field", sorted(T4.keys() - {"PowerManagementDefaultLimit", "PowerManagementLimitConstraints"}))
def test_a_field_that_is_not_supported_hides_no_other(field):
    readings = Nvml(lambda: Recorded(T4 | {field: NOT_SUPPORTED}, ecc={(0, 0): 0, (1, 0): 0, (0, 1): 0, (1, 1): 0})).read()
    missing = [each for each in readings if each.value is None]
    assert len(missing) == (2 if field in ("UtilizationRates", "MemoryInfo") else 1)
    assert {each.why for each in missing} == {"NVML says: Not Supported"}


def test_a_card_without_ecc_has_no_errors_that_are_known():
    found = values(Nvml(Recorded).read())
    assert found["gpu0", "gpu_ecc_uncorrected"] is None


def test_an_old_driver_has_the_old_name_for_slowdowns():
    answers = T4 | {
        "CurrentClocksEventReasons": pynvml.NVMLError(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND),
        "CurrentClocksThrottleReasons": 0x1,
    }
    assert values(Nvml(lambda: Recorded(answers)).read())["gpu0", "gpu_throttled"] == 0


@pytest.mark.parametrize("card", [Recorded(cards=2, fails_at="card 1"), Recorded(T4 | {"UtilizationRates": LOST}, cards=2)])
def test_a_card_that_fell_off_the_bus_is_told_and_has_no_values(card):
    readings = [each for each in Nvml(lambda: card).read() if each.device == "gpu1"]
    assert readings[0].value == 0
    assert readings[0].words == ("GPU is lost",)
    assert {each.value for each in readings[1:]} == {None}


def test_a_driver_that_goes_away_is_no_zero():
    assert Nvml(lambda: Recorded(cards=0)).why_not() == "the driver finds no card"
    assert "Driver Not Loaded" in Nvml(lambda: Recorded(fails_at="init")).why_not()
    with pytest.raises(MissingPart, match="cannot be asked"):
        Nvml(lambda: Recorded(fails_at="init")).read()


def test_power_is_limited_to_what_the_card_allows():
    card = Recorded()
    reader = Nvml(lambda: card)
    assert reader.limit_power("gpu0", 0.625) == 60  # the least of a T4 is 60 W
    assert reader.limit_power("gpu0", 1.0) == 70
    assert card.set == [(0, 60_000), (0, 70_000)]
    for device in ("gpu7", "", "gpu-1", "../x"):
        with pytest.raises(ConfigError, match="cannot be set"):
            reader.limit_power(device, 1.0)
    with pytest.raises(ConfigError, match="needs root"):
        Nvml(lambda: Recorded(fails_at="set")).limit_power("gpu0", 0.5)
