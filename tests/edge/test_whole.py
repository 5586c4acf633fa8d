from __future__ import annotations

import io
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from torch import nn

from fedmed.dicom.limits import LIMITS
from fedmed.dicom.results.making import results_of
from fedmed.dicom.segmentation import masks_of
from fedmed.dicom.synthetic.ct_phantom import synthesise, write
from fedmed.dicom.synthetic.traps import TRAPS
from fedmed.edge.findings import unpacked
from fedmed.edge.looking import Model
from fedmed.edge.preparing import recipe_of
from fedmed.learning import weights
from fedmed.learning.models import TABLE
from fedmed.learning.order import ModelSpec
from fedmed.serving.card import Preparation
from fedmed.serving.engines import table
from fedmed.serving.exporting import Trained, export, outputs_of, to_module
from fedmed.serving.inputs import prepare
from fedmed.serving.packages import Package
from fedmed.sites.readers.studies import StudiesOptions, prepared_by, read_studies
from fedmed.sites.studies import Study, Target, Workshop, prepared
from tests.edge.series import PROTOCOL, TARGET, Box, bright, card, in_order, slices, uids


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path / "box")


def test_a_mask_is_drawn_on_the_scanners_own_slices(box: Box):
    box.model = Model(recipe_of(card("segmentation")), "fp32", bright)
    given = slices()
    box.takes(given)
    box.clock.time += 31
    box.works()
    [record], [finding] = box.records(), box.findings()
    assert record["mask"]["shape"] == list(PROTOCOL.shape)
    found, headers = unpacked(finding)
    [drawn] = results_of(headers, found).objects
    dataset = pydicom.dcmread(io.BytesIO(drawn))
    assert dataset.Modality == "SEG"
    assert dataset.SOPInstanceUID == record["series"]["result"]
    sources = {
        str(each.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID)
        for each in dataset.PerFrameFunctionalGroupsSequence
    }
    assert sources <= uids(given)
    assert len(sources) > 3


def test_slices_of_a_volume_that_are_cases_of_their_own_give_the_same_mask(tmp_path: Path):
    masks = []
    for sliced in (False, True):
        box = Box(tmp_path / f"{sliced}", Model(recipe_of(card("segmentation", sliced=sliced)), "fp32", bright))
        box.takes(slices())
        box.clock.time += 31
        box.works()
        masks.append(unpacked(box.findings()[0])[0].mask)
    assert masks[0] is not None
    assert masks[1] is not None
    assert (masks[0] == masks[1]).all()
    assert 0 < masks[0].mean() < 1


def test_a_mask_on_one_object_of_many_frames_lies_on_its_frames_in_their_own_order(box: Box):
    box.model = Model(recipe_of(card("segmentation")), "fp32", bright)
    (enhanced,) = TRAPS["enhanced-multi-frame"].change(synthesise(3, "ct", PROTOCOL).slices)
    plain = Box(box.folder.parent / "plain", box.model)
    buffer = io.BytesIO()
    enhanced.save_as(buffer, enforce_file_format=True)
    masks = []
    for each, contents in ((box, [buffer.getvalue()]), (plain, in_order(slices()))):
        each.takes(contents)
        each.clock.time += 31
        each.works()
        found, headers = unpacked(each.findings()[0])
        assert len(headers) == len(contents)
        assert found.mask is not None
        masks.append(found.mask)
        drawn = pydicom.dcmread(io.BytesIO(results_of(headers, found).objects[0]))
        assert (drawn.Modality, drawn.SOPInstanceUID) == ("SEG", each.records()[0]["series"]["result"])
    places = [
        float(each.PlanePositionSequence[0].ImagePositionPatient[2]) for each in enhanced.PerFrameFunctionalGroupsSequence
    ]
    assert places != sorted(places)
    assert np.array_equal(masks[0][np.argsort(places)], masks[1])


def test_a_series_that_names_no_patient_has_no_result_and_a_word(box: Box):
    box.takes(slices(PatientID="", PatientName=""))
    box.clock.time += 31
    box.works()
    [record] = box.records()
    assert (record["reason"], record["series"]["used"]) == ("no-result", 0)
    assert "names no patient" in record["sentence"]


