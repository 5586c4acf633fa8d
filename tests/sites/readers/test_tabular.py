from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedmed.errors import ConfigError, DataError
from fedmed.sites.readers.tabular import CsvOptions, read_csv

TABLE = """age,dose,label,clinic,who,part
61,0.5,sick,A,p1,train

44,1e1,well,B,p2,val
37,-2,sick,A,p1,test
"""
COLUMNS = CsvOptions(site="clinic", patient="who", split="part")


@pytest.fixture
def write(tmp_path: Path):
    def put(text: str | bytes) -> Path:
        (tmp_path / "cases.csv").write_bytes(text.encode() if isinstance(text, str) else text)
        return tmp_path

    return put


def test_columns_find_their_places(write) -> None:
    cases = read_csv(write(TABLE), COLUMNS, 0)
    assert cases.x.dtype == np.float32
    assert cases.x.tolist() == [[61, 0.5], [44, 10], [37, -2]]
    assert (cases.features, cases.classes, cases.y.tolist()) == (("age", "dose"), ("sick", "well"), [0, 1, 0])
    assert cases.patient is not None
    assert cases.site is not None
    assert cases.split is not None
    assert (cases.patient.tolist(), cases.site.tolist()) == (["p1", "p2", "p1"], ["A", "B", "A"])
    assert cases.split.tolist() == ["train", "validation", "test"]


def test_positive_labels_make_two_classes(write) -> None:
    folder = write("x,label\n1,mild\n2,none\n3,severe\n")
    cases = read_csv(folder, CsvOptions(positive=("mild", "severe")), 0)
    assert (cases.classes, cases.y.tolist()) == (("negative", "positive"), [1, 0, 1])


def test_a_byte_order_mark_quotes_and_windows_lines_are_read(write) -> None:
    cases = read_csv(write(b'\xef\xbb\xbf"x","label"\r\n"1","a, b"\r\n2,c\r\n'), CsvOptions(), 0)
    assert (cases.features, cases.classes) == (("x",), ("a, b", "c"))


def test_the_scenario_may_name_the_file_itself(write) -> None:
    assert len(read_csv(write(TABLE) / "cases.csv", COLUMNS, 0)) == 3


@pytest.mark.parametrize(
    ("text", "options", "complaint"),
    [
        ("x,label\n1,a\n,b\n", CsvOptions(), r"line 3: column 'x' is missing \(''\)"),
        ("x,label\n1,a\n?,b\n", CsvOptions(), r"line 3: column 'x' is missing \('\?'\)"),
        ("x,label\n1,a\n2,NA\n", CsvOptions(), r"line 3: column 'label' is missing"),
        ("x,label\n1,a\ntall,b\n", CsvOptions(), r"line 3: column 'x' is 'tall', not a finite number"),
        ("x,label\n1,a\ninf,b\n", CsvOptions(), "not a finite number"),
        ("x,label\n1,a\n1e39,b\n", CsvOptions(), "not a finite number"),
        ("x,label\n1,a\n2\n", CsvOptions(), "line 3: has 1 cells, the header 2"),
        ("x,x,label\n1,2,a\n", CsvOptions(), r"line 1: columns \['x'\] appear twice"),
        ("x,label\n1,a\n", CsvOptions(site="clinic"), r"columns \['clinic'\] are missing; found x, label"),
        ("x,label\n1,a\n2,a\n", CsvOptions(), "one label 'a'"),
        ("x,label\n1,a\n2,z\n", CsvOptions(classes=("a", "b")), r"line 3: label 'z' is unknown; the classes are a, b"),
        ("x,label\n1,a\n2,b\n", CsvOptions(positive=("c",)), r"\['c'\] never appear"),
        ("x,label,part\n1,a,holdout\n2,b,test\n", CsvOptions(split="part"), r"line 2: split is 'holdout'"),
        ("label\na\nb\n", CsvOptions(), "at least one"),
        ("x,label\n1,a\n2,b\n", CsvOptions(features=("x", "label")), "columns other than"),
        ("x,label\n", CsvOptions(), "holds no cases"),
        ("", CsvOptions(), "holds no cases"),
        (b"x,label\n\xff,a\n", CsvOptions(), "UTF-8"),
        ('x,label\n"1,a\n', CsvOptions(), "cannot be read as CSV"),
    ],
)
def test_faults_name_file_line_and_column(write, text, options: CsvOptions, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint) as refused:
        read_csv(write(text), options, 0)
    assert "cases.csv" in str(refused.value)


def test_many_faults_are_counted_not_all_shown(write) -> None:
    folder = write("x,label\n" + "?,a\n" * 30)
    with pytest.raises(DataError, match=r"(?s)line 2:.*line 11:.*and 20 more") as refused:
        read_csv(folder, CsvOptions(classes=("a", "b")), 0)
    assert "line 12:" not in str(refused.value)


def test_classes_and_positive_exclude_each_other(write) -> None:
    with pytest.raises(ConfigError, match="not both"):
        read_csv(write(TABLE), CsvOptions(classes=("a",), positive=("a",)), 0)
