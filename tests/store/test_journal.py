from __future__ import annotations

import gc
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fedmed.errors import StoreError
from fedmed.store.journal import Journal

TABLE = "CREATE TABLE IF NOT EXISTS seen (name TEXT PRIMARY KEY) WITHOUT ROWID"
ADD = "INSERT INTO seen VALUES (?)"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "below" / "x.sqlite", [TABLE], "look at it")
    yield made
    made.close()


def names(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as other:
        return [name for (name,) in other.execute("SELECT name FROM seen ORDER BY name")]


def test_each_statement_of_a_turn_is_a_commit_which_another_process_sees(journal: Journal, tmp_path: Path):
    with journal.turn() as base:
        assert base.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert base.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        base.execute(ADD, ("a",))
        assert names(tmp_path / "below" / "x.sqlite") == ["a"]


def test_a_step_is_all_or_nothing(journal: Journal, tmp_path: Path):
    with journal.step() as base:
        base.execute(ADD, ("a",))
        base.execute(ADD, ("b",))
        assert names(tmp_path / "below" / "x.sqlite") == []
    with pytest.raises(StoreError, match=r"UNIQUE.*; look at it"), journal.step() as base:
        base.executemany(ADD, [("c",), ("a",)])
    with pytest.raises(KeyError), journal.step() as base:
        base.executemany(ADD, [("d",), ({}["no name"],)])
    with journal.step() as base:
        base.execute(ADD, ("e",))
    assert names(tmp_path / "below" / "x.sqlite") == ["a", "b", "e"]


def test_a_file_that_is_none_is_refused_by_name_and_let_go_of(tmp_path: Path):
    (tmp_path / "x.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(StoreError, match=r"x\.sqlite.*; look at it"):
        Journal(tmp_path / "x.sqlite", [TABLE], "look at it")
    gc.collect()
    assert not [each for each in Path("/proc/self/fd").iterdir() if each.exists() and each.resolve().name == "x.sqlite"]


def test_what_is_closed_refuses(tmp_path: Path):
    made = Journal(tmp_path / "x.sqlite", [TABLE], "look at it")
    made.close()
    with pytest.raises(StoreError), made.turn() as base:
        base.execute(ADD, ("a",))


PROGRAM = f"""
import os, sys
from pathlib import Path
from fedmed.store.journal import Journal
journal = Journal(Path(sys.argv[1]), [{TABLE!r}], "")
with journal.step() as base:
    base.execute({ADD!r}, ("whole",))
with journal.step() as base:
    base.execute({ADD!r}, ("half",))
    os.kill(os.getpid(), 9)
"""


def test_a_kill_in_the_midst_of_a_step_leaves_what_was_before(tmp_path: Path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "x.sqlite")]
    assert subprocess.run(command, env=environment, timeout=60, check=False).returncode == -9
    assert names(tmp_path / "x.sqlite") == ["whole"]
