from __future__ import annotations

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import UID

from fedmed.dicom.deid.pseudonyms import ACCESSION, LENGTH, PATIENT, SHIFT_DAYS, STUDY
from tests.dicom.deid.objects import KEYS, OTHER_KEYS

names = st.text(st.characters(exclude_characters="\0 ", codec="utf-8"), min_size=1, max_size=40)

# Of KEYS; changing one of them unlinks every study that a clinic has de-identified so far.
KNOWN = ("2.25.102829650026072735129037553285468719841", "PLYP4JIPWVRZSCFB", -1777)


def test_pseudonyms_are_those_of_earlier_versions():
    assert (KEYS.uid("1.2.3.4"), KEYS.identifier(PATIENT, "12345"), KEYS.shift_days("12345")) == KNOWN


def test_another_process_gives_the_same():
    code = (
        "from tests.dicom.deid.objects import KEYS; print(KEYS.uid('1.2.3.4'), KEYS.identifier('patient', '12345'), "
        "KEYS.shift_days('12345'))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.split() == [str(one) for one in KNOWN]


@given(st.sets(names, min_size=2, max_size=20))
def test_different_originals_get_different_names(originals):
    for one in (KEYS.uid, lambda text: KEYS.identifier(PATIENT, text)):
        assert len({one(text) for text in originals}) == len(originals)


@given(names)
def test_names_are_valid_and_depend_on_key_and_kind(original):
    uid = KEYS.uid(original)
    assert UID(uid).is_valid
    assert uid != OTHER_KEYS.uid(original)
    kinds = {KEYS.identifier(kind, original) for kind in (PATIENT, STUDY, ACCESSION)}
    assert len({name[1:] for name in kinds}) == 3
    assert all(len(name) == LENGTH and name.isalnum() and name.isupper() for name in kinds)
    assert not kinds & {OTHER_KEYS.identifier(kind, original) for kind in (PATIENT, STUDY, ACCESSION)}


@given(names)
def test_padding_makes_no_difference(original):
    assert KEYS.identifier(PATIENT, f" {original} \0") == KEYS.identifier(PATIENT, original)
    assert KEYS.uid(f"{original}\0") == KEYS.uid(original)


@given(names)
def test_a_shift_is_within_its_bounds(patient):
    assert SHIFT_DAYS[0] <= -KEYS.shift_days(patient) <= SHIFT_DAYS[1]


def test_shifts_of_many_patients_differ():
    assert len({KEYS.shift_days(str(patient)) for patient in range(1000)}) > 800


def test_nothing_stands_for_nothing():
    assert KEYS.identifier(PATIENT, "") == KEYS.identifier(ACCESSION, " \0") == ""
