from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from fedmed.edge.outgoing import MOST_BYTES, MOST_ENTRIES, Line
from fedmed.edge.pacing import Pace, QuietHours
from fedmed.errors import QuotaRefused
from fedmed.hub.messages import Piece
from fedmed.hub.uploading import Read, Sent
from fedmed.store.spool.entry import LATER, RESULT, SOON, STUDY, UPDATE, USUAL, New
from fedmed.store.spool.quota import Quota
from fedmed.store.spool.spool import Spool


class Clock:
    at = 1_000_000.0

    def now(self) -> float:
        return self.at

    def unix(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds


class Hub:
    """Takes all but what begins with `no`."""

    def __init__(self) -> None:
        self.got: list[bytes] = []

    def upload(self, pieces: Sequence[Piece], read: Read) -> list[Sent]:
        contents = [read(piece) for piece in pieces]
        self.got += [each for each in contents if not each.startswith(b"no")]
        return [
            Sent(piece, QuotaRefused("full for today") if content.startswith(b"no") else None)
            for piece, content in zip(pieces, contents, strict=True)
        ]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def spool(tmp_path: Path, clock: Clock) -> Iterator[Spool]:
    with Spool(tmp_path, clock, Quota(ballast=0), lambda entry, why: None) as made:
        yield made


def test_a_studys_images_leave_in_one_call_and_results_stay(spool: Spool, clock: Clock):
    spool.put(*(New(STUDY, "1.2.3", USUAL, {}, b"image %d" % number) for number in range(MOST_ENTRIES + 5)))
    spool.put(New(RESULT, "1.2.3", SOON, {}, b"report"), New(UPDATE, "round", LATER, {}, b"update"))
    hub = Hub()
    line = Line(hub, Pace(), clock)
    entries, wait = line.taken(spool)
    assert (len(entries), wait) == (MOST_ENTRIES, None)
    assert line.send(spool, entries) == {}
    spool.done(*(each.number for each in entries))
    rest, _ = line.taken(spool)
    assert [spool.content(each) for each in rest] == [
        b"image %d" % number for number in range(MOST_ENTRIES, MOST_ENTRIES + 5)
    ]
    assert hub.got == [b"image %d" % number for number in range(MOST_ENTRIES)]


def test_what_the_hub_does_not_take_is_named_and_the_others_are_sent(spool: Spool, clock: Clock):
    spool.put(*(New(STUDY, str(number), USUAL, {}, content) for number, content in enumerate([b"a", b"no b", b"c"])))
    hub = Hub()
    line = Line(hub, Pace(), clock)
    entries, _ = line.taken(spool)
    refused = line.send(spool, entries)
    assert [spool.content(each) for each in entries if each.number in refused] == [b"no b"]
    assert hub.got == [b"a", b"c"]


def test_what_goes_beside_is_of_other_studies_and_with_a_cap_nothing_does(spool: Spool, clock: Clock):
    for study in "ab":
        spool.put(*(New(STUDY, study, USUAL, {}, b"%s %d" % (study.encode(), number)) for number in range(MOST_ENTRIES)))
    spool.put(New(UPDATE, "round", LATER, {}, b"update"))
    line = Line(Hub(), Pace(), clock)
    first, _ = line.taken(spool)
    beside, _ = line.taken(spool, (STUDY,), is_beside=True)
    assert [{each.group for each in entries} for entries in (first, beside)] == [{"a"}, {"b"}]
    assert line.taken(spool, (STUDY,), is_beside=True) == ((), 1.0)  # both may be handed back
    spool.defer([each.number for each in beside], clock.unix(), "the line was cut")
    again, _ = line.taken(spool, (STUDY,), is_beside=True)
    assert again == beside
    spool.done(*(each.number for each in first), *(each.number for each in again))
    assert line.taken(spool, (STUDY,), is_beside=True) == ((), None)  # updates are for the other thread
    capped = Line(Hub(), Pace(bytes_per_s=10**9), clock)
    spool.put(New(STUDY, "c", USUAL, {}, b"c"))
    assert capped.taken(spool, (STUDY,), is_beside=True) == ((), None)


def test_how_much_waits_and_how_long_it_takes_is_told(spool: Spool, clock: Clock):
    class Slow(Hub):
        def upload(self, pieces: Sequence[Piece], read: Read) -> list[Sent]:
            clock.at += 0.5
            return super().upload(pieces, read)

    spool.put(*(New(STUDY, str(number), USUAL, {}, bytes([number]) * MOST_BYTES) for number in range(3)))
    for most, per_s in ((None, 2 * MOST_BYTES), (1000, 1000)):
        line = Line(Slow(), Pace(bytes_per_s=most), clock)
        waits = {"entries": 3, "bytes": 3 * MOST_BYTES}
        assert line.told(spool) == {**waits, "bytes_per_s": None, "left_s": None}
        [entry], _ = line.taken(spool)
        line.send(spool, [entry])
        assert line.told(spool) == {**waits, "bytes_per_s": per_s, "left_s": round(3 * MOST_BYTES / per_s, 1)}
        spool.defer([entry.number], clock.unix(), "again")


def test_the_cap_and_quiet_hours_say_when_to_look_again(spool: Spool, clock: Clock):
    spool.put(New(STUDY, "1", USUAL, {}, b"x" * 10_000))
    capped = Line(Hub(), Pace(bytes_per_s=1000), clock)
    entries, _ = capped.taken(spool)
    capped.send(spool, entries)
    spool.defer([entries[0].number], clock.unix(), "again")
    again, wait = capped.taken(spool)
    assert again == ()
    assert wait is not None
    assert 7 <= wait <= 9  # of ten seconds' bytes, two could leave at once
    always = Line(Hub(), Pace(quiet=(QuietHours.parse("00:00-23:59"), QuietHours.parse("23:59-24:00"))), clock)
    assert always.taken(spool) == ((), 3600.0)
    spool.done(entries[0].number)
    assert always.taken(spool) == ((), None)
