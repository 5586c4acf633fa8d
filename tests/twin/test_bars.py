from __future__ import annotations

import itertools
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fedmed.twin.bars import FIRST, MOST_ALIKE, MOST_ROWS, chart, of_attempt, parted, row

BARS = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 30), st.sampled_from(FIRST)).map(
        lambda bar: (float(min(bar[:2])), float(max(bar[:2])), bar[2])
    ),
    max_size=12,
)


@given(BARS)
def test_bars_never_overlap_and_cover_what_was_given(bars):
    found = parted(bars)
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(found))
    assert all(start < end for start, end, _ in found)

    def seconds(given):
        return {at for start, end, _ in given for at in range(int(start), int(end))}

    assert seconds(found) == seconds(bars)
    for start, end, part in found:
        for at in range(int(start), int(end)):
            assert part == min((each for low, high, each in bars if low <= at < high), key=FIRST.index)


def test_who_has_answered_waits_and_of_who_was_lost_nothing_comes():
    work = [(0.0, 2.0, "down"), (2.0, 5.0, "work")]
    assert row("a", work, 6.0, "", 9.0)["bars"] == [*work, (6.0, 9.0, "wait")]
    lost = row("a", work, None, "dark", 9.0)
    assert (lost["bars"][-1], lost["ends"]) == ((5.0, 9.0, "gone"), 9.0)


def told(event: str, at: float, who: str = "", attempt: int = 1, number: int = 3, **more: Any) -> bytes:
    about = {"who": who} if who else {}
    whole = {"at": at, "attempt": attempt, "event": event, "round": number, **about, **more}
    return json.dumps(whole, sort_keys=True, separators=(",", ":")).encode() + b"\n"


LINES = [
    told("asked", 1.0, number=2, by="center", members=["z/1"]),
    told("asked", 10.0, by="center", members=["w/1", "w/2", "w/3", "north"]),
    told("heard", 11.0, "w/1"),
    told("asked", 12.0, by="north", members=["n/1"]),
    told("done", 13.0, "w/1"),
    told("answered", 14.0, "w/1"),
    told("heard", 14.0, "w/2"),
    told("heard", 14.5, "w/1", attempt=2),
    told("failed", 15.0, "w/2", reason="its disk was full"),
    told("heard", 15.0, "n/1"),
    told("done", 16.0, "n/1"),
    told("answered", 17.0, "n/1"),
    told("folded", 17.0, "north"),
    told("answered", 19.0, "north"),
    told("closed", 20.0, missing={"w/3": "no answer: away", "w/2": "its disk was full"}),
    told("late", 25.0, "w/3"),
]


def test_an_attempt_is_read_from_its_trace_with_its_regions():
    found = of_attempt(LINES, 3, 1, 10.0, 20.0, 8.0)
    rows = {row["who"]: row for row in found["rows"]}
    assert set(rows) == {"w/1", "w/2", "w/3", "north", "n/1"}
    assert rows["w/1"]["bars"] == [(10.0, 11.0, "down"), (11.0, 13.0, "work"), (13.0, 14.0, "up"), (14.0, 20.0, "wait")]
    assert rows["w/2"]["bars"] == [(10.0, 14.0, "down"), (14.0, 20.0, "gone")]
    assert (rows["w/2"]["lost"], rows["w/3"]["lost"]) == ("its disk was full", "no answer: away")
    assert rows["w/3"]["bars"] == [(10.0, 20.0, "down")]
    assert rows["north"]["bars"] == [(10.0, 12.0, "down"), (12.0, 17.0, "work"), (17.0, 19.0, "up"), (19.0, 20.0, "wait")]
    assert (found["round"], found["closed"], found["deadline"], found["more"]) == (3, 20.0, 18.0, 0)


@given(st.integers(0, len(LINES)))
def test_bars_of_a_trace_that_was_cut_never_overlap(count):
    found = of_attempt(LINES[:count], 3, 1, 10.0, 20.0, None)
    for each in found["rows"]:
        assert all(one[1] <= other[0] for one, other in itertools.pairwise(each["bars"]))
        assert all(start >= 10.0 and end <= 20.0 for start, end, _ in each["bars"])


def test_of_many_that_fared_alike_a_few_are_shown():
    rows = [row(f"a/{number}", [(0.0, 1.0, "down")], None, "dark", 9.0) for number in range(60)]
    rows += [row(f"b/{number}", [(0.0, 1.0, "down")], 2.0, "", 9.0) for number in range(3)]
    found = chart(1, 0.0, 9.0, 9.0, None, rows)
    assert [each["who"][0] for each in found["rows"]] == ["a"] * MOST_ALIKE + ["b"] * 3
    assert found["more"] == 63 - MOST_ALIKE - 3
    assert len(chart(1, 0.0, 9.0, 9.0, None, rows[:MOST_ROWS])["rows"]) == MOST_ROWS
