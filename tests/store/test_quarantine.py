from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.dicom.case import Case
from fedmed.dicom.reasons import OVERRULABLE, SENTENCES, Reason
from fedmed.errors import ConfigError, StoreError
from fedmed.store.quarantine import Quarantine, Record, name_of

SHA = "ab" * 32


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    def unix(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


def case(subject: str = "1.2.3", reason: Reason = Reason.IRREGULAR_SPACING, sha256: str = SHA) -> Case:
    return Case("series", subject, reason, "Gaps run from 1 to 2 mm.", "/scans/a", sha256)


def ident(case: Case) -> str:
    return name_of(case.level, case.subject)


@pytest.fixture
def quarantine(tmp_path: Path) -> Quarantine:
    return Quarantine(tmp_path / "q", Clock())


def only(quarantine: Quarantine) -> Record:
    (record,), faults = quarantine.records()
    assert not faults
    return record


def test_an_empty_quarantine_makes_no_folder(quarantine):
    assert quarantine.records() == ([], [])
    assert not quarantine.allows(case())
    quarantine.lift("series", "1.2.3")
    assert not quarantine.folder.exists()


def test_what_is_set_aside_is_found_again_with_its_reason(quarantine):
    written = quarantine.set_aside(case())
    assert only(quarantine) == written == Record(case(), 1000.0)
    facts = written.as_json()
    assert facts["reason"] == "irregular-spacing"
    assert facts["sentence"] == SENTENCES[Reason.IRREGULAR_SPACING]
    assert (facts["level"], facts["subject"], facts["where"], facts["release"]) == ("series", "1.2.3", "/scans/a", None)
    json.dumps(facts)


def test_setting_the_same_aside_again_keeps_the_first_date_and_the_release(quarantine):
    name = quarantine.set_aside(case()).id
    quarantine.release(name, "Dr. Wen", "looked at it")
    quarantine._clock.sleep(50)
    assert quarantine.set_aside(case()).since == 1000.0
    assert only(quarantine).release is not None


def test_a_release_keeps_who_why_and_when_and_lets_the_case_pass(quarantine):
    quarantine.set_aside(case())
    assert not quarantine.allows(case())
    quarantine._clock.sleep(7)
    quarantine.release(ident(case())[:5], "Dr. Wen", "the table was moved by hand")
    release = only(quarantine).release
    assert (release.who, release.why, release.at) == ("Dr. Wen", "the table was moved by hand", 1007.0)
    assert quarantine.allows(case())


@pytest.mark.parametrize("changed", [{"sha256": "cd" * 32}, {"reason": Reason.SHIFTED_SLICES}, {"subject": "1.2.4"}])
def test_a_release_holds_for_these_bytes_this_reason_and_this_series_alone(quarantine, changed):
    quarantine.set_aside(case())
    quarantine.release(ident(case()), "Dr. Wen", "looked at it")
    other = dataclasses.replace(case(), **changed)
    assert not quarantine.allows(other)
    assert quarantine.set_aside(other).release is None
    assert quarantine.allows(case()), "the bytes that were released may come back"


@pytest.mark.parametrize("reason", list(Reason))
def test_only_judgements_can_be_overruled(quarantine, reason):
    hopeless = case(reason=reason)
    quarantine.set_aside(hopeless)
    assert hopeless.releasable == (reason in OVERRULABLE)
    if reason in OVERRULABLE:
        assert quarantine.release(ident(hopeless), "Dr. Wen", "looked").release is not None
        return
    with pytest.raises(ConfigError, match=f"{reason.value}, which no person can overrule"):
        quarantine.release(ident(hopeless), "Dr. Wen", "looked")
    assert not quarantine.allows(hopeless)


def test_broken_pixels_are_no_judgement():
    assert not OVERRULABLE & {Reason.TRUNCATED, Reason.DECODE_FAILED, Reason.MISSING_SLICES, Reason.UNREADABLE}


def test_a_release_file_for_a_reason_that_cannot_be_overruled_is_ignored(quarantine):
    """Whoever can write the folder still cannot make a truncated series pass."""
    hopeless = case(reason=Reason.TRUNCATED)
    quarantine.set_aside(hopeless)
    quarantine._write(quarantine._release_path(hopeless), {"who": "x", "why": "y", "at": 1.0})
    assert not quarantine.allows(hopeless)


@pytest.mark.parametrize(("who", "why"), [("", "seen"), ("Wen", ""), (" ", "seen"), ("Wen", "\n")])
def test_a_release_needs_a_person_and_a_ground(quarantine, who, why):
    quarantine.set_aside(case())
    with pytest.raises(ConfigError, match="who decides and why"):
        quarantine.release(ident(case()), who, why)


def test_a_name_must_fit_one_record(quarantine):
    for number in range(40):
        quarantine.set_aside(case(str(number)))
    for name in ("", "zz", ident(case("1"))[:1]):
        with pytest.raises(ConfigError, match="give one id"):
            quarantine.record(name)
    assert quarantine.record(ident(case("7"))).case.subject == "7"


def test_what_is_sound_again_is_forgotten(quarantine):
    quarantine.set_aside(case())
    quarantine.set_aside(case("9.9"))
    quarantine.lift("series", "1.2.3")
    assert only(quarantine).case.subject == "9.9"


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, 10_000), byte=st.integers(1, 255), cut=st.booleans())
def test_a_damaged_record_is_reported_and_replaced_and_a_damaged_release_frees_nothing(tmp_path_factory, at, byte, cut):
    quarantine = Quarantine(tmp_path_factory.mktemp("q"), Clock())
    quarantine.set_aside(case())
    quarantine.set_aside(case("9.9"))
    quarantine.release(ident(case()), "Dr. Wen", "looked")
    for path in (quarantine._path(ident(case())), quarantine._release_path(case())):
        data = bytearray(path.read_bytes())
        at %= len(data)
        data[at] ^= byte
        path.write_bytes(data[:at] if cut else data)
    records, faults = quarantine.records()
    assert [record.case.subject for record in records] == ["9.9"]
    assert len(faults) == 1
    assert str(quarantine._path(ident(case()))) in faults[0]
    assert not quarantine.allows(case())
    assert quarantine.set_aside(case()).case == case()
    assert not quarantine.records()[1]


