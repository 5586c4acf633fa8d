"""Contents that are files beside the database: as durable, as private and as honest as those within."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from fedmed.errors import StoreError
from fedmed.store.spool import contents, opening, rescue
from fedmed.store.spool.contents import APART, FOLDER
from fedmed.store.spool.entry import INSTANCE, RESULT, SpoolFull
from fedmed.store.spool.quota import Quota
from tests.store.power import Power
from tests.store.spool.spools import KEY, START, Told, as_killed, new, opened

KEYS = pytest.mark.parametrize("key", [None, KEY], ids=["plain", "sealed"])
CONTENTS = {number: bytes([number]) * (APART + number) for number in range(1, 7)}


def files(folder: Path) -> list[Path]:
    """Of contents; not those that are made ahead."""
    return sorted((path for path in (folder / FOLDER).glob("*") if path.stat().st_size), key=lambda path: int(path.name))


def filled(folder: Path, key: bytes | None = None) -> list[Path]:
    with opened(folder, key=key) as spool:
        for number, content in CONTENTS.items():
            spool.put(new(content, number=number))
        spool.put(new("small"))
    return files(folder)


def found(spool) -> dict[int, bytes]:
    there = {}
    while (entry := spool.next([INSTANCE], START)) is not None:
        there[entry.number] = spool.content(entry)
        spool.done(entry.number)
    return there


@KEYS
def test_a_large_content_is_a_file_written_once_and_goes_with_its_entry(tmp_path, key):
    with opened(tmp_path / "s", key=key) as spool:
        spool.put(*(new(content) for content in CONTENTS.values()), new("small"))
        assert len(files(tmp_path / "s")) == len(CONTENTS)
        assert ((tmp_path / "s" / "spool.db-wal").stat().st_size) < APART
        assert all((bytes([3]) * 100 in path.read_bytes()) == (key is None) for path in files(tmp_path / "s")[2:3])
        assert not spool.put(new(CONTENTS[2]))[0].is_new
        assert len(files(tmp_path / "s")) == len(CONTENTS)
        spool.drop(1, "no DICOM")
        spool.done(2, 3)
        entry = spool.next([INSTANCE], START)
        spool.turn(entry.number, new(CONTENTS[4], kind=RESULT))
        assert len(files(tmp_path / "s")) == len(CONTENTS) - 3
        assert not spool.put(new(CONTENTS[2]))[0].is_new
        assert spool.content(spool.next([RESULT], START)) == CONTENTS[4]
        assert found(spool) == {5: CONTENTS[5], 6: CONTENTS[6], 7: b"small"}


@KEYS
@pytest.mark.parametrize("damage", ["a bit", "cut off", "longer", "gone", "another's", "empty"])
def test_a_file_that_the_disk_changed_is_found_when_it_is_read_dropped_and_told(tmp_path, key, damage):
    path, other, *_ = filled(tmp_path / "s", key)
    content = path.read_bytes()
    changed = {
        "a bit": content[:1000] + bytes([content[1000] ^ 1]) + content[1001:],
        "cut off": content[:-1],
        "longer": content + b"x",
        "another's": other.read_bytes(),
        "empty": b"",
    }
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(changed[damage])
    told = Told()
    with opened(tmp_path / "s", told=told, key=key) as spool:
        assert spool.rescued is None
        with pytest.raises(StoreError, match="entry 1 of instance was damaged on the disk and is dropped"):
            spool.content(spool.next([INSTANCE], START))
        assert told.numbers == [(1, "damaged")]
        assert spool.put(new(CONTENTS[1]))[0].is_new
        assert found(spool) == {**{n: CONTENTS[n] for n in range(2, 7)}, 7: b"small", 8: CONTENTS[1]}
    assert files(tmp_path / "s") == []


def test_what_was_never_acknowledged_goes_when_the_spool_is_opened(tmp_path):
    filled(tmp_path / "s")
    for name in ("900", "901"):
        (tmp_path / "s" / FOLDER / name).write_bytes(b"half a content")
    with opened(tmp_path / "s") as spool:
        assert spool.rescued is None
        assert len(files(tmp_path / "s")) == len(CONTENTS)
        assert len(found(spool)) == len(CONTENTS) + 1


def test_what_the_quota_or_the_disk_refuses_leaves_no_file(tmp_path, monkeypatch):
    with opened(tmp_path / "s", Quota(bytes=3 * APART, reserve=0, ballast=0)) as spool:
        spool.put(new(CONTENTS[1]))
        for batch in ([2, 3], [2, 3, 4]):
            with pytest.raises(SpoolFull, match="the spool is full"):
                spool.put(*(new(CONTENTS[number]) for number in batch))
        assert len(files(tmp_path / "s")) == 1
        with pytest.raises(StoreError, match="a step is made once"):
            spool.turn(99, new(CONTENTS[2]))
        spool._contents._disk = Power(tmp_path / "s" / FOLDER, fails_at=1, fault=OSError)
        with pytest.raises(SpoolFull, match="the disk is full; make room on it"):
            spool.put(new(CONTENTS[2]))
        assert len(files(tmp_path / "s")) == 1
        assert spool.put(new(CONTENTS[2]))[0].is_new


def test_a_full_disk_lets_a_step_have_the_ballast(tmp_path):
    with opened(tmp_path / "s", Quota(bytes=1 << 30, ballast=1 << 20)) as spool:
        spool.put(new("image"))
        entry = spool.next([INSTANCE], START)
        spool.put(new(CONTENTS[1]))
        spool._contents._disk = Power(tmp_path / "s" / FOLDER, fails_at=1, fault=OSError)
        assert spool.turn(entry.number, new(CONTENTS[2], kind=RESULT))[0].is_new
        assert not (tmp_path / "s" / "ballast").exists()
        assert len(files(tmp_path / "s")) == 2


@KEYS
def test_a_rescue_takes_whole_files_over_and_keeps_the_others_beside_what_was_damaged(tmp_path, key):
    paths = filled(tmp_path / "s", key)
    paths[2].write_bytes(paths[2].read_bytes()[:-5])
    (tmp_path / "s" / FOLDER / "900").write_bytes(b"named by nobody")
    rescue.suspect(tmp_path / "s", "a test says so")
    told = Told()
    with opened(tmp_path / "s", told=told, key=key) as spool:
        rescued = spool.rescued
        assert (rescued.kept, rescued.lost, rescued.loose) == (6, 1, 2)
        assert "2 contents have no entry any more" in str(rescued)
        assert {path.name for path in (rescued.aside / FOLDER).iterdir()} == {paths[2].name, "900"}
        assert told.numbers == [(3, "damaged")]
        assert found(spool) == {**{n: CONTENTS[n] for n in (1, 2, 4, 5, 6)}, 7: b"small"}


def test_a_rescue_that_a_crash_cut_short_moves_nothing_twice(tmp_path, monkeypatch):
    paths = filled(tmp_path / "s")
    paths[0].write_bytes(b"damaged")
    rescue.suspect(tmp_path / "s", "a test says so")
    before = as_killed(tmp_path / "s", tmp_path / "t")
    for stage in ("set_aside", "begin"):
        with monkeypatch.context() as patch:
            patch.setattr(contents.Contents, stage, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                opened(before)
    with opened(before) as spool:
        assert (spool.rescued.kept, spool.rescued.lost, spool.rescued.loose) == (6, 1, 1)
        assert len(found(spool)) == 6


def test_contents_without_their_database_are_kept_aside(tmp_path):
    paths = filled(tmp_path / "s")
    (tmp_path / "s" / opening.NAME).unlink()
    with opened(tmp_path / "s") as spool:
        assert "contents of entries are beside it" in spool.rescued.why
        assert (spool.rescued.kept, spool.rescued.loose) == (0, len(paths))
        assert len(list((spool.rescued.aside / FOLDER).iterdir())) == len(paths)
        assert spool.put(new(CONTENTS[1]))[0].is_new
    with opened(tmp_path / "s") as spool:
        assert spool.rescued is None
        assert list(found(spool).values()) == [CONTENTS[1]]


def test_a_schema_of_another_make_is_no_spools(tmp_path):
    filled(tmp_path / "s")
    with closing(sqlite3.connect(tmp_path / "s" / opening.NAME)) as direct:
        direct.execute("DROP INDEX files_unsure")
    with opened(tmp_path / "s") as spool:
        assert "its schema is not that of a spool" in spool.rescued.why
        assert found(spool) == {**CONTENTS, 7: b"small"}
