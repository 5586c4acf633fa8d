from __future__ import annotations

import csv
from io import StringIO
from pathlib import Path

import pytest

from fedmed.errors import DataError
from fedmed.store.join import Cells, Joined, Names, as_csv, join


def names() -> Names:
    found = Names()
    for number in "12":
        before = {
            "study": f"1.2.{number}",
            "series": f"1.3.{number}",
            "accession": f"A{number}",
            "patient": "Jane",
            "instance": "1",
        }
        after = {
            "study": f"2.25.{number}",
            "series": f"2.26.{number}",
            "accession": f"X{number}",
            "patient": "P",
            "instance": "2",
        }
        found.add(before, after)
    return found


CELLS = Cells(lambda cell: cell.replace("Jane", "[name]"), lambda cell: f"masks/{len(cell)}")


def joined(tmp_path: Path, text: str) -> Joined:
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return join(path, names(), CELLS)


@pytest.mark.parametrize(
    ("header", "key", "pseudonym"),
    [
        ("StudyInstanceUID", "1.2.1", "2.25.1"),
        ("series", "1.3.2", "2.26.2"),
        ("Accession Number", "A1", "X1"),
        ("patient_id", "Jane", "P"),
    ],
)
def test_rows_join_by_study_series_accession_or_patient(tmp_path, header, key, pseudonym):
    found = joined(tmp_path, f"{header},label\n{key},1\nunknown,0\n")
    assert found == Joined((header, "label"), ((pseudonym, "1"),), unmatched=1)


def test_every_identifier_of_a_row_must_be_known(tmp_path):
    found = joined(tmp_path, "patient,study,label\nJane,1.2.1,a\nJane,9.9,b\nJane,,c\n,,d\n")
    assert found.rows == (("P", "2.25.1", "a"), ("P", "", "c"))
    assert found.unmatched == 2


def test_no_original_identifier_leaves_in_any_cell(tmp_path):
    found = joined(tmp_path, "study,comment\n1.2.1,Jane has a nodule\n")
    assert found.rows == (("2.25.1", "[name] has a nodule"),)


def test_a_table_is_written_as_it_can_be_read():
    text = as_csv(Joined(("study", "x"), (("1", 'a "b", c'), ("2", "größer\nals")), 0)).decode()
    assert list(csv.reader(StringIO(text, newline=""))) == [["study", "x"], ["1", 'a "b", c'], ["2", "größer\nals"]]


@pytest.mark.parametrize("text", ["", "name,label\nJane,1\n"])
def test_a_table_without_identifiers_is_refused(tmp_path, text):
    with pytest.raises(DataError, match="one must be called study"):
        joined(tmp_path, text)


def test_what_is_no_text_is_refused(tmp_path):
    (tmp_path / "labels.csv").write_bytes(b"study,label\n\xff\xfe\x00,1\n")
    with pytest.raises(DataError, match="UTF-8"):
        join(tmp_path / "labels.csv", names(), CELLS)
    with pytest.raises(DataError, match="cannot be read"):
        join(tmp_path / "none.csv", names(), CELLS)


def test_rows_of_another_length_are_left_out(tmp_path):
    assert joined(tmp_path, "study,label\n1.2.1\n1.2.1,1,2\n1.2.1,1\n\n").unmatched == 2


def test_a_mask_is_copied_only_with_its_row(tmp_path):
    found = joined(tmp_path, "study,mask\n1.2.1,Jane.png\n9.9,x.png\n1.2.2,\n")
    assert found.rows == (("2.25.1", "masks/8"), ("2.25.2", ""))


def test_a_mask_alone_joins_nothing(tmp_path):
    with pytest.raises(DataError, match="one must be called"):
        joined(tmp_path, "mask,label\na.png,1\n")
