from __future__ import annotations

import os
import random
import sqlite3
from pathlib import Path

import pytest

from fedmed.errors import StoreError
from fedmed.store.spool import opening, rescue
from fedmed.store.spool.entry import INSTANCE
from fedmed.store.spool.opening import NAME, PAGE
from tests.store.spool.spools import KEY, START, Told, as_killed, new, opened

COUNT = 40
CONTENTS = {number: bytes([number]) * (3000 + 400 * number) for number in range(1, COUNT + 1)}


def filled(folder: Path, key: bytes | None = None) -> Path:
    """A spool of entries of which three were finished and one was dropped, closed."""
    with opened(folder, key=key) as spool:
        for number in range(1, COUNT + 1):
            spool.put(new(CONTENTS[number], group=f"g{number % 3}", number=number))
        spool.done(1, 2, 3)
        spool.drop(4, "no DICOM")
    return folder / NAME


def found(spool) -> dict[int, bytes]:
    there = {}
    while (entry := spool.next([INSTANCE], START)) is not None:
        there[entry.number] = spool.content(entry)
        assert entry.facts == {"number": entry.number}
        spool.done(entry.number)
    return there


def asides(folder: Path) -> list[Path]:
    return sorted(folder.glob("damaged-*"))


def check_rescued(folder: Path, key: bytes | None = None) -> int:
    """Opens a damaged spool: all that it hands out is as it was put, what it lost is told, and it works; what it kept."""
    told = Told()
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.name == NAME}
    with opened(folder, key=key, told=told) as spool:
        rescued = spool.rescued
        assert rescued is not None
        assert [rescued.aside] == asides(folder)
        assert (rescued.aside / NAME).read_bytes() == before[NAME]
        assert str(rescued.kept) in str(rescued)
        counts = spool.counts()
        assert sum(counts.entries.values()) == rescued.kept
        assert counts.dropped.get("damaged", 0) == rescued.lost
        assert len([reason for _, reason in told.drops if reason == "damaged"]) <= rescued.lost
        put = spool.put(new("after"))[0]
        assert put.is_new
        assert put.entry.number not in CONTENTS
        there = found_without(spool, put.entry.number)
        assert there.items() <= CONTENTS.items()
        assert len(there) == rescued.kept
    with opened(folder, key=key) as spool:
        assert spool.rescued is None
    assert not (folder / rescue.SUSPECT).exists()
    return rescued.kept


def found_without(spool, number: int) -> dict[int, bytes]:
    spool.done(number)
    return found(spool)


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "sealed"])
def test_a_sound_spool_that_is_suspected_is_carried_over_whole(tmp_path, key):
    filled(tmp_path / "s", key)
    rescue.suspect(tmp_path / "s", "a test says so")
    with opened(tmp_path / "s", key=key) as spool:
        assert (spool.rescued.kept, spool.rescued.lost, spool.rescued.why) == (COUNT - 4, 0, "a test says so")
        assert spool.counts().dropped == {"no DICOM": 1}
        again = spool.put(new(CONTENTS[2], group="g2"))[0]
        assert (again.is_new, again.entry.number) == (False, 2)
        assert spool.put(new("after"))[0].entry.number == COUNT + 1
        spool.done(COUNT + 1)
        assert found(spool) == {number: CONTENTS[number] for number in range(5, COUNT + 1)}


@pytest.mark.parametrize("seed", range(8))
def test_whatever_bits_are_flipped_nothing_wrong_is_handed_out_and_nothing_goes_in_silence(tmp_path, seed):
    path = filled(tmp_path / "s", KEY if seed % 2 else None)
    rng, size = random.Random(seed), path.stat().st_size
    with path.open("r+b") as file:
        for _ in range(3):
            place = rng.randrange(size)
            file.seek(place)
            byte = file.read(1)[0]
            file.seek(place)
            file.write(bytes([byte ^ 1 << rng.randrange(8)]))
    told = Told()
    with opened(tmp_path / "s", key=KEY if seed % 2 else None, told=told) as spool:
        there, damaged = {}, set()
        while (entry := spool.next([INSTANCE], START)) is not None:
            try:
                content = spool.content(entry)
                spool.done(entry.number)
                there[entry.number] = content
            except StoreError:
                damaged.add(entry.number)
        assert there.items() <= CONTENTS.items()
        counts = spool.counts()
        assert len(there) + counts.dropped.get("damaged", 0) + sum(counts.entries.values()) == COUNT - 4
        assert sum(counts.entries.values()) == 0 or (tmp_path / "s" / rescue.SUSPECT).exists()
        lost = {entry.number for entry, reason in told.drops if reason == "damaged"}
        assert damaged <= lost or (tmp_path / "s" / rescue.SUSPECT).exists()
    with opened(tmp_path / "s", key=KEY if seed % 2 else None, told=told) as spool:
        assert (found(spool) | there).items() <= CONTENTS.items()
        assert sum(spool.counts().entries.values()) == 0


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut_off_is_set_aside_and_what_is_left_of_it_rescued(tmp_path, part):
    path = filled(tmp_path / "s")
    os.truncate(path, max(int(path.stat().st_size * part), 1))
    kept = check_rescued(tmp_path / "s")
    assert kept >= (10 if part > 0.8 else 0)


