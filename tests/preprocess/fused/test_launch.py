"""The CUDA sources, proved without a GPU: they compile for every card we name, and on the host they equal the definition."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.config.catalogue import shipped
from fedmed.preprocess.fused import arguments, augmentation, folding, launch, parity, twin
from tests.preprocess.fused import on_host, on_nvrtc
from tests.preprocess.fused.cases import augmentations, resamples, worst

REGISTERS = {"resample": 64, "augment": 80}
"""Ceilings: with blocks of 256, four and three blocks fit on a multiprocessor."""
ENTRIES = {"resample": 16, "augment": 5}


@pytest.mark.parametrize("card", on_nvrtc.CARDS)
@pytest.mark.parametrize("name", launch.SOURCES)
def test_sources_compile_within_their_registers_and_spill_nothing(name, card):
    used = on_nvrtc.usage(launch.source(name), name, card)
    assert len(used.registers) == len(used.memory) == ENTRIES[name]
    assert max(used.registers) <= REGISTERS[name]
    assert set(used.memory) == {on_nvrtc.NO_STACK}


def test_a_fault_in_a_source_is_reported_in_its_own_file():
    nvrtc = on_nvrtc.compiler()
    whole = (shipped("kernels") / "resample.cu").read_text().splitlines()
    number = next(at for at, line in enumerate(whole, 1) if line.startswith("struct Finish"))
    broken = launch.source("resample").replace("struct Finish", "struct ? Finish", 1)
    program = nvrtc.createProgram(broken, "resample.cu", (), ())
    with pytest.raises(nvrtc.NVRTCError):
        nvrtc.compileProgram(program, on_nvrtc.CUPYS)
    assert f"resample.cu({number})" in nvrtc.getProgramLog(program)


@pytest.fixture(scope="module")
def libraries(tmp_path_factory):
    on_host.need_compiler()
    folder = tmp_path_factory.mktemp("kernels")
    return {name: ctypes.CDLL(str(on_host.build(name, folder))) for name in launch.SOURCES}


def resampled(library, request, **options):
    """What the kernel writes; every voxel is poisoned before."""
    out = np.full(request.out_shape, np.nan, request.dtype)
    on_host.run(library, launch.resample(request), out, **options)
    return out


@settings(max_examples=100, deadline=None)
@given(resamples())
def test_resample_equals_the_definition(libraries, case):
    request = arguments.checked(**case)
    assert worst(resampled(libraries["resample"], request), twin.resample(**case)) <= folding.bound(request)


@settings(max_examples=30, deadline=None)
@given(resamples(), st.integers(1, 3))
def test_neither_the_number_of_blocks_nor_the_order_of_threads_changes_a_bit(libraries, case, blocks):
    request = arguments.checked(**case)
    usual = resampled(libraries["resample"], request)
    assert resampled(libraries["resample"], request, blocks=blocks).tobytes() == usual.tobytes()
    assert resampled(libraries["resample"], request, backwards=True).tobytes() == usual.tobytes()


def test_every_entry_is_reached(libraries):
    """The suite of the parity certificate, each stored type, grid and result type of it, on the host."""
    reached = set()
    for _, case in parity.resample_cases():
        for dtype in arguments.LARGEST:
            request = arguments.checked(**{**case, "dtype": dtype})
            reached.add(launch.resample(request).entry)
            got = resampled(libraries["resample"], request)
            assert worst(got, twin.resample(**{**case, "dtype": dtype})) <= folding.bound(request)
    assert reached == set(on_host.entries("resample"))
    assert len(reached) == ENTRIES["resample"]


@settings(max_examples=50, deadline=None)
@given(augmentations(), st.sampled_from(["border", "constant"]))
def test_augmentations_equal_the_definition(libraries, case, edge):
    images, parameters = case
    out = np.full_like(images, np.nan)
    on_host.run(libraries["augment"], launch.augment(images, parameters, (0.0, 1.0), edge, 0.3), out)
    limit = augmentation.bound(images, parameters, (0.0, 1.0), 0.3)
    assert worst(out, twin.augment(images, parameters, edge=edge, fill=0.3)) <= limit


@settings(max_examples=40, deadline=None)
@given(augmentations(), st.sampled_from(["border", "constant"]), st.sampled_from(["u1", "i1", "i2", "i4", "i8"]))
def test_labels_equal_the_definition(libraries, case, edge, kind):
    images, parameters = case
    labels = (images * 99).astype(kind)
    out = np.full_like(labels, 101)
    bits = np.dtype(f"u{labels.itemsize}")
    fill = -3 if kind[0] == "i" else 3
    on_host.run(libraries["augment"], launch.labels(labels.view(bits), parameters, edge, fill), out)
    assert (out == twin.augment_labels(labels, parameters, edge=edge, fill=fill)).all()


def test_a_far_coordinate_is_as_exact_as_a_near_one(libraries):
    """At voxel 60,000 a float32 coordinate would be off by 0.002 voxels; the fixed point is not."""
    voxels = np.tile(np.array([0, 1000], np.int16), 30_000)[None, None]
    matrix = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1.0, 59_000 + 1 / 3]])
    request = arguments.checked(voxels, np.ones(1), np.zeros(1), matrix, (1, 1, 64), None, None, 0.0, "border", np.float32)
    got = resampled(libraries["resample"], request)[0, 0, 0]
    assert got == pytest.approx(np.tile([1000 / 3, 2000 / 3], 32), abs=1e-3)


def test_a_volume_of_more_than_two_billion_voxels_is_read_at_its_end(libraries):
    """64-bit indices; most of the volume is never touched, so it takes no memory."""
    voxels = np.zeros((2050, 1024, 1024), np.uint8)
    voxels[-1, -1, -32:] = np.arange(32)
    for tilt in (0.0, 1e-3):
        matrix = np.array([[1, tilt, 0, 2049], [0, 1, 0, 1023], [0, 0, 1, 992.0]])
        ones = np.ones(len(voxels))
        request = arguments.checked(voxels, ones, 0 * ones, matrix, (1, 1, 32), None, None, 0.0, "border", np.float32)
        assert launch.resample(request).entry.startswith("oblique" if tilt else "parallel")
        assert (resampled(libraries["resample"], request)[0, 0, 0] == np.arange(32)).all()


SANITISED = """
import ctypes, sys
import numpy as np
from hypothesis import Phase, given, settings
from fedmed.preprocess.fused import arguments, launch
from tests.preprocess.fused import on_host
from fedmed.preprocess.fused.augmentation import AugmentRanges, draw
from tests.preprocess.fused.cases import augmentations, resamples

