from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from fedmed.dicom.results.making import results_of
from fedmed.edge.findings import packed
from fedmed.edge.making import Maker, MakerEnded
from fedmed.errors import DataError, StoreError
from tests.dicom.results.samples import FINDING, masked, source

PLAIN = replace(FINDING, concepts={})
"""No code of a terminology goes through a spool."""
CONTENT = packed(PLAIN, [source()])


@pytest.fixture
def maker() -> Iterator[Maker]:
    made = Maker()
    yield made
    made.close()


def number(maker: Maker) -> int:
    assert maker._process is not None
    return maker._process.pid


def test_objects_are_those_that_would_be_made_here(maker: Maker):
    for finding in (PLAIN, masked(np.ones((6, 5), np.uint8))):
        made = maker.make(packed(finding, [source()]))
        expected = results_of([source()], finding)
        assert (made.objects, made.why) == (expected.objects, expected.why)


def test_one_process_makes_them_all_and_what_cannot_be_made_is_told(maker: Maker):
    maker.make(CONTENT)
    first = number(maker)
    with pytest.raises(DataError):
        maker.make(packed(PLAIN, [b"no image"]))
    with pytest.raises(DataError):
        maker.make(b"no finding")
    assert maker.make(CONTENT).objects
    assert number(maker) == first


def test_with_nothing_to_do_it_ends_and_comes_again():
    maker = Maker(idle_s=0.2)
    first = maker.make(CONTENT)
    for _ in range(200):
        if not maker.is_up():
            break
        time.sleep(0.05)
    assert not maker.is_up()
    assert maker.make(CONTENT).objects == first.objects
    maker.close()
    assert not maker.is_up()


def test_one_that_was_killed_is_replaced(maker: Maker):
    first = maker.make(CONTENT)
    os.kill(number(maker), signal.SIGKILL)
    assert maker.make(CONTENT).objects == first.objects


def test_the_agents_signals_are_not_its_own(maker: Maker):
    maker.make(CONTENT)
    first = number(maker)
    os.kill(first, signal.SIGTERM)
    os.kill(first, signal.SIGINT)
    maker.make(CONTENT)
    assert number(maker) == first


def test_what_takes_for_ever_is_ended_and_told():
    maker = Maker(limit_s=0.05)  # less than a process takes to begin
    with pytest.raises(MakerEnded, match="tried again"):
        maker.make(CONTENT)
    assert not maker.is_up()


def test_a_machine_that_starts_no_process_keeps_the_finding_for_later(maker: Maker, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patch:
        patch.setattr("sys.executable", "/nowhere/python")
        for _ in range(5):
            with pytest.raises(StoreError, match="cannot be started") as caught:
                maker.make(CONTENT)
            assert not isinstance(caught.value, MakerEnded)  # which would count against the finding
    assert maker.make(CONTENT).objects


@pytest.mark.parametrize("size", [7000, (1 << 16) + 100, 20 << 20])
def test_one_that_ends_while_it_is_given_a_finding_is_told(size: int):
    maker = Maker(limit_s=0.05)  # less than a process takes to begin: nothing of what fills the pipe is read
    with pytest.raises(MakerEnded):
        maker.make(bytes(size))
    assert not maker.is_up()


def test_one_that_is_closed_while_another_thread_asks_is_not_up(maker: Maker):
    maker.make(CONTENT)

    class Asked(Maker):
        """Closed by another thread after each look at its process."""

        @property
        def _process(self) -> object:
            return self.left.pop()

        def __init__(self) -> None:
            self.left = [None, None, maker._process]

    assert isinstance(Asked().is_up(), bool)
