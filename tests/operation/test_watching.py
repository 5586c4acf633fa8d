from __future__ import annotations

import threading

import pytest

from fedmed.errors import StoreError
from fedmed.operation.watching import Trouble, watched


@pytest.mark.parametrize(("error", "why"), [(KeyError("x"), "KeyError"), (StoreError("no room"), "no room")])
def test_a_thread_that_ends_by_a_fault_says_so(monkeypatch: pytest.MonkeyPatch, error: Exception, why: str):
    hooked, told = list[object](), list[tuple[str, str]]()
    monkeypatch.setattr(threading, "excepthook", hooked.append)

    def fails() -> None:
        raise error

    thread = watched("tend", fails, lambda *said: told.append(said))
    thread.start()
    thread.join(30)
    assert told == [("tend", why)]
    assert len(hooked) == 1  # all of it is in the log


def test_a_thread_that_comes_to_its_end_says_nothing():
    told, did = list[tuple[str, str]](), list[int]()
    thread = watched("tend", lambda: did.append(1), lambda *said: told.append(said))
    thread.start()
    thread.join(30)
    assert (did, told) == ([1], [])
    assert thread.daemon


def test_the_same_trouble_is_told_once_until_it_is_over():
    told = list[str]()
    trouble = Trouble(told.append)
    for each in ("no room", "no room", "no line", "no line", "", "no line"):
        if each:
            trouble.is_so(each)
        else:
            trouble.is_over()
    assert told == ["no room", "no line", "no line"]
