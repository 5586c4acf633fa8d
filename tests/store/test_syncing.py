from __future__ import annotations

import threading

import pytest

from fedmed.store.syncing import AT_ONCE, at_once


def test_all_are_done_and_several_at_a_time():
    together, done = threading.Barrier(AT_ONCE, timeout=20), set[int]()

    def work(number: int) -> None:
        if number < AT_ONCE:
            together.wait()
        done.add(number)

    at_once(work, range(3 * AT_ONCE))
    assert done == set(range(3 * AT_ONCE))
    at_once(work, [])


def test_what_one_raises_is_raised_when_the_others_that_had_begun_have_ended():
    begun, ended, first = set[int](), set[int](), threading.Barrier(2, timeout=20)

    def work(number: int) -> None:
        begun.add(number)
        if number < 2:
            first.wait()
        if number == 0:
            raise OSError(28, "No space left on device")
        ended.add(number)

    with pytest.raises(OSError, match="No space left"):
        at_once(work, range(40))
    assert begun == ended | {0}
