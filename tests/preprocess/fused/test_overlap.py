from __future__ import annotations

import dataclasses
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from fedmed.preprocess.fused import backends, cuda, twin
from fedmed.preprocess.fused.overlap import Work, arguments_of, prepare
from fedmed.preprocess.fused.window import Window

BACKENDS = [name for name, state in backends.report().items() if state == "runs"]


def works(count: int = 7):
    """Volumes of different sizes and types."""
    for number in range(count):
        size = (2 + number % 3, 5, 40 + 7 * number)
        voxels = (np.arange(np.prod(size)).reshape(size) * (number + 3) % 4000).astype(("int16", "uint16")[number % 2])
        matrix = np.column_stack([np.eye(3) * 0.9, [0, 0.2, number]])
        yield number, Work(voxels, np.ones(size[0]), np.full(size[0], -1024.0), matrix, (2, 5, 33), Window(-160, 240))


def direct(work: Work) -> np.ndarray:
    return twin.resample(
        work.voxels, work.slope, work.intercept, work.to_voxel, work.shape, window=work.window, dtype=work.dtype
    )


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("ahead", [1, 2, 5])
def test_results_come_in_order_and_equal_those_of_single_calls(name, ahead):
    module = backends.chosen(name)
    got = [(label, module.to_host(result)) for label, result in prepare(works(), module, ahead=ahead, threads=2)]
    assert [label for label, _ in got] == list(range(7))
    for (_, result), (_, work) in zip(got, works(), strict=True):
        assert np.abs(result - direct(work)).max() < 1e-5
        if name != "cupy":
            assert result.tobytes() == module.resample(**arguments_of(work)).tobytes()


def test_a_label_without_a_work_comes_in_its_turn():
    some = [(label, None if label % 3 == 0 else work) for label, work in works()]
    got = list(prepare(some, twin))
    assert [label for label, _ in got] == list(range(7))
    assert [label for label, result in got if result is None] == [0, 3, 6]


def test_the_next_is_drawn_while_a_kernel_runs_and_no_more_than_ahead():
    """The first kernel ends only once the second work was drawn; the third is drawn only after the first has ended."""
    drawn, ended = [threading.Event() for _ in range(7)], threading.Event()

    def watched():
        for number, work in works():
            assert number < 2 or ended.is_set()
            drawn[number].set()
            yield number, work

    def resample(**options):
        assert drawn[1].wait(20)
        ended.set()
        return twin.resample(**options)

    assert len(list(prepare(watched(), SimpleNamespace(NAME="numpy", resample=resample), ahead=2))) == 7


def test_the_next_is_prepared_while_the_consumer_holds_this_one():
    drawn = [threading.Event() for _ in range(4)]

    def watched():
        for number, work in works(4):
            drawn[number].set()
            yield number, work

    results = prepare(watched(), twin, ahead=2)
    next(results)
    assert drawn[1].wait(20)
    assert drawn[2].wait(20)
    assert not drawn[3].is_set()
    assert len(list(results)) == 3
    assert drawn[3].is_set()


def test_a_fault_is_raised_in_its_turn_and_ends_the_thread():
    def failing():
        yield from works(2)
        raise OSError("a file that cannot be read")

    results = prepare(failing(), twin)
    next(results), next(results)
    with pytest.raises(OSError, match="cannot be read"):
        next(results)
    assert list(results) == []
    assert not preparing()


def test_a_kernel_s_fault_is_raised_in_its_turn_and_ends_the_threads():
    def spoilt():
        for number, work in works():
            yield number, dataclasses.replace(work, edge="mirror") if number == 2 else work

    results = prepare(spoilt(), twin)
    next(results), next(results)
    with pytest.raises(ValueError, match="mirror"):
        next(results)
    assert list(results) == []
    assert not preparing()


def test_leaving_early_ends_the_thread():
    closed = threading.Event()

    def endless():
        try:
            while True:
                yield from works(1)
        finally:
            closed.set()

    source = endless()
    results = prepare(source, twin)
    next(results)
    results.close()
    assert not preparing()
    source.close()
    assert closed.is_set()


def test_at_least_one_ahead():
    with pytest.raises(ValueError, match="at least 1"):
        prepare(works(), twin, ahead=0)
    assert list(prepare([], twin)) == []


def preparing() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("fedmed-prepare")]


@pytest.mark.skipif(cuda.why_not() is not None, reason=f"no GPU: {cuda.why_not()}")
def test_memory_given_back_on_the_gpu_is_not_written_while_it_is_still_read():
    """Each result is summed late on the consumer's stream, and let go at once."""
    import cupy

    many = [each for _ in range(20) for each in works()]
    sums = [cupy.sort(result.ravel()).sum() for _, result in prepare(iter(many), cuda)]
    for got, (_, work) in zip(sums, many, strict=True):
        assert float(got) == pytest.approx(float(direct(work).sum()), rel=1e-4, abs=1e-3)
