from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import ConfigError, DataError
from fedmed.operation.logs import FLOWER, RotatedFile, ServiceLog, hearing
from fedmed.wire.confided import of_error
from tests.operation.clocks import Hand

NOW = "2027-01-15T08:16:40+00:00"


def log_at(path: Path | None, as_json: bool = False, environment: dict[str, str] | None = None) -> ServiceLog:
    return ServiceLog(Hand(), None if path is None else RotatedFile(path), as_json, environment or {})


def test_a_line_for_people_and_for_programs_in_both_places(tmp_path, capsys):
    log_at(tmp_path / "log").tell("all sites are in it")
    log_at(tmp_path / "log", as_json=True).tell("all sites are in it")
    first, second = (tmp_path / "log").read_text().splitlines()
    assert first == f"{NOW} all sites are in it"
    assert json.loads(second) == {"time": NOW, "level": "info", "text": "all sites are in it"}
    assert capsys.readouterr().err == f"{first}\n{second}\n"


def test_the_same_words_within_a_minute_become_a_number(capsys):
    clock = Hand()
    log = ServiceLog(clock, None, False, {})
    for _ in range(5):
        log.tell("the disk is full")
        clock.sleep(1)
    log.tell("another thing")
    clock.sleep(60)
    log.tell("the disk is full")
    said = [line.partition(" ")[2] for line in capsys.readouterr().err.splitlines()]
    assert said == ["the disk is full", "another thing", "the disk is full (4 more times)", "the disk is full"]


@given(st.text())
def test_a_line_is_one_short_line(text):
    shown: list[str] = []
    log = log_at(None, as_json=True)
    log._put = lambda level, told: shown.append(log._line(level, told))  # type: ignore[method-assign]
    log.tell(text)
    assert len(shown[0].splitlines()) == 1
    assert len(json.loads(shown[0])["text"]) <= 2000


def test_what_names_a_patient_is_in_neither(tmp_path, capsys):
    log = log_at(tmp_path / "log")
    log.tell(of_error(DataError("/images/Doe^Jane/1.dcm is damaged"), "skin: "))
    with hearing(log):
        logging.getLogger("pydicom").warning("Invalid value for VR PN: %r", "Doe^Jane")
        try:
            raise ValueError("Doe^Jane")
        except ValueError:
            logging.getLogger("asyncio").exception("of Doe^Jane")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("Doe^Jane has no modality", stacklevel=1)
    said = (tmp_path / "log").read_text()
    assert said.count("\n") == 4
    assert "skin: DataError" in said
    assert "pydicom, test_logs.py:" in said
    assert "error: asyncio, test_logs.py:" in said
    assert "Doe" not in said + capsys.readouterr().err


def test_flowers_own_lines_lose_their_colours_and_their_second_place(tmp_path):
    script = f"""
import logging
from pathlib import Path
from flwr.common.logger import log
from fedmed.operation.logs import RotatedFile, ServiceLog, hearing
from tests.operation.clocks import Hand
with hearing(ServiceLog(Hand(), RotatedFile(Path({str(tmp_path / "log")!r})), False, {{"JOURNAL_STREAM": "8:1"}})):
    log(logging.INFO, "not worth a line")
    log(logging.ERROR, "run %s is gone", 7)
"""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert line.startswith(f"{NOW} error: {FLOWER}, ")
    assert line.endswith(": run 7 is gone")
    assert done.stderr == f"<3>{line}\n"


def test_files_rotate(tmp_path):
    file = RotatedFile(tmp_path / "service.log", most=100, files=3)
    for number in range(40):
        file.write(f"line {number:03d}")
    found = {path.name: path.read_text().splitlines() for path in tmp_path.iterdir()}
    assert set(found) == {"service.log", "service.log.1", "service.log.2"}
    kept = [*found["service.log.2"], *found["service.log.1"], *found["service.log"]]
    assert kept == [f"line {number:03d}" for number in range(40 - len(kept), 40)]
    assert all(path.stat().st_size <= 100 for path in tmp_path.iterdir())
    assert {path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == {0}


def test_a_disk_that_refuses_costs_lines_and_says_so(tmp_path, monkeypatch):
    log, real = log_at(tmp_path / "log"), os.open

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "open", full)
    log.tell("one")
    log.tell("two")
    monkeypatch.setattr(os, "open", real)
    log.tell("three")
    log.tell("four")
    lost, *rest = (tmp_path / "log").read_text().splitlines()
    assert lost == f"{NOW} warning: 2 lines before this one were lost: the disk was full"
    assert [line.split()[1] for line in rest] == ["three", "four"]


def test_a_place_where_no_log_can_be_is_an_error_at_once(tmp_path):
    with pytest.raises(ConfigError, match=r"log: .* cannot be written \(No such file or directory\); .* or null"):
        RotatedFile(tmp_path / "absent" / "service.log")
