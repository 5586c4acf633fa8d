"""One call gives all that a finding becomes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fedmed.dicom.reasons import Reason, Untrusted
from fedmed.dicom.results.making import results_of
from tests.dicom.results.samples import FINDING, group_texts, items, masked, reread, series, source


def test_probabilities_become_a_report_and_a_mask_a_segmentation():
    reported, drawn = results_of([source()], FINDING), results_of(series(), masked(np.ones((4, 12, 10), np.uint8)))
    assert [reread(each).Modality for each in (*reported.objects, *drawn.objects)] == ["SR", "SEG"]
    assert (reported.why, drawn.why) == ("", "")
    for made in (reported, drawn):
        told = json.loads(made.record)
        assert [each["sop_instance"] for each in told["objects"]] == [reread(made.objects[0]).SOPInstanceUID]


def test_a_loop_without_a_place_is_reported_and_what_is_lost_is_said():
    mask = np.zeros((3, 6, 5), np.uint8)
    mask[1] = 1
    made = results_of([source(NumberOfFrames=3, SOPClassUID="1.2.840.10008.5.1.4.1.1.3.1", Modality="US")], masked(mask))
    assert "3 frames" in made.why
    groups = items(reread(made.objects[0]), "Imaging Measurements", "Measurement Group")
    assert [group_texts(group)["Presence of property"] for group in groups] == [["Present"], ["Absent"]]


@pytest.mark.parametrize("finding", [FINDING, masked(np.ones((2, 6, 5), np.uint8))])
@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"PatientID": "P2", "SOPInstanceUID": "1.9"}, Reason.MIXED_PATIENTS),
        ({"StudyInstanceUID": "1.8", "SOPInstanceUID": "1.9"}, Reason.MIXED_PATIENTS),
        ({}, Reason.DUPLICATE_INSTANCE),
    ],
)
def test_what_belongs_to_two_patients_is_refused(finding, other, reason):
    with pytest.raises(Untrusted) as refused:
        results_of([source(), source(**other)], finding)
    assert refused.value.reason is reason
