from __future__ import annotations

import sqlite3
import stat
from contextlib import closing

import pytest

from fedmed.errors import StoreError
from fedmed.store.spool.entry import INSTANCE
from fedmed.store.spool.opening import LOCK, NAME, commits_behind
from tests.store.spool.spools import KEY, START, new, opened


def test_a_commit_is_synced_before_it_returns(tmp_path):
    with opened(tmp_path / "s") as spool:
        said = {name: spool._commits._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("synchronous", "journal_mode")}
    assert said == {"synchronous": 2, "journal_mode": "wal"}


def test_only_its_owner_can_read_it(tmp_path):
    with opened(tmp_path / "s") as spool:
        spool.put(new("x"))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "s").iterdir()}
    assert modes[NAME] == modes[f"{NAME}-wal"] == modes[LOCK] == 0o600
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o700


def test_a_second_owner_is_refused_by_number_and_the_first_goes_on(tmp_path):
    with opened(tmp_path / "s") as spool:
        with pytest.raises(StoreError, match=r"process \d+ owns this spool; a spool has one owner"):
            opened(tmp_path / "s")
        assert spool.put(new("x"))[0].is_new
    with opened(tmp_path / "s") as spool:
        assert spool.counts().entries[INSTANCE] == 1


@pytest.mark.parametrize(("made", "tried"), [(KEY, None), (None, KEY), (KEY, bytes(32))])
def test_another_key_is_refused_and_nothing_is_set_aside(tmp_path, made, tried):
    with opened(tmp_path / "s", key=made) as spool:
        spool.put(new("x"))
    with pytest.raises(StoreError, match="made with another key"):
        opened(tmp_path / "s", key=tried)
    with opened(tmp_path / "s", key=made) as spool:
        assert spool.rescued is None
        assert spool.content(spool.next([INSTANCE], START)) == b"x"


def test_a_newer_version_is_refused_and_left_alone(tmp_path):
    opened(tmp_path / "s").close()
    with closing(sqlite3.connect(tmp_path / "s" / NAME)) as direct:
        direct.execute("PRAGMA user_version = 3")
    with pytest.raises(StoreError, match="a spool of version 3; this fedmed knows 2"):
        opened(tmp_path / "s")
    assert not list((tmp_path / "s").glob("damaged*"))


def test_what_an_older_version_left_is_carried_over_whole_under_its_own_key_alone(tmp_path):
    with opened(tmp_path / "s", key=KEY) as spool:
        spool.put(*(new(bytes([number]), number=number) for number in range(5)))
    with closing(sqlite3.connect(tmp_path / "s" / NAME)) as direct:
        direct.executescript(
            """PRAGMA writable_schema = on; UPDATE sqlite_master SET sql = replace(sql, "'series', ", '');
            DELETE FROM totals WHERE kind = 'series'; PRAGMA user_version = 1;"""
        )
    with pytest.raises(StoreError, match="made with another key"):
        opened(tmp_path / "s", key=bytes(32))
    with opened(tmp_path / "s", key=KEY) as spool:
        assert spool.rescued is not None
        assert (spool.rescued.kept, spool.rescued.lost) == (5, 0)
        assert "it is of version 1" in str(spool.rescued)
        assert [spool.content(entry)[0] for entry in spool.later(INSTANCE, 0)] == [0, 1, 2, 3, 4]
        assert spool.put(new("x", kind="series"))[0].is_new


def test_a_folder_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="name another folder"):
        opened(tmp_path / "file" / "s")


def test_no_log_and_an_empty_one_hide_nothing(tmp_path):
    assert commits_behind(tmp_path / "none", 0) == 0
    (tmp_path / "log").write_bytes(b"")
    assert commits_behind(tmp_path / "log", 0) == 0
    (tmp_path / "log").write_bytes(b"x" * 100)
    assert commits_behind(tmp_path / "log", 0) == 1
