from __future__ import annotations

import sqlite3

import pytest

from fedmed.errors import StoreError
from fedmed.hub.looklog import FILE, Given, LookLog


@pytest.fixture
def log(tmp_path):
    made = LookLog(tmp_path)
    yield made
    made.close()


def test_the_newest_attempt_is_known_to_the_next_process(log, tmp_path):
    assert log.of("look:a:1") == Given()
    log.note("look:a:1", Given(1, "b"), 5.0)
    log.note("look:a:1", Given(2, "c", 1), 6.0)
    again = LookLog(tmp_path)
    assert again.of("look:a:1") == Given(2, "c", 1)
    again.forget(6.5)
    again.close()
    assert log.of("look:a:1") == Given()


def test_it_is_on_the_disk_when_it_is_noted(log, tmp_path):
    log.note("look:a:1", Given(1, "b"), 5.0)
    with sqlite3.connect(tmp_path / FILE) as other:
        assert other.execute("SELECT name, attempt, node FROM looks").fetchall() == [("look:a:1", 1, "b")]
    other.close()


def test_a_file_that_is_none_is_refused_by_name(tmp_path):
    (tmp_path / FILE).write_bytes(b"no database" * 100)
    with pytest.raises(StoreError, match=FILE.replace(".", "[.]")):
        LookLog(tmp_path)


def test_what_is_closed_refuses(tmp_path):
    made = LookLog(tmp_path)
    made.close()
    with pytest.raises(StoreError):
        made.note("look:a:1", Given(1, "b"), 5.0)