resample, augment = (ctypes.CDLL(path) for path in sys.argv[1:])

@settings(max_examples=30, deadline=None, database=None, phases=[Phase.generate])
@given(resamples(), augmentations())
def walk(case, batch):
    request = arguments.checked(**case)
    on_host.run(resample, launch.resample(request), np.zeros(request.out_shape, request.dtype))
    images, parameters = batch
    for edge in ("border", "constant"):
        on_host.run(augment, launch.augment(images, parameters, (0.0, 1.0), edge, 0.0), np.zeros_like(images))
        labels = (images * 9).astype(np.uint16)
        on_host.run(augment, launch.labels(labels, parameters, edge, 0), np.zeros_like(labels))

walk()
out = np.zeros(8, np.float32)
print("clean", flush=True)
images, one = np.zeros((1, 1, 1, 4, 4), np.float32), draw(AugmentRanges(), np.random.default_rng(0), 1, (1, 4, 4))
on_host.run(augment, launch.augment(images, one, (0.0, 1.0), "border", 0.0), out)
print("not found")
"""


def test_no_read_or_write_lies_outside_an_array(tmp_path):
    """Under the address and undefined-behaviour sanitisers; a result that is too short shows that they look."""
    on_host.need_compiler()
    done = on_host.checked(SANITISED, *(on_host.build(name, tmp_path, on_host.CHECKED) for name in launch.SOURCES))
    assert done.stdout.strip() == "clean", done.stderr[-3000:]
    assert "heap-buffer-overflow" in done.stderr
