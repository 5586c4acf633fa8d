"""Without a card: how it says that it cannot run, and that a package is opened by another one then."""

from __future__ import annotations

import importlib.util
import sys
import types

import pytest

from fedmed.errors import EngineFailed, MissingPart
from fedmed.serving.engines import cudart, table, tensorrt
from tests.serving.models import written


@pytest.fixture
def without(monkeypatch):
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, found=importlib.util.find_spec: None if name == "tensorrt" else found(name)
    )


def test_without_the_library(without, tmp_path):
    assert tensorrt.why_not() == "tensorrt is not installed: it comes with JetPack, or from NVIDIA for this card's CUDA"
    package = written(tmp_path)
    assert table.open_engine(package, "fp32").name == "cpu"
    with pytest.raises(MissingPart, match=r"back end tensorrt cannot run here: .* Of the others, .*cpu: runs fp32, int8"):
        table.open_engine(package, "fp16", "tensorrt")


@pytest.mark.parametrize("version", ["8.6.1", "11.4.0"])
def test_another_major_version(monkeypatch, version):
    library = types.ModuleType("tensorrt")
    library.__version__ = version
    monkeypatch.setitem(sys.modules, "tensorrt", library)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert tensorrt.why_not() == f"tensorrt is of version {version}; 10 is needed"


def test_without_a_card(monkeypatch):
    monkeypatch.setattr(cudart, "library", lambda: None)
    assert cudart.why_not().startswith("there is no CUDA runtime (libcudart.so")
    with pytest.raises(EngineFailed, match="no CUDA runtime"):
        cudart.architecture()


class Runtime:
    """A CUDA runtime whose calls end with these codes."""

    def __init__(self, **codes: int) -> None:
        self.codes = codes

    def __getattr__(self, name):
        return lambda *arguments: self.codes.get(name, 0)


def test_a_runtime_without_a_card(monkeypatch):
    monkeypatch.setattr(cudart, "library", lambda: Runtime(cudaGetDeviceCount=100))
    assert cudart.why_not() == "there is no CUDA card (error 100)"


def test_a_call_that_fails_is_named(monkeypatch):
    monkeypatch.setattr(cudart, "library", lambda: Runtime(cudaMalloc=2))
    with pytest.raises(EngineFailed, match="cudaMalloc ended with the CUDA error 2"):
        cudart.Buffer(16)


def test_each_precision_has_a_file_and_flags():
    assert tensorrt.FILES.keys() == tensorrt.FLAGS.keys() == set(table.PRECISIONS)
