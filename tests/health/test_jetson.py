from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.health.jetson import GPU, Jetson
from tests.health.trees import NANO_JP4, ORIN_JP6, ORIN_JP7, ORIN_NANO_JP6, THOR_JP7, X86, XAVIER_JP5, laid_out, values

NEVER = ["gpu_ecc_uncorrected", "gpu_ecc_corrected", "gpu_memory_used", "gpu_memory_free", "gpu_energy", "gpu_throttled"]


def read(folder, tree):
    return {(each.device, each.name): each for each in Jetson(laid_out(folder, tree)).read()}


def test_an_orin_on_jetpack_6(tmp_path):
    found = values(read(tmp_path, ORIN_JP6).values())
    assert found[GPU, "gpu_busy"] == 0.437
    assert found[GPU, "gpu_temperature"] == 43.0
    assert found["", "board_temperature"] == 47.406
    assert found[GPU, "gpu_power"] == pytest.approx(19.088 * 0.248)
    assert found["", "board_power"] == pytest.approx(19.088 * 0.248 + 19.080 * 0.040)
    assert found[GPU, "gpu_overcurrent"] == 12
    assert found["", "emc_busy"] == pytest.approx(98334e3 / 3199e6)


def test_an_orin_nano_has_no_rail_for_its_gpu_and_says_so(tmp_path):
    found = read(tmp_path, ORIN_NANO_JP6)
    assert found["", "board_power"].value == pytest.approx(5.024)
    assert str(found[GPU, "gpu_power"]) == "unsupported (no rail of its own among VDD_CPU_GPU_CV, VDD_IN)"
    assert found["", "emc_busy"].value is None


def test_an_orin_on_jetpack_7_has_its_load_behind_devfreq(tmp_path):
    found = values(read(tmp_path, ORIN_JP7).values())
    assert found[GPU, "gpu_busy"] == 0.437
    assert found["", "emc_busy"] == pytest.approx(0.5)


def test_a_thor_has_no_load_in_sysfs(tmp_path):
    reader = Jetson(laid_out(tmp_path, THOR_JP7))
    found = values(reader.read())
    assert reader.is_available()
    assert reader.is_thor
    assert found[GPU, "gpu_busy"] is None
    assert found[GPU, "gpu_temperature"] == 38.25


def test_a_sensor_that_is_off_is_unsupported_and_not_minus_256(tmp_path):
    found = read(tmp_path, XAVIER_JP5)
    assert str(found[GPU, "gpu_temperature"]) == "unsupported (the sensor is off)"
    assert found["", "board_temperature"].value == 30.5
    assert found[GPU, "gpu_busy"].value == 0.999


def test_a_nano_on_jetpack_4(tmp_path):
    found = values(read(tmp_path, NANO_JP4).values())
    assert found[GPU, "gpu_busy"] == 0.0
    assert found[GPU, "gpu_power"] == 0.0
    assert found["", "board_power"] == 2.341


@pytest.mark.parametrize("tree", [ORIN_JP6, ORIN_NANO_JP6, ORIN_JP7, THOR_JP7, XAVIER_JP5, NANO_JP4])
def test_what_a_jetson_does_not_tell_is_never_0(tmp_path, tree):
    found = read(tmp_path, tree)
    for name in NEVER:
        assert found[GPU, name].value is None
        assert found[GPU, name].why


def test_all_else_is_no_jetson(tmp_path):
    assert Jetson(laid_out(tmp_path, X86)).why_not() == "this is no Jetson"
    assert {each.value for each in Jetson(tmp_path).read()} == {None}


def test_a_directory_where_a_file_should_be_and_a_file_too_long(tmp_path):
    laid_out(tmp_path, ORIN_JP6)
    for path in ("sys/devices/platform/bus@0/17000000.gpu/load", "sys/class/devfreq/17000000.gpu/device/load"):
        (tmp_path / path).unlink()
    (tmp_path / "sys/devices/platform/bus@0/17000000.gpu/load").mkdir()
    (tmp_path / "sys/devices/gpu.0").mkdir()
    (tmp_path / "sys/devices/gpu.0/load").write_text("1" * 100_000)
    assert values(Jetson(tmp_path).read())[GPU, "gpu_busy"] is None


@given(words=st.binary(max_size=30), path=st.sampled_from([path for path in ORIN_JP6 if path.startswith("sys")]))
def test_no_file_makes_it_stumble(tmp_path_factory, words, path):
    folder = laid_out(tmp_path_factory.mktemp("sys"), ORIN_JP6)
    (folder / path).write_bytes(words)
    for each in Jetson(folder).read():
        assert each.value is None or each.name in ("board_power", "gpu_power", "gpu_overcurrent") or -50 <= each.value <= 200
