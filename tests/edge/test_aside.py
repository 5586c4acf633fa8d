from __future__ import annotations

from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from fedmed.clock import SystemClock
from fedmed.edge.aside import WORKING, Aside
from fedmed.errors import StoreError
from fedmed.store.spool.entry import Entry

KEY = bytes(range(32))


def entry(number: int) -> Entry:
    return Entry(number, "ab" * 32, "instance", "1.2.3", 40, {"sop_instance": "1.2.3.4"}, 5, 1.7e9)


def test_what_is_set_aside_is_sealed_and_comes_back_with_its_reason(tmp_path: Path):
    aside = Aside(tmp_path / "aside", KEY, SystemClock())
    aside.keep(entry(1), b"Phantom^Anna", "no image")
    [(address, facts)] = aside.listed().items()
    assert (facts["why"], facts["facts"]) == ("no image", {"sop_instance": "1.2.3.4"})
    assert aside.content(address) == b"Phantom^Anna"
    assert not any(b"Anna" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    with pytest.raises(StoreError):
        Aside(tmp_path / "aside", bytes(32), SystemClock()).content(address)


def test_only_what_ended_the_process_counts_as_a_try(tmp_path: Path):
    aside = Aside(tmp_path / "aside", KEY, SystemClock())
    for _ in range(3):
        with suppress(ZeroDivisionError), aside.trying(entry(1)) as tries:
            assert tries == 1  # an error that was seen is no death
            raise ZeroDivisionError
    for died in (1, 2, 3):
        with aside.trying(entry(1)) as tries:
            assert tries == died
            left = (tmp_path / WORKING).read_bytes()
        (tmp_path / WORKING).write_bytes(left)  # as a killed process leaves it
    with aside.trying(entry(2)) as tries:
        assert tries == 1
    (tmp_path / WORKING).write_bytes(b"half a li")
    with aside.trying(entry(1)) as tries:
        assert tries == 1


class Killed:
    """Tries that end as a killed process does: nothing is cleaned up."""

    def __init__(self, aside: Aside, lane: str) -> None:
        self.aside, self.lane, self.never = aside, lane, list[ExitStack]()

    def at(self, number: int) -> int:
        stack = ExitStack()
        self.never.append(stack)  # kept, so that nothing of it is ended while the test runs
        return stack.enter_context(self.aside.trying(entry(number), self.lane))


def test_what_ended_the_process_is_counted_whatever_is_tried_before_it(tmp_path: Path):
    killed = Killed(Aside(tmp_path / "aside", KEY, SystemClock()), "elsewhere")
    for died in (1, 2, 3, 4):
        for other in (1, 2):
            with killed.aside.trying(entry(other), "elsewhere") as tries:
                assert tries == 1
        assert killed.at(3) == died


def test_what_is_remembered_of_tries_is_bounded_and_the_newest(tmp_path: Path):
    killed = Killed(Aside(tmp_path / "aside", KEY, SystemClock()), "")
    for number in range(1, 200):
        killed.at(number)
    assert (tmp_path / WORKING).stat().st_size < 1000
    assert (killed.at(199), killed.at(1)) == (2, 1)
