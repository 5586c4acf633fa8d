from __future__ import annotations

import math

from fedmed.flower.happenings import Diary, Happening


def happening(at: float, node: int = 2) -> Happening:
    return Happening(at, node, "heard", "train")


def test_what_happens_is_told_in_its_order_and_of_one_moment_as_it_was_sent():
    told: list[Happening] = []
    diary = Diary(told.append)
    diary.add(2, happening(5.0, 3))
    diary.add(1, happening(5.0, 2))
    diary.add(3, happening(4.0, 4))
    diary.add(4, happening(6.0, 5))
    diary.tell(5.0)
    assert [each.node for each in told] == [4, 2, 3]
    diary.tell(6.0)
    assert [each.node for each in told] == [4, 2, 3, 5]


def test_what_never_happens_is_not_told():
    told: list[Happening] = []
    diary = Diary(told.append)
    diary.add(1, happening(math.inf))
    diary.tell(math.inf)
    assert told == []


def test_what_is_struck_out_had_happened_before_and_happens_no_more():
    told: list[Happening] = []
    diary = Diary(told.append)
    for at in (1.0, 2.0, 3.0):
        diary.add(1, happening(at))
    diary.strike_out(1, 2.0)
    diary.tell(10.0)
    assert [each.at for each in told] == [1.0, 2.0]
