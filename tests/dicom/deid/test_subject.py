from __future__ import annotations

from pydicom.sequence import Sequence

from fedmed.dicom.deid.subject import known_of, patient_of
from tests.dicom.deid.objects import item, nested, small_ct


def test_people_identifiers_and_institutions_at_every_depth():
    dataset = small_ct(
        PatientName="Doe^Jane", PatientID="4711", OperatorsName=["Roe^R", "Poe^E"], InstitutionName="A clinic"
    )
    dataset.RequestAttributesSequence = nested(item(NameOfPhysiciansReadingStudy="Woe^W", AccessionNumber="A-99"))
    dataset.ReferencedPatientSequence = Sequence([item(PatientID="9-9")])
    known = known_of(dataset, 16)
    assert {"Doe^Jane", "Roe^R", "Poe^E", "Woe^W"} <= set(known.names)
    assert {"4711", "A-99", "9-9"} <= set(known.identifiers)
    assert "A clinic" in known.phrases
    assert "Woe^W" not in known_of(dataset, 1).names


def test_a_patient_is_the_identifier_else_name_and_birth_date_else_the_study():
    dataset = small_ct(PatientID=" 4711 ", PatientName="Doe^Jane", PatientBirthDate="19500101", StudyInstanceUID="1.2")
    assert patient_of(dataset) == "4711"
    dataset.PatientID = ""
    assert patient_of(dataset) == "Doe^Jane\n19500101"
    del dataset.PatientName, dataset.PatientBirthDate
    assert patient_of(dataset) == "1.2"
    del dataset.StudyInstanceUID
    assert patient_of(dataset) == dataset.SOPInstanceUID
    del dataset.SOPInstanceUID
    assert patient_of(dataset) == ""
