from __future__ import annotations

import os
import threading
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import StoreError
from fedmed.store import chain
from fedmed.store.departures import Departure, Departures, carried_by, verify


def digest(number: int) -> str:
    return f"{number:08x}" * 8


def departure(number: int, **changes: object) -> Departure:
    made = Departure(
        unix=1.7e9 + 60 * number,
        federation="thorax",
        run="run-1",
        epoch=1,
        number=number,
        purpose="update",
        round=number,
        cohort=5,
        members=6,
        quorum=4,
        least=3,
        mode="malicious",
        bits=32,
        tensors=(("stem.weight", (8, 1, 3, 3)), ("head.bias", (2,))),
        fields=(("examples", 3), ("loss", 2)),
        bytes=332,
        vector_blake3=digest(number),
        model_blake3=digest(1000 + number),
        layout_sha256=digest(7),
        norm=1.25,
        clip=1.0,
        noise=0.004,
        epsilon=0.1 * number,
        delta=1e-5,
        dataset="chest films",
    )
    return replace(made, **changes)


class Crash(BaseException):
    """The process ends here."""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledgers" / "00000.departures.jsonl"


@pytest.fixture
def three(path):
    ledger = Departures(path)
    for number in range(1, 4):
        ledger.record(departure(number))
    return path


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def test_what_left_is_read_back_as_it_was_recorded(three):
    assert verify(three) == [departure(number) for number in range(1, 4)]


def test_what_it_carried_is_read_back_and_lines_from_before_it_was_told_have_none(path):
    Departures(path).record(departure(1))
    Departures(path).record(departure(2, carried=(1, 1)))
    found = verify(path)
    assert found == [departure(1), departure(2, carried=(1, 1))]
    assert [carried_by(each, found) for each in found] == ["", "round 1"]
    old = {name: value for name, value in asdict(departure(3)).items() if name != "carried"}
    chain.extend(path, chain.end_of(path), old)
    assert verify(path)[2] == departure(3)


def test_of_a_sending_that_is_not_there_only_the_number_is_known():
    one = departure(2, carried=(1, 1))
    unknown = ([], [one], [departure(1, run="run-2"), one], [departure(1, round=None), one])
    assert [carried_by(one, sent) for sent in unknown] == ["number 1.1"] * 4


@pytest.mark.parametrize("carried", [(1,), (1, 1.5), (1, 1, 1)], ids=str)
def test_what_no_sending_is_called_is_not_carried(path, carried):
    with pytest.raises(StoreError, match=r"carried is .*; it is an epoch and a number"):
        Departures(path).record(departure(1, carried=carried))


def test_the_head_is_the_digest_of_the_last_line(path):
    ledger = Departures(path)
    assert ledger.head() == bytes(32)
    seen = {ledger.head()}
    for number in range(1, 4):
        ledger.record(departure(number))
        assert ledger.head().hex() == chain.sha256(lines(path)[-1])
        assert Departures(path).head() == ledger.head()
        seen.add(ledger.head())
    assert len(seen) == 4


def test_a_vector_sent_again_has_its_line_already(three):
    before = three.read_bytes()
    opened = Departures(three)
    opened.record(departure(2, unix=1.8e9))
    assert three.read_bytes() == before
    assert opened.head().hex() == chain.sha256(lines(three)[-1])


@pytest.mark.parametrize("reopened", [False, True])
def test_another_vector_under_the_same_masks_is_refused(path, reopened):
    ledger = Departures(path)
    ledger.record(departure(1))
    before = path.read_bytes()
    with pytest.raises(
        StoreError, match="epoch 1, number 1: the vector 0000000100000001 left already, and 0000000900000009 may not"
    ):
        (Departures(path) if reopened else ledger).record(departure(1, vector_blake3=digest(9)))
    assert path.read_bytes() == before
    for other in ({"run": "run-2"}, {"federation": "other"}, {"epoch": 2}, {"number": 2}):
        ledger.record(replace(departure(1, vector_blake3=digest(9)), **other))
    assert len(verify(path)) == 5


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda found: found[:2], "has 2 lines; 3 were written: it has been cut short"),
        (lambda found: [found[1], found[0], found[2]], "line 1: it does not follow"),
        (lambda found: [found[0], found[2], found[2]], "line 2: it does not follow"),
        (lambda found: [found[0].replace(b'"norm":1.25', b'"norm":0.25'), *found[1:]], "line 2: it does not follow"),
        (lambda found: [*found[:2], found[2].replace(b'"least":3', b'"least":9')], "line 3: it is not the last line"),
        (
            lambda found: [*found[:2], found[2].replace(b'"least":3', b'"most":3')],
            r"line 3: it cannot be read \(TypeError\)",
        ),
        (lambda found: [found[0].replace(b"update", b"upload"), *found[1:]], r"line 1: it cannot be read \(ValueError\)"),
        (lambda found: [found[0], b" " + found[1], found[2]], "line 2: it does not have the digest"),
    ],
)
def test_whatever_is_done_to_it_is_named_and_nothing_may_leave(three, spoil, match):
    opened = Departures(three)
    three.write_bytes(b"".join(spoil(lines(three))))
    os.utime(three, ns=(0, 0))  # a later time of change, whatever the clock's grain
    for attempt in (lambda: verify(three), lambda: Departures(three), lambda: opened.record(departure(4))):
        with pytest.raises(StoreError, match=match):
            attempt()


