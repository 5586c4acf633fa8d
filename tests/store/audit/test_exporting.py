from __future__ import annotations

import csv
import json

import pytest

from fedmed.errors import ConfigError, DataError, StoreError
from fedmed.store.audit import proofs, reading
from fedmed.store.audit.event import event
from fedmed.store.audit.exporting import export
from tests.identity.logs import CENTER
from tests.identity.parties import NOW
from tests.store.audit.logs import happened, log_in


@pytest.fixture
def log(tmp_path):
    made = log_in(tmp_path / "log", 6, most=4)
    made.head()
    return made


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_a_stretch_of_time_with_proofs_of_its_ends(log, tmp_path, ending):
    done = export(reading.opened(log.folder), tmp_path / f"out.{ending}", NOW + 2, NOW + 5)
    assert (done.events, done.first, done.last, done.unproved) == (3, 2, 4, 0)
    shown = [proofs.check(proofs.load(path), str(path), CENTER.fingerprint) for path in done.proofs]
    assert [each.event for each in shown] == [happened(2), happened(4)]
    with done.path.open(newline="") as file:
        rows = list(csv.DictReader(file)) if ending == "csv" else [json.loads(line) for line in file]
    assert [int(row["index"]) for row in rows] == [2, 3, 4]
    assert [row["outcome"] for row in rows] == ["done", "refused", "done"]
    details = rows[1]["details"]
    assert (json.loads(details) if ending == "csv" else details) == happened(3).details


def test_what_no_head_covers_is_written_and_counted(log, tmp_path):
    log.append(happened(6))
    done = export(reading.opened(log.folder), tmp_path / "out.jsonl")
    assert (done.events, done.unproved, len(done.proofs)) == (7, 1, 2)
    assert proofs.check(proofs.load(done.proofs[1]), "last").index == 5
    alone = export(reading.opened(log.folder), tmp_path / "alone.jsonl", NOW + 6)
    assert (alone.events, alone.unproved, alone.proofs) == (1, 1, ())


def test_a_spreadsheet_takes_no_text_for_a_formula(log, tmp_path):
    log.append(event(NOW, "=cmd|' /C calc'!A0", "site", "refuse", "@x", "refused", reason="-1+1"))
    export(reading.opened(log.folder), tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        last = list(csv.DictReader(file))[-1]
    assert (last["who"][:2], last["resource"], last["reason"]) == ("'=", "'@x", "'-1+1")


def test_refusals_leave_no_file(log, tmp_path):
    opened, out = reading.opened(log.folder), tmp_path / "out"
    out.mkdir()
    with pytest.raises(ConfigError, match=r"ends in '.xlsx'; allowed are .jsonl and .csv"):
        export(opened, out / "a.xlsx")
    with pytest.raises(DataError, match="no event in that time"):
        export(opened, out / "a.csv", NOW + 1000)
    with pytest.raises(StoreError, match="cannot be written"):
        export(opened, out / "none" / "a.csv")
    assert list(out.iterdir()) == []
