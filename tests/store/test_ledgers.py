from __future__ import annotations

import pytest

from fedmed.errors import DataError, StoreError
from fedmed.store import ledgers
from fedmed.store.departures import Departures
from tests.store.test_departures import departure
from tests.store.test_ledger import say


def test_both_kinds_of_a_clinic_are_read_together_by_name(tmp_path):
    for name in ("west", "east"):
        Departures(tmp_path / f"{name}.departures.jsonl").record(departure(1, run=name))
    say(tmp_path / "east.jsonl", 1)
    east, west = ledgers.read(tmp_path)
    assert (east.name, len(east.files), len(east.statements)) == ("east", 2, 1)
    assert [(each.run, each.number) for each in (*east.departures, *west.departures)] == [("east", 1), ("west", 1)]
    assert west.files[0].head == Departures(tmp_path / "west.departures.jsonl").head().hex()


def test_a_kind_is_known_by_its_first_line_under_any_name(tmp_path):
    Departures(tmp_path / "sent.jsonl").record(departure(1))
    [clinic] = ledgers.read(tmp_path / "sent.jsonl")
    assert (clinic.name, clinic.departures) == ("sent", (departure(1),))


def test_a_runs_folder_is_its_ledgers_alone(tmp_path):
    (tmp_path / "journal.jsonl").write_text("not ours\n")
    Departures(tmp_path / ledgers.FOLDER / "00000.departures.jsonl").record(departure(1))
    assert [each.name for each in ledgers.read(tmp_path)] == ["00000"]


def test_what_is_no_ledger_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no ledger"):
        ledgers.read(tmp_path)
    with pytest.raises(DataError, match="is not there"):
        ledgers.read(tmp_path / "none")
    (tmp_path / "notes.jsonl").write_text("[]\n")
    with pytest.raises(StoreError, match="line 1: it cannot be read"):
        ledgers.read(tmp_path)
