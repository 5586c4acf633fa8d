from __future__ import annotations

import json
import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import DataError, FederationError, StoreError
from fedmed.operation.logs import ERROR, INFO, WARNING, Log, RotatedFile, standard_error
from fedmed.store.audit.event import DETAILS
from tests.operation.clocks import Hand


def lines(as_json: bool = False) -> tuple[Log, list[tuple[int, str]]]:
    said: list[tuple[int, str]] = []
    return Log(Hand(), lambda level, line: said.append((level, line)), as_json), said


def test_for_people_and_for_programs():
    log, said = lines()
    log.say("round.commit", "all sites are in it", round=3, seconds=4.5, run="x", sites=3)
    assert said == [(INFO, "2027-01-15T08:16:40.000+00:00 info round.commit seconds=4.5 sites=3: all sites are in it")]
    log, said = lines(as_json=True)
    log.say("round.commit", level=WARNING, seconds=4.5)
    assert json.loads(said[0][1]) == {
        "time": "2027-01-15T08:16:40.000+00:00",
        "level": "warning",
        "action": "round.commit",
        "text": "",
        "details": {"seconds": 4.5},
    }


@given(
    st.dictionaries(st.sampled_from(sorted(DETAILS)) | st.text(min_size=1), st.text() | st.integers(), max_size=5), st.text()
)
def test_a_line_is_one_line_with_keys_of_the_audit_log_alone(details, text):
    log, said = lines(as_json=True)
    details = {key: value for key, value in details.items() if key not in ("self", "action", "text", "level")}
    log.say("start", text, **details)
    [(_, line)] = said
    assert len(line.splitlines()) == 1
    assert len(line) < 20_000
    assert json.loads(line).get("details", {}).keys() <= DETAILS
    log, said = lines()
    log.say("start", text, **details)
    assert len(said[0][1].splitlines()) == 1


def test_of_an_error_of_data_its_kind_alone_is_told():
    log, said = lines()
    log.failed("access", DataError("/images/Doe^Jane/1.dcm is damaged"))
    try:
        try:
            raise FileNotFoundError(2, "no such file", "/images/Doe^Jane")
        except OSError as error:
            raise StoreError("Doe^Jane cannot be read") from error
    except StoreError as error:
        log.failed("access", error, dataset="skin")
    log.failed("round", FederationError("two of three sites are missing"), WARNING)
    assert not any("Doe" in line for _, line in said)
    assert said[0][0] == ERROR
    assert "data: DataError" in said[0][1]
    assert 'dataset="skin": store: StoreError' in said[1][1]
    assert said[2][1].endswith("warning round: federation: FederationError: two of three sites are missing")


def test_an_action_that_nobody_knows():
    with pytest.raises(StoreError, match="begins with one of"):
        lines()[0].say("patient.seen")


@pytest.mark.parametrize(("environment", "prefix"), [({}, ""), ({"JOURNAL_STREAM": "8:1"}, "<4>")])
def test_standard_error(capsys, environment, prefix):
    Log(Hand(), standard_error(environment)).say("start", "up", WARNING)
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(rf"{prefix}2027\S+ warning start: up\n", err)


def test_files_rotate(tmp_path):
    write = RotatedFile(tmp_path / "fedmed.log", most=100, files=3)
    for number in range(40):
        write(INFO, f"line {number:03d}")
    found = {path.name: path.read_text().splitlines() for path in tmp_path.iterdir()}
    assert set(found) == {"fedmed.log", "fedmed.log.1", "fedmed.log.2"}
    kept = [*found["fedmed.log.2"], *found["fedmed.log.1"], *found["fedmed.log"]]
    assert kept == [f"line {number:03d}" for number in range(40 - len(kept), 40)]
    assert all(path.stat().st_size <= 100 for path in tmp_path.iterdir())
    assert {path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == {0}


def test_a_disk_that_refuses_costs_lines_and_says_so(tmp_path, monkeypatch):
    write, real = RotatedFile(tmp_path / "log"), os.open

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "open", full)
    write(INFO, "one")
    write(INFO, "two")
    monkeypatch.setattr(os, "open", real)
    write(INFO, "three")
    write(INFO, "four")
    assert (tmp_path / "log").read_text().splitlines() == ["(2 lines were lost, as the disk was full)", "three", "four"]
