"""The JSON beside the DICOM objects: canonical, complete, without a patient."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

from fedmed.dicom.results.record import record
from fedmed.dicom.results.report import report
from fedmed.dicom.results.segments import segmentation
from fedmed.wire.canonical import canonical
from tests.dicom.results.samples import FINDING, masked, reread, source


def test_it_tells_the_finding_its_sources_and_its_objects():
    made = report(source(), FINDING)
    content = record([source()], FINDING, [made])
    told = json.loads(content)
    assert canonical(told) == content
    assert told["schema"] == "fedmed.result/1"
    assert told["model"] == {"name": "chest", "version": "1.2.0", "digest": "ab" * 32}
    assert (told["pipeline"], told["device"], told["precision"]) == ("cd" * 32, "box-7", "int8")
    assert told["computed_on"] == "box-7"
    assert json.loads(record([source()], replace(FINDING, computed_on="box-9")))["computed_on"] == "box-9"
    assert (told["classes"], told["probabilities"]) == (["pneumonia", "clear"], [0.9312, 0.0688])
    assert told["sources"] == [
        {"study": "1.2", "series": "1.2.1", "sop_class": "1.2.840.10008.5.1.4.1.1.1", "sop_instance": "1.2.3"}
    ]
    assert told["objects"][0]["sop_instance"] == reread(made).SOPInstanceUID
    assert told["intended_use"] == "research"


def test_no_patient_stands_in_it():
    content = record([source(PatientName="Doe^Jane", PatientID="P-4711")], FINDING, [report(source(), FINDING)])
    for word in (b"Doe", b"Jane", b"4711", b"19700102", b"A17", b"Thorax"):
        assert word not in content


def test_a_mask_is_told_by_what_it_marks():
    mask = np.zeros((6, 5), np.uint8)
    mask[:2, :2] = 2
    told = json.loads(record([source()], masked(mask), [segmentation([source()], masked(mask))]))
    assert told["mask"]["pixels"] == {"liver": 0, "tumour": 4}
    assert told["mask"]["shape"] == [6, 5]
    assert "probabilities" not in told


def test_what_is_told_of_a_whole_series_stands_beside_and_what_is_replaced():
    finding = replace(FINDING, replaces=("1.2", "1.9", "1.9.1"))
    told = json.loads(record([source()], finding, series={"whole": "quiet", "refused": []}))
    assert (told["series"], told["replaces"]) == ({"whole": "quiet", "refused": []}, "1.9.1")
    assert {"series", "replaces"}.isdisjoint(json.loads(record([source()], FINDING)))
