from __future__ import annotations

from fedmed.wire.words import count


def test_one_is_one_and_all_others_are_several():
    assert [count(number, "round") for number in (0, 1, 2, 1500)] == ["0 rounds", "1 round", "2 rounds", "1,500 rounds"]
    assert (count(1, "study waits", "studies wait"), count(3, "study waits", "studies wait")) == (
        "1 study waits",
        "3 studies wait",
    )
