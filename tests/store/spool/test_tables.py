from __future__ import annotations

import sqlite3

import pytest

from fedmed.store.spool import tables
from fedmed.store.spool.tables import Row, Tables


@pytest.fixture
def made():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    made = Tables(connection)
    made.create(b"check")
    yield made
    connection.close()


def put(made: Tables, number: int, line: bytes = b"l", priority: int = 20) -> None:
    row = Row(number, "instance", b"%d" % number, priority, 10, float(number), b"head")
    made.insert(row, line, 4096, b"body")


def test_the_first_of_a_line_is_ahead_and_the_next_one_once_it_is_gone(made):
    for number in (1, 2, 3):
        put(made, number)
    put(made, 4, b"other", priority=30)
    assert list(made.ready("instance", 0, 9.0, 99.0)) == [(30, 4), (20, 1)]
    made.finish(2, 5.0)
    made.drop(1, "why")
    assert list(made.ready("instance", 0, 9.0, 99.0)) == [(30, 4), (20, 3)]
    assert made.is_in_order()
    assert made.body(1) is made.body(2) is None
    assert made.totals()["instance"] == (2, 20)
    assert made.used() == 8192


def test_numbers_only_grow(made):
    put(made, 1)
    made.finish(1, 5.0)
    assert made.next_number() == 2
    made.number_from(7)
    made.number_from(3)
    assert made.next_number() == 7


def test_a_flood_of_finished_ones_is_forgotten_from_its_beginning(made, monkeypatch):
    monkeypatch.setattr(tables, "MOST_FINISHED", 3)
    for number in range(1, 8):
        put(made, number)
        made.finish(number, 100.0)
    made.forget(before=50.0)
    assert [made.finished(b"%d" % number, 0.0) for number in range(1, 8)] == [None, None, None, None, 5, 6, 7]
    made.forget(before=101.0)
    assert made.finished(b"7", 0.0) is None


def test_drops_are_added_up_by_reason_until_and_after_they_are_told(made):
    for number in (1, 2, 3):
        put(made, number)
    made.drop(1, "a")
    made.drop(2, "a")
    made.drop(3, "b")
    assert made.drop(3, "b") == 0
    assert [(row.number, reason) for row, reason in made.untold()] == [(1, "a"), (2, "a"), (3, "b")]
    made.told([1, 3])
    assert [row.number for row, _ in made.untold()] == [2]
    assert made.drops() == {"a": (2, 20), "b": (1, 10)}


def test_what_can_go_comes_least_urgent_first_without_being_sorted(made):
    for number, priority in enumerate((30, 10, 20, 10), 1):
        put(made, number, b"%d" % number, priority)
    assert [each.number for each in made.least(below=99)] == [2, 4, 3, 1]
    assert [each.number for each in made.least(below=4)] == [2, 3, 1]
    plans = [
        "SELECT number, priority, weight, unix FROM entries WHERE number < 9 ORDER BY priority, number",
        "SELECT priority, number FROM entries WHERE ahead AND kind = 'a' AND priority >= 0 ORDER BY priority DESC, number",
    ]
    for plan in plans:
        said = " ".join(row[-1] for row in made._db.execute(f"EXPLAIN QUERY PLAN {plan}"))
        assert "USING" in said
        assert "TEMP B-TREE" not in said
