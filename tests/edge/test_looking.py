from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.clock import SystemClock
from fedmed.dicom.deid.pseudonyms import Pseudonyms
from fedmed.dicom.synthetic.phantom import write_hospitals
from fedmed.edge.copying import copy_of
from fedmed.edge.findings import unpacked
from fedmed.edge.looking import DICOM, RECORD, Desk, Model, probabilities
from fedmed.edge.preparing import recipe_of
from fedmed.edge.stages import Stages
from fedmed.errors import EngineFailed
from fedmed.learning.prediction import probabilities_of
from fedmed.serving.card import Card, Preparation
from fedmed.sites.readers.folder import FolderOptions, prepared_by
from fedmed.store.spool.entry import RESULT, STUDY, New

SIZE = 16
CARD = Card(
    "chest",
    "1",
    "classification",
    (1, SIZE, SIZE),
    (1,),
    ("clear", "opacity"),
    prepared_by(FolderOptions(size=SIZE)),
    Preparation("image"),
    18,
    "0" * 64,
)
KEYS = Pseudonyms(b"u" * 32, b"i" * 32, b"d" * 32)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("phantom")
    write_hospitals(folder, 3, share=0.02)
    return sorted(folder.rglob("*.dcm"))[0].read_bytes()


def desk(run=lambda x: np.full((1, 1), 2.0, np.float32), sends: bool = True, card: Card = CARD) -> Desk:
    model = Model(recipe_of(card), "fp32", run)
    return Desk("us-1", model, sends, lambda content: copy_of(content, KEYS), Stages(SystemClock()))


def of(new: tuple[New, ...], kind: str, form: str | None = None) -> list[bytes]:
    return [each.content for each in new if each.kind == kind and (form is None or each.facts["form"] == form)]


def test_an_image_gives_a_result_that_names_the_image_and_a_copy_that_names_nobody(image: bytes):
    looked = desk().look(image, "1.2.3", "image 1", 1.7e9)
    [record], [finding], [copy] = of(looked.new, RESULT, RECORD), of(looked.new, RESULT, DICOM), of(looked.new, STUDY)
    told, source = json.loads(record), pydicom.dcmread(io.BytesIO(image))
    assert told["sources"][0]["sop_instance"] == source.SOPInstanceUID
    assert told["probabilities"][1] == pytest.approx(1 / (1 + np.exp(-2.0)))
    assert str(source.PatientName).encode() not in record
    back, same = unpacked(finding)
    assert (same, list(back.probabilities or ())) == ([image], told["probabilities"])
    assert str(source.PatientName).encode() not in copy
    assert looked.withheld == ()


def test_without_a_pacs_or_a_model_or_a_key_only_the_rest_is_made(image: bytes):
    assert of(desk(sends=False).look(image, "1", "image 1", 1.7e9).new, RESULT, DICOM) == []
    assert {each.kind for each in replace(desk(), model=None).look(image, "1", "image 1", 1.7e9).new} == {STUDY}
    assert {each.kind for each in replace(desk(), copied=None).look(image, "1", "image 1", 1.7e9).new} == {RESULT}


def test_what_cannot_be_copied_is_still_looked_at_and_the_other_way_round(image: bytes):
    dataset = pydicom.dcmread(io.BytesIO(image))
    dataset.EncapsulatedDocument = b"%PDF"
    unsafe, narrow = io.BytesIO(), io.BytesIO()
    dataset.save_as(unsafe)
    looked = desk().look(unsafe.getvalue(), "1", "image 1", 1.7e9)
    assert {each.kind for each in looked.new} == {RESULT}
    assert looked.withheld[0].startswith("no copy for training")
    field = replace(CARD, pipeline=prepared_by(FolderOptions(size=SIZE, field_of_view_mm=200.0)))
    dataset = pydicom.dcmread(io.BytesIO(image))
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        if keyword in dataset:
            delattr(dataset, keyword)
    dataset.save_as(narrow)
    looked = desk(card=field).look(narrow.getvalue(), "1", "image 1", 1.7e9)
    assert {each.kind for each in looked.new} == {STUDY}
    assert "states no pixel spacing" in looked.withheld[0]


def test_an_engine_without_an_answer_is_told_apart_from_an_image_without_one(image: bytes):
    with pytest.raises(EngineFailed, match="not finite"):
        desk(lambda x: np.full((1, 1), np.nan, np.float32)).look(image, "1", "image 1", 1.7e9)


@given(st.integers(1, 5), st.lists(st.floats(-200, 200, width=32), min_size=5, max_size=5))
def test_probabilities_are_those_of_training(outputs: int, values: list[float]):
    import torch

    logits = np.array([values[:outputs]], np.float32)
    made = probabilities(logits)
    assert np.abs(made - probabilities_of(torch.from_numpy(logits)).numpy()).max() < 1e-6
    assert made.sum() == pytest.approx(1.0, abs=1e-5)
