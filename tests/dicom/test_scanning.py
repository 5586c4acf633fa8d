from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from fedmed.dicom import isolation
from fedmed.dicom.inspection import FileRecord, inspect_file
from fedmed.dicom.isolation import Crew
from fedmed.dicom.limits import LIMITS, Limits
from fedmed.dicom.reasons import Reason, Status
from fedmed.dicom.scanning import scan_files
from fedmed.dicom.sources import of_bytes, refused, walk
from tests.dicom.files import dataset, encoded

FILE = encoded(dataset(np.arange(20, dtype="<u2").reshape(4, 5)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    (root / "1.dcm").write_bytes(FILE)
    (root / "2.dcm").write_bytes(FILE[:-8])
    (root / "3.txt").write_bytes(b"hello")
    (root / "4.dcm").symlink_to(tmp_path)
    (root / "5.dcm").write_bytes(FILE)
    return root


STATUSES = [Status.OK, Status.QUARANTINED, Status.NOT_DICOM, Status.QUARANTINED, Status.OK]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_one_record_a_file_in_their_order(folder: Path, workers: int) -> None:
    heard: list[int] = []
    records = list(scan_files(folder, workers=workers, progress=heard.append))
    assert [record.path for record in records] == ["1.dcm", "2.dcm", "3.txt", "4.dcm", "5.dcm"]
    assert [record.status for record in records] == STATUSES
    assert records == [inspect_file(source) for source in walk(folder)]
    assert heard == [1, 2, 3, 4, 5]


def test_names_that_are_no_text_reach_the_children(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff\n1.dcm")).write_bytes(FILE)
    [record] = scan_files(tmp_path, workers=1)
    assert (record.path, record.status) == ("\\xff\n1.dcm", Status.OK)


def test_a_record_as_a_line_of_json() -> None:
    ok, bad = (inspect_file(of_bytes("a/1.dcm", data)).as_json() for data in (FILE, FILE[:-8]))
    assert json.loads(json.dumps(ok)) == {
        "path": "a/1.dcm",
        "status": "ok",
        "reason": None,
        "sentence": None,
        "shape": [4, 5],
        "pixel_sha256": ok["pixel_sha256"],
    }
    assert len(str(ok["pixel_sha256"])) == 16
    assert (bad["status"], bad["reason"], bad["shape"], bad["pixel_sha256"]) == ("quarantined", "truncated", None, None)
    assert str(bad["sentence"]).startswith("Its pixels are shorter than its header says. ")


def test_no_record_shows_a_patient() -> None:
    found = dataset(np.zeros((4, 5), "<u2"), PatientName="Doe^Jane", PatientID="SECRET-7", AccessionNumber="ACC-9")
    for keyword, value in (("BitsStored", 40), ("Rows", 9000), ("NumberOfFrames", "9999999"), ("PixelRepresentation", 7)):
        setattr(found, keyword, value)
        record = inspect_file(of_bytes("1.dcm", encoded(found)))
        assert record.status is Status.QUARANTINED
        assert not {word for word in ("Doe", "Jane", "SECRET", "ACC-9") if word in json.dumps(record.as_json())}


def with_child(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, body: str) -> None:
    """Children that do `body` with each request before they answer as ours do."""
    program = f"""
import json, os, signal, sys, time
from fedmed.dicom import isolation
ours = isolation.inspect_file
def inspect_file(source, limits):
    {body}
    return ours(source, limits)
isolation.inspect_file = inspect_file
isolation._child()
"""
    (tmp_path / "child.py").write_text(program)
    monkeypatch.setattr(isolation, "COMMAND", [sys.executable, str(tmp_path / "child.py")])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_decoder_that_crashes_costs_one_file(folder: Path, tmp_path: Path, monkeypatch, workers: int) -> None:
    with_child(monkeypatch, tmp_path, "if source.name == '1.dcm': os.kill(os.getpid(), signal.SIGSEGV)")
    records = list(scan_files(folder, workers=workers))
    assert [record.status for record in records] == [Status.QUARANTINED, *STATUSES[1:]]
    assert (records[0].path, records[0].reason) == ("1.dcm", Reason.DECODE_FAILED)
    assert "crashed" in records[0].detail


def test_a_decoder_that_never_ends_costs_one_file(folder: Path, tmp_path: Path, monkeypatch) -> None:
    with_child(monkeypatch, tmp_path, "if source.name == '5.dcm': time.sleep(1000)")
    records = list(scan_files(folder, workers=2, seconds=8))
    assert [record.status for record in records] == [*STATUSES[:4], Status.QUARANTINED]
    assert "longer than 8 seconds" in records[4].detail


@pytest.mark.parametrize("answer", ["no json", '{"status": "fine"}', '{"status": "ok", "reason": "none"}', "x" * 100_000])
def test_a_child_that_was_taken_over_is_not_believed(folder: Path, tmp_path: Path, monkeypatch, answer: str) -> None:
    (tmp_path / "answer").write_text(answer + "\n")
    path = str(tmp_path / "answer")
    with_child(monkeypatch, tmp_path, f"os.write(3, open({path!r}, 'rb').read())")
    records = list(Crew(1, LIMITS, 30).records(walk(folder)))
    assert {record.status for record in records if record.path != "4.dcm"} == {Status.QUARANTINED}


def test_children_are_gone_when_the_scan_is_given_up(folder: Path, monkeypatch) -> None:
    crew = Crew(2, LIMITS, 60)
    records = crew.records(walk(folder))
    next(records)
    processes = [*crew.idle, *(worker.process for worker in crew.busy.values())]
    assert processes
    records.close()
    assert all(process.poll() == -signal.SIGKILL for process in processes)


def test_sources_that_are_refused_need_no_child() -> None:
    [record] = Crew(1, Limits(), 1).records([refused("x", Reason.TOO_LARGE, "so")])
    assert record == FileRecord("x", Status.QUARANTINED, Reason.TOO_LARGE, "so")
