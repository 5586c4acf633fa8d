"""On a GPU: parity, no races, overlap. Without one: that the back end says why it cannot run."""

from __future__ import annotations

import shutil
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings

from fedmed.errors import MissingPart
from fedmed.preprocess.fused import arguments, augmentation, cuda, folding, parity, twin
from tests.preprocess.fused.cases import augmentations, resamples, worst

needs_gpu = pytest.mark.skipif(cuda.why_not() is not None, reason=f"no GPU: {cuda.why_not()}")


@pytest.fixture
def asked_anew():
    cuda.why_not.cache_clear()
    yield
    cuda.why_not.cache_clear()


def test_without_cupy_it_says_what_to_install(monkeypatch, asked_anew):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert "install fedmed[gpu]" in cuda.why_not()
    with pytest.raises(MissingPart, match="CuPy cannot be imported"):
        cuda.resample(np.zeros((1, 1, 1)), np.ones(1), np.ones(1), np.eye(4)[:3], (1, 1, 1), window=None)


def test_a_kernel_that_fails_is_the_reason(monkeypatch, asked_anew):
    """CuPy finds a device, as on a Jetson with a driver too old, and the first kernel fails."""
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    monkeypatch.setattr(cupy.cuda.runtime, "getDeviceCount", lambda: 1)

    def fails() -> None:
        raise cupy.cuda.runtime.CUDARuntimeError(209)

    monkeypatch.setattr(cuda, "_probe", fails)
    assert "no kernel runs on a GPU here (CUDARuntimeError" in cuda.why_not()


@needs_gpu
@settings(max_examples=200, deadline=None)
@given(resamples())
def test_resample_equals_the_definition(case):
    error = worst(cuda.to_host(cuda.resample(**case)), twin.resample(**case))
    assert error <= folding.bound(arguments.checked(**case))


@needs_gpu
@settings(max_examples=100, deadline=None)
@given(augmentations())
def test_augmentations_equal_the_definition(case):
    images, parameters = case
    limit = augmentation.bound(images, parameters, (0.0, 1.0), 0.0)
    assert worst(cuda.to_host(cuda.augment(images, parameters)), twin.augment(images, parameters)) <= limit
    labels = (images * 9).astype(np.int64)
    assert (cuda.to_host(cuda.augment_labels(labels, parameters)) == twin.augment_labels(labels, parameters)).all()


@needs_gpu
def test_repeated_runs_give_the_same_bits():
    for _, case in parity.resample_cases():
        first = cuda.to_host(cuda.resample(**case)).tobytes()
        assert all(cuda.to_host(cuda.resample(**case)).tobytes() == first for _ in range(20))


RACES = "from fedmed.preprocess.fused import cuda, parity; assert parity.certificate(cuda).passed"


@needs_gpu
@pytest.mark.parametrize("tool", ["memcheck", "racecheck", "initcheck"])
def test_the_sanitizer_finds_nothing(tool):
    program = shutil.which("compute-sanitizer")
    if program is None:
        pytest.skip("compute-sanitizer is not installed beside this GPU; repeated runs are compared instead")
    command = [program, f"--tool={tool}", "--error-exitcode=9", sys.executable, "-c", RACES]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout[-3000:]
