from __future__ import annotations

import pytest

from fedmed.errors import QuorumError, StoreError
from fedmed.simulate.logs import MOST, Listener, log_of


def test_only_what_is_told_from_now_on_is_heard(tmp_path):
    ledgers = tmp_path / "ledgers"
    log_of(ledgers, 0).tell("of an earlier run")
    listener = Listener(ledgers, ["north", "south", "west"])
    assert listener.last_words() == {}
    log_of(ledgers, 1).tell("first")
    log_of(ledgers, 1).tell("ValueError: two\nlines \udcff")
    assert listener.last_words() == {"south": r"ValueError: two lines \udcff"}
    log_of(ledgers, 0).tell("of this one")
    assert listener.last_words() == {"north": "of this one", "south": r"ValueError: two lines \udcff"}


def test_an_error_keeps_its_kind_and_tells_the_sites_last_words(tmp_path):
    listener = Listener(tmp_path, ["north", "south"])
    error = QuorumError("round 3 missed its quorum")
    listener.explain(error)
    assert str(error) == "round 3 missed its quorum"
    log_of(tmp_path, 1).tell("RuntimeError: the scanner is on fire")
    listener.explain(error)
    assert str(error).splitlines() == [
        "round 3 missed its quorum",
        "The sites' own logs say last:",
        "  south: RuntimeError: the scanner is on fire",
    ]


def test_of_many_sites_some_are_told(tmp_path):
    listener = Listener(tmp_path, [f"site-{number:02d}" for number in range(MOST + 3)])
    for number in range(MOST + 3):
        log_of(tmp_path, number).tell("no")
    error = QuorumError("short")
    listener.explain(error)
    lines = str(error).splitlines()
    assert lines[2:4] == ["  site-00: no", "  site-01: no"]
    assert (len(lines), lines[-1]) == (2 + MOST + 1, "  and 3 more")


def test_what_sites_said_alike_is_told_once(tmp_path):
    listener = Listener(tmp_path, ["north", "south", "west"])
    assert listener.said() == []
    for number, line in enumerate(["left out", "on fire", "left out"]):
        log_of(tmp_path, number).tell(line)
    assert listener.said() == [("left out", ["north", "west"]), ("on fire", ["south"])]


def test_a_log_that_cannot_be_written_is_a_store_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="log cannot be written"):
        log_of(tmp_path / "file", 0).tell("no")