def test_a_record_moved_to_another_name_is_a_fault(quarantine):
    quarantine.set_aside(case())
    quarantine._path(ident(case())).rename(quarantine._path("0" * 16))
    assert "moved here" in quarantine.records()[1][0]


def test_a_huge_file_is_not_read(quarantine):
    quarantine.folder.mkdir()
    with quarantine._path("f" * 16).open("wb") as file:
        file.truncate(10**9)
    assert "longer than" in quarantine.records()[1][0]


def test_a_full_disk_is_told_and_leaves_nothing_half(small_disk):
    quarantine = Quarantine(small_disk, Clock())
    quarantine.set_aside(case())
    long = dataclasses.replace(case("9.9"), detail="x" * 2_000_000)
    with pytest.raises(StoreError, match="cannot be written"):
        quarantine.set_aside(long)
    assert only(quarantine).case == case()
    assert [path.suffix for path in small_disk.iterdir()] == [".json"]


WRITER = """
import sys
from pathlib import Path
from fedmed.clock import SystemClock
from fedmed.dicom.case import Case
from fedmed.dicom.reasons import Reason
from fedmed.dicom.case import Case
from fedmed.store.quarantine import Quarantine, name_of
quarantine = Quarantine(Path(sys.argv[1]), SystemClock())
for n in range(60):
    case = Case("series", f"1.{n % 12}", Reason.IRREGULAR_SPACING, f"found by {sys.argv[2]}", "/scans", "ab" * 32)
    quarantine.set_aside(case)
    if n % 12 == 3:
        quarantine.release(name_of("series", case.subject), sys.argv[2], "looked")
    _, faults = quarantine.records()
    assert not faults, faults
"""


def test_two_processes_at_once_leave_whole_records_and_every_release(tmp_path):
    with_two = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), name], stderr=subprocess.PIPE, text=True)
        for name in "ab"
    ]
    for process in with_two:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    records, faults = Quarantine(tmp_path, Clock()).records()
    assert not faults
    assert len(records) == 12
    assert [record.case.subject for record in records if record.release] == ["1.3"]
    assert not list(tmp_path.glob(".*"))