def test_a_volume_larger_than_is_decoded_is_refused_by_name(tmp_path: Path):
    box = Box(tmp_path / "box", limits=replace(LIMITS, decoded_bytes=1000))
    box.takes(slices())
    box.clock.time += 31
    box.works()
    assert box.records()[0]["reason"] == "too-large"


def test_the_report_names_all_images_and_its_uid_is_that_of_the_record(box: Box):
    given = slices()
    box.takes(given)
    box.clock.time += 31
    box.works()
    [record], [finding] = box.records(), box.findings()
    found, headers = unpacked(finding)
    [report] = results_of(headers, found).objects
    document = pydicom.dcmread(io.BytesIO(report))
    assert document.SOPInstanceUID == record["series"]["result"]
    [study] = document.CurrentRequestedProcedureEvidenceSequence
    [series] = study.ReferencedSeriesSequence
    assert {str(each.ReferencedSOPInstanceUID) for each in series.ReferencedSOPSequence} == uids(given)
    assert str(document.PatientName).startswith("Phantom")
    assert sum(map(len, headers)) < sum(map(len, given)) / 2  # without the pixels


def test_a_trained_network_says_of_a_series_what_it_says_of_the_case_that_training_reads(tmp_path: Path, monkeypatch):
    """Reader, PyTorch and its tensors on one side; package, ONNX Runtime and the spool on the other."""
    options = StudiesOptions(size=TARGET.size, spacing_mm=TARGET.spacing_mm, window=TARGET.window, classes=("well", "ill"))
    series = synthesise(3, "ct", PROTOCOL).slices
    write(series, tmp_path / "data" / "lyon" / "ct")
    (tmp_path / "data" / "lyon" / "labels.csv").write_text(f"series,label\n{series[0].SeriesInstanceUID},ill\n")
    cases = read_studies(tmp_path / "data", options, 0)

    def network(inputs: tuple[int, ...], outputs: int) -> nn.Module:
        body = (nn.Conv3d(1, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten())
        return nn.Sequential(*body, nn.Linear(4, outputs))

    monkeypatch.setitem(TABLE, "volumes", network)
    spec = ModelSpec(name="volumes", inputs=(1, *TARGET.size), classes=2)
    pipeline = prepared_by(tmp_path, options, "lyon")
    trained = Trained("lungs", "1", spec, weights.fresh(spec, 3), ("well", "ill"), Preparation("image"), pipeline)
    package = Package.load(export(trained, tmp_path / "package").folder)
    engine = table.open_engine(package)
    box = Box(tmp_path / "box", Model(recipe_of(package.card), "fp32", engine.run))
    box.takes(slices())
    box.clock.time += 31
    box.works()
    logit = float(outputs_of(to_module(trained), prepare(package.card, cases.x))[0, 0])
    assert box.records()[0]["probabilities"][1] == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-6)
    assert box.records()[0]["pipeline"] == pipeline.fingerprint()


def test_a_mask_on_real_slices_that_came_in_any_order_lies_where_they_lie(shared_data: Path, tmp_path: Path):
    """The human chest CT of shared/data/ct, through the spool to a SEG, which training's own reader of masks reads."""
    folder = shared_data / "ct" / "acrin_chest_petct_49"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not here: the real CT series")
    target = Target((40, 64, 64), (5.0, 7.0, 7.0), (-1000.0, 400.0))
    box = Box(tmp_path / "box", Model(recipe_of(card("segmentation", target)), "fp32", bright), copies=False)
    given = [path.read_bytes() for path in sorted(folder.iterdir())]
    random.Random(2).shuffle(given)
    box.takes(given)
    box.clock.time += 31
    box.works()
    [record] = box.records()
    assert (record["series"]["used"], record["series"]["refused"]) == (len(given), [])
    found, headers = unpacked(box.findings()[0])
    (tmp_path / "seg.dcm").write_bytes(results_of(headers, found).objects[0])
    [study] = prepared(folder, Workshop(target))
    assert isinstance(study, Study)
    read, labels = masks_of(tmp_path / "seg.dcm", study.scanned, study.slices, study.shape)
    assert labels == ("lesion",)
    assert found.mask is not None
    assert np.array_equal(read, found.mask)
    assert 0.05 < read.mean() < 0.95