def test_pages_that_read_as_nothing_cost_what_was_on_them_and_no_more(tmp_path):
    path = filled(tmp_path / "s", KEY)
    with sqlite3.connect(path) as direct:
        page = direct.execute("SELECT rootpage FROM sqlite_master WHERE name = 'entries_mark'").fetchone()[0]
    direct.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE)
        file.write(bytes(PAGE))
    assert check_rescued(tmp_path / "s", KEY) == COUNT - 4


@pytest.mark.parametrize("content", [b"not a database at all " * 1000, b"x", b"SQLite format 3\0"])
def test_a_file_that_is_no_database_is_set_aside(tmp_path, content):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / NAME).write_bytes(content)
    assert check_rescued(tmp_path / "s") == 0


def test_the_database_of_another_program_is_set_aside_untouched(tmp_path):
    (tmp_path / "s").mkdir()
    with sqlite3.connect(tmp_path / "s" / NAME) as other:
        other.execute("CREATE TABLE entries (number INTEGER PRIMARY KEY, kind TEXT)")
        other.execute("INSERT INTO entries VALUES (1, 'theirs')")
    other.close()
    with opened(tmp_path / "s") as spool:
        assert "another program" in spool.rescued.why
        assert spool.rescued.lost == 1
    with sqlite3.connect(asides(tmp_path / "s")[0] / NAME) as other:
        assert other.execute("SELECT kind FROM entries").fetchall() == [("theirs",)]
    other.close()


def test_a_bit_flipped_in_the_log_is_not_taken_for_a_crash(tmp_path):
    with opened(tmp_path / "s") as spool:
        for number in range(1, 11):
            spool.put(new(CONTENTS[number], number=number))
        killed = as_killed(tmp_path / "s", tmp_path / "killed")
    log = killed / f"{NAME}-wal"
    with log.open("r+b") as file:
        file.seek(opening._LOG_HEADER.size + 30 * (PAGE + opening._FRAME.size) + 100)
        file.write(b"\xff\xfe")
    with opened(killed) as spool:
        assert "acknowledged commits behind the break" in spool.rescued.why
        assert (spool.rescued.aside / f"{NAME}-wal.torn").exists()
        there = found(spool)
        assert 0 < len(there) < 10
        assert there == {number: CONTENTS[number] for number in range(1, len(there) + 1)}


def test_a_log_that_a_crash_tore_is_no_damage(tmp_path):
    with opened(tmp_path / "s") as spool:
        for number in range(1, 6):
            spool.put(new(CONTENTS[number], number=number))
        before = as_killed(tmp_path / "s", tmp_path / "before")
        spool.put(new(CONTENTS[6], number=6))
        after = as_killed(tmp_path / "s", tmp_path / "after")
    whole = (after / f"{NAME}-wal").read_bytes()
    size = (before / f"{NAME}-wal").stat().st_size
    (after / f"{NAME}-wal").write_bytes(whole[: (size + len(whole)) // 2])
    with opened(after) as spool:
        assert spool.rescued is None
        assert found(spool) == {number: CONTENTS[number] for number in range(1, 6)}


@pytest.mark.parametrize("stage", ["before", "moved", "built", "replaced"])
def test_a_rescue_that_a_crash_cut_short_is_gone_on_with(tmp_path, stage, monkeypatch):
    class Crash(BaseException):
        pass

    def crash(*_: object, **__: object) -> None:
        raise Crash

    path = filled(tmp_path / "s")
    damaged = path.read_bytes()
    rescue.suspect(tmp_path / "s", "a test says so")
    with monkeypatch.context() as patch:
        if stage == "before":
            patch.setattr(Path, "mkdir", crash)
        if stage == "moved":
            patch.setattr(rescue, "_copy", crash)
        if stage == "built":
            patch.setattr(rescue, "_carry_past", crash)
        if stage == "replaced":
            patch.setattr(Path, "unlink", crash_at_mark(crash))
        with pytest.raises(Crash):
            opened(tmp_path / "s")
    with opened(tmp_path / "s") as spool:
        assert spool.rescued.kept == COUNT - 4
        assert (spool.rescued.aside / NAME).read_bytes() == damaged
        assert found(spool) == {number: CONTENTS[number] for number in range(5, COUNT + 1)}
    assert len(asides(tmp_path / "s")) == 1


def crash_at_mark(crash):
    unlink = Path.unlink

    def unlinking(path: Path, missing_ok: bool = False) -> None:
        if path.name == rescue.SUSPECT:
            crash()
        unlink(path, missing_ok=missing_ok)

    return unlinking


def test_damage_found_while_it_is_used_is_told_and_mended_at_the_next_opening(tmp_path):
    path = filled(tmp_path / "s")
    with sqlite3.connect(path) as direct:
        root = direct.execute("SELECT rootpage FROM sqlite_master WHERE name = 'bodies'").fetchone()[0]
    direct.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * PAGE)
        file.write(b"\xff" * PAGE)
    with opened(tmp_path / "s") as spool:
        assert spool.rescued is None
        with pytest.raises(StoreError, match="it is set aside, and rescued, when the agent starts anew"):
            spool.content(spool.next([INSTANCE], START))
    assert check_rescued(tmp_path / "s") == 0
