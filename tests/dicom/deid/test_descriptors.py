from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.dicom.deid.descriptors import clean_description, clean_kept
from fedmed.dicom.deid.known import Known

SOMEBODY = Known(("Doe^Jane",), ("QX-77",), ())


@pytest.mark.parametrize(
    "text",
    [
        "T2 FLAIR 5 mm", "t1_vibe_fs_tra_bh_dyn", "CT THORACO-ABDOMINAL", "Axial 2.5mm Lung",
        "ANGIO CT/Head", "PET-CT SERIES", "7.1 L-Spine 3 Level 2.5mm", "Liver Segmentation",
        "DTI Color Map, lossy", "b1000 ADC", "abdomen^liver", "胸部平扫", "头颅 MRI T2", "256x256x128 1.5T",
        "Malignant mass with micro-calcifications", "MRI-Brain w/o contrast",
    ],
)  # fmt: skip
def test_descriptions_of_examinations_stay(text):
    assert clean_description(text, SOMEBODY) == text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("CT of Jane Doe", "CT of"),
        ("Zyxwvut brain", "brain"),
        ("head Kowalczyk 12.03.2021", "head"),
        ("QX-77 chest", "chest"),
        ("王小东 胸部平扫", "胸部平扫"),
        ("Dr. Zhang liver MRI", "Dr liver MRI"),
        ("call 555-123-4567", ""),
        ("0815471", ""),
        ("SMITHERS^JOHN", ""),
        ("c4d2471a-ea27-5d1d-86b4-19c271f4ec80", ""),
    ],
)
def test_a_word_that_is_not_surely_one_of_imaging_goes(text, left):
    assert clean_description(text, SOMEBODY).replace(".", "") == left


@given(st.text(max_size=60))
def test_cleaning_never_adds_and_never_leaves_the_known(text):
    for cleaned in (clean_description(text, SOMEBODY), clean_kept(text, SOMEBODY, True), clean_kept(text, SOMEBODY, False)):
        assert len(cleaned) <= len(text) + 1
        assert not SOMEBODY.occurs(cleaned)


def test_texts_that_the_table_keeps_lose_what_the_patterns_find():
    assert clean_kept("Discovery CT750 HD", SOMEBODY, True) == "Discovery CT750 HD"
    assert clean_kept("service: 555-123-4567", SOMEBODY, True) == "service:"
    assert clean_kept("SN 1234567890", SOMEBODY, False) == "SN 1234567890"
    assert not clean_kept("Jane's scanner", SOMEBODY, False).strip()
    assert clean_kept("one\\Jane Doe\\two", SOMEBODY, True) == "one\\\\two"
