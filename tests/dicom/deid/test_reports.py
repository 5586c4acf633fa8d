from __future__ import annotations

import pytest

from fedmed.dicom.deid import reports
from fedmed.dicom.deid.known import Known
from fedmed.dicom.deid.reports import clean_report, decoded, merged_known
from fedmed.dicom.reasons import Untrusted
from tests.dicom.deid.objects import KEYS

TEXT = "Jane Doe, MRN 0012345, seen 4 March 2021 by Dr. Roe. 2 x 3 cm nodule in segment 7."
KNOWN = Known(("Doe^Jane",))


def test_a_report_is_cleaned_counted_and_renamed(tmp_path):
    (tmp_path / "A-99.txt").write_text(TEXT)
    report = clean_report(tmp_path / "A-99.txt", tmp_path / "out", KNOWN, {"A-99": "X77"}, KEYS)
    assert report.target == tmp_path / "out" / "reports" / "X77.txt"
    assert report.target.read_text() == "[name] [name], MRN [id], seen [date] by Dr. [name]. 2 x 3 cm nodule in segment 7."
    assert report.removed == {"name": 3, "id": 1, "date": 1}
    assert not report.left


def test_a_report_of_no_known_name_gets_a_pseudonym(tmp_path):
    (tmp_path / "Jane Doe.txt").write_text(TEXT)
    report = clean_report(tmp_path / "Jane Doe.txt", tmp_path / "out", KNOWN, {}, KEYS)
    assert "Jane" not in report.target.name
    assert report.target.stem == KEYS.identifier("report", str(tmp_path / "Jane Doe.txt"))


def test_what_the_cleaning_missed_is_counted(tmp_path):
    (tmp_path / "a.txt").write_text("the number 123456 stays, and so does 1-1-1")
    report = clean_report(tmp_path / "a.txt", tmp_path / "out", KNOWN, {}, KEYS)
    assert report.left == {"digits": 1, "date-like": 1}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_chinese_reports_are_read(encoding):
    text = "患者王小东,右肺结节,建议复查。"
    assert decoded(text.encode(encoding)) == text


def test_western_reports_are_read():
    assert decoded("Jörg Müller, 5 mm größer".encode("latin-1")) == "Jörg Müller, 5 mm größer"


def test_a_report_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(reports, "MAX_TEXT", 10)
    (tmp_path / "a.txt").write_text(TEXT)
    with pytest.raises(Untrusted):
        clean_report(tmp_path / "a.txt", tmp_path / "out", KNOWN, {}, KEYS)


def test_everybody_is_known():
    assert merged_known([KNOWN, Known((), ("7",), ("A clinic",)), KNOWN]) == Known(("Doe^Jane",), ("7",), ("A clinic",))
    assert merged_known([]) == Known()