def test_a_head_that_was_touched_is_found_by_a_ledger_that_is_open(three):
    opened = Departures(three)
    three.with_name(f"{three.name}.head").write_text("2 " + digest(1) + " ")
    with pytest.raises(StoreError, match="line 2: it is not the last line"):
        opened.record(departure(4))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_line_cut_anywhere_by_a_kill_is_cut_off_for_nothing_left(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("ledger") / "a.jsonl"
    Departures(path).record(departure(1))
    first, head = path.read_bytes(), path.with_name("a.jsonl.head").read_bytes()
    Departures(path).record(departure(2))
    second = path.read_bytes()[len(first) :]
    path.write_bytes(first + second[: data.draw(st.integers(0, len(second) - 1))])
    path.with_name("a.jsonl.head").write_bytes(head)
    again = Departures(path)
    assert verify(path) == [departure(1)]
    again.record(departure(2, vector_blake3=digest(77)))
    assert verify(path) == [departure(1), departure(2, vector_blake3=digest(77))]


@pytest.mark.parametrize("survives", [False, True])
@pytest.mark.parametrize("sync", range(3))
def test_a_fault_at_any_sync_leaves_a_ledger_that_goes_on(path, monkeypatch, sync, survives):
    ledger = Departures(path)
    ledger.record(departure(1))
    real, calls, fault = os.fsync, [], OSError(28, "No space left on device") if survives else Crash()

    def fsync(handle: int) -> None:
        calls.append(handle)
        if len(calls) == sync + 1:
            raise fault
        real(handle)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fsync)
        with pytest.raises(StoreError if survives else Crash):
            ledger.record(departure(2))
    assert len(calls) == sync + 1
    after = ledger if survives else Departures(path)
    after.record(departure(2))
    after.record(departure(3))
    assert verify(path) == [departure(number) for number in range(1, 4)]


def test_a_full_disk_lets_nothing_leave(small_disk):
    path = small_disk / "a.departures.jsonl"
    ledger = Departures(path)
    with pytest.raises(StoreError, match="nothing leaves without it"):
        ledger.record(departure(1, run="x" * 2_000_000))
    assert verify(path) == []
    ledger.record(departure(1))
    assert verify(path) == [departure(1)]


def test_two_that_have_it_open_lose_no_line_of_each_other(path):
    mine, other = Departures(path), Departures(path)
    mine.record(departure(1))
    other.record(departure(2))
    mine.record(departure(3))
    assert [each.number for each in verify(path)] == [1, 2, 3]
    with pytest.raises(StoreError, match="left already"):
        mine.record(departure(2, vector_blake3=digest(9)))


def test_many_threads_write_one_chain(path):
    ledgers = [Departures(path) for _ in range(4)]

    def send(mine: int) -> None:
        for number in range(5):
            ledgers[mine].record(departure(number, epoch=mine))

    threads = [threading.Thread(target=send, args=(mine,)) for mine in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {(each.epoch, each.number) for each in verify(path)} == {
        (mine, number) for mine in range(4) for number in range(5)
    }


def test_a_long_ledger_is_not_read_again_for_a_line(path, monkeypatch):
    ledger = Departures(path)
    ledger.record(departure(1))
    monkeypatch.setattr(chain, "whole_lines", lambda path: pytest.fail("it was read again"))
    for number in range(2, 9):
        ledger.record(departure(number))
    monkeypatch.undo()
    assert len(verify(path)) == 8


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"purpose": "gossip"}, "purpose 'gossip'; allowed are census, update, evaluation"),
        ({"norm": float("nan")}, "norm is nan"),
        ({"epsilon": float("inf")}, "epsilon is inf"),
        ({"bytes": -1}, "bytes is -1"),
        ({"cohort": 2.0}, r"cohort is 2\.0"),
        ({"vector_blake3": "A" * 64}, "vector_blake3 is 'A"),
        ({"model_blake3": ""}, "model_blake3 is ''; it is 64 hexadecimal digits"),
    ],
)
def test_what_is_no_departure_is_not_recorded(path, changes, match):
    with pytest.raises(StoreError, match=match):
        Departures(path).record(departure(1, **changes))
    assert verify(path) == []


def test_names_of_any_text_are_kept(path):
    strange = departure(1, run='<script>"\n\u2028\u0000</script>', dataset="\U0001f600", tensors=(("a\r\nb", ()),))
    Departures(path).record(strange)
    assert verify(path) == [strange]
    Departures(path).record(departure(2))
    assert len(verify(path)) == 2


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"the ledger .*a\.jsonl cannot be opened"):
        Departures(tmp_path / "file" / "a.jsonl")
