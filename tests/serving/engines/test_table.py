from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from fedmed.errors import ConfigError, DataError, EngineFailed, MissingPart
from fedmed.serving.engines import ort, ort_cpu, ort_cuda, table, tensorrt
from fedmed.serving.engines.engine import Options
from fedmed.serving.packages import FP32, U8S8
from tests.serving.models import golden, written


def test_the_engine_gives_the_logits(tmp_path):
    package = written(tmp_path)
    engine = table.open_engine(package)
    assert (engine.name, engine.precision) == ("cpu", "fp32")
    assert np.allclose(engine.run(package.golden.inputs), golden()["logits"], atol=1e-6)


def test_int8_is_opened_from_its_own_file(quantised):
    engine = table.open_engine(quantised, "int8", "cpu", Options(threads=1))
    assert engine.precision == "int8"
    assert np.array_equal(
        engine.run(quantised.golden.inputs),
        ort_cpu.open_model(quantised.models[U8S8], "int8", 1).run(quantised.golden.inputs),
    )


@pytest.mark.parametrize(
    "x",
    [
        np.zeros((2, 5), np.float32),
        np.zeros((2, 4), np.float64),
        np.zeros(4, np.float32),
        np.zeros((0, 4), np.float32),
    ],
)
def test_inputs_of_another_shape(tmp_path, x):
    with pytest.raises(DataError, match=r"needed are float32 of shape \[N, 4\]"):
        table.open_engine(written(tmp_path)).run(x)


def test_which_file_would_be_opened(quantised):
    files = quantised.card.files.keys()
    assert (table.file_of(files, "fp32"), table.file_of(files, "int8", "cpu")) == (FP32, U8S8)
    assert table.file_of({FP32}, "int8") is None
    assert table.able(quantised, "int8") == table.able_with(files, "int8") == ["cpu"]
    assert "onnxruntime " in table.versions()


def test_names_that_are_not_in_the_tables(tmp_path):
    package = written(tmp_path)
    with pytest.raises(ConfigError, match="got the precision 'int4', allowed: fp32, fp16, int8"):
        table.open_engine(package, "int4")
    with pytest.raises(ConfigError, match="got the back end 'gpu', allowed: auto, tensorrt, cuda, cpu"):
        table.open_engine(package, "fp32", "gpu")


def test_a_precision_that_the_package_does_not_have(tmp_path):
    package = written(tmp_path)
    assert table.able(package, "int8") == []
    with pytest.raises(ConfigError, match=r"int8 of heart cannot be opened here. It has model.onnx; back ends: tensorrt: "):
        table.open_engine(package, "int8")


def test_a_missing_library_is_told_with_what_there_is(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr(ort.importlib.util, "find_spec", lambda name: None)
    assert [each.is_available() for each in (ort_cpu, ort_cuda, tensorrt)] == [False] * 3
    assert table.report()["cpu"] == "onnxruntime is not installed: pip install 'fedmed[edge]'"
    with pytest.raises(
        MissingPart, match=r"back end cpu cannot run here: onnxruntime is not installed.*tensorrt: tensorrt is not"
    ):
        table.open_engine(written(tmp_path), "fp32", "cpu")
    with pytest.raises(MissingPart, match="onnxruntime"):
        ort.version()


def test_a_provider_that_this_build_does_not_have():
    reason = ort.why_not("NoSuchExecutionProvider")
    assert reason.startswith("this onnxruntime has no NoSuchExecutionProvider, only ")
    assert ort_cpu.is_available()
    assert table.report()["cpu"] == "runs fp32, int8"


def test_what_onnx_runtime_cannot_open():
    with pytest.raises(EngineFailed, match="cpu fp32 cannot open the model: "):
        ort_cpu.open_model(b"no model", "fp32")


LIGHT = """
import sys
for name in ("torch", "flwr", "numba", "matplotlib", "onnx", "pydantic", "cupy", "tensorrt"):
    sys.modules[name] = None
import fedmed.serving.ladder, fedmed.serving.inputs, fedmed.serving.measuring, fedmed.serving.climbing
import fedmed.serving.engines.tensorrt, fedmed.serving.engines.ort_cuda
from pathlib import Path
from fedmed.serving.engines.table import open_engine
from fedmed.serving.packages import Package
from fedmed.serving.testing import self_test
package = Package.load(Path(sys.argv[1]))
print(self_test(open_engine(package, sys.argv[2]), package).passed)
"""


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_light_device_needs_numpy_and_onnx_runtime_alone(quantised, precision):
    done = subprocess.run(
        [sys.executable, "-c", LIGHT, quantised.folder, precision], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("True\n", "")
