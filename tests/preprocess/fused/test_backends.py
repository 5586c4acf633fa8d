from __future__ import annotations

import inspect
import sys

import pytest

from fedmed.errors import ConfigError, MissingPart
from fedmed.preprocess.fused import backends, compiled, cuda, twin


@pytest.fixture
def hidden(monkeypatch):
    """Hides packages from the back ends, as if they were not installed."""

    def hide(*names: str) -> None:
        for name in names:
            monkeypatch.setitem(sys.modules, name, None)
        for name in ("jit", "loops"):
            monkeypatch.delitem(sys.modules, f"fedmed.preprocess.fused.{name}", raising=False)
        monkeypatch.delattr("fedmed.preprocess.fused.loops", raising=False)
        for module in (compiled, cuda):
            module.why_not.cache_clear()

    yield hide
    monkeypatch.undo()
    for module in (compiled, cuda):
        module.why_not.cache_clear()


def test_all_take_the_same_arguments():
    for name in ("resample", "augment", "augment_labels"):
        wanted = list(inspect.signature(getattr(twin, name)).parameters.values())
        for module in (compiled, cuda):
            got = list(inspect.signature(getattr(module, name)).parameters.values())
            assert [(one.name, one.kind, one.default) for one in got] == [
                (one.name, one.kind, one.default) for one in wanted
            ]


def test_every_module_of_the_table_offers_what_a_back_end_must():
    offered = {name for name in vars(backends.Backend) if not name.startswith("_")} | {"NAME"}
    for name in backends.TABLE:
        module = backends._module(name)
        assert name == module.NAME
        assert all(hasattr(module, one) for one in offered)
        assert len(module.source_sha256()) == 64


def test_the_definition_is_what_is_left(hidden):
    hidden("numba", "cupy")
    assert backends.best() is twin
    report = backends.report()
    assert report["numpy"] == "runs"
    assert "fedmed[imaging]" in report["numba"]
    assert "fedmed[gpu]" in report["cupy"]


def test_a_name_goes_before_the_environment_and_that_before_the_best(monkeypatch):
    monkeypatch.delenv(backends.VARIABLE, raising=False)
    assert backends.chosen() is backends.best()
    monkeypatch.setenv(backends.VARIABLE, "numpy")
    assert backends.chosen() is twin
    assert backends.chosen("numba") is compiled


def test_what_cannot_be_chosen_is_refused_with_the_reasons(hidden):
    with pytest.raises(ConfigError, match=r"'cuda'.*allowed: cupy, numba, numpy"):
        backends.chosen("cuda")
    hidden("numba", "cupy")
    with pytest.raises(MissingPart, match=r"numba cannot run here.*cupy: CuPy cannot be imported.*numpy: runs"):
        backends.chosen("numba")
