from __future__ import annotations

import base64
import json

import pytest

from fedmed.errors import StoreError
from fedmed.report.page import render, write_report
from fedmed.report.record import Report
from tests.report.sample import HOSTILE, report, write

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"x" * 40).decode()


def segmentation(**pictures) -> dict:
    """A run of the sample as a segmentation would write it."""
    found = report(classes=("background", "vessel"))
    text = json.dumps(found).replace('"auc"', '"dice"').replace('"accuracy"', '"iou"')
    made = json.loads(text)
    made["kind"], made["pictures"] = "segmentation", pictures
    made["curves"] = {"federated": {"roc": None, "calibration": None}, "pooled": None}
    return made


def page(found: dict) -> str:
    return render(Report.model_validate(found))


def test_a_segmentation_speaks_of_dice_and_draws_no_roc():
    text = page(segmentation())
    assert "Validation Dice" in text
    assert "Dice on each site" in text
    assert "higher Dice than the site" in text
    assert text.index("<dt>Dice</dt>") < text.index("<dt>IoU</dt>")
    for word in ("ROC", "AUC", "Calibration"):
        assert word not in text
    assert "t with the patient as the unit" in text
    assert "vessel in " in text
    assert " background" not in text.split("All measures")[1].split("</table>")[0]


def test_a_classification_has_no_word_of_it():
    text = page(report())
    assert "Validation AUC" in text
    assert "What does it look like?" not in text
    assert "img-src" not in text
    assert "Dice" not in text


def test_a_picture_is_in_the_page_with_its_dice_and_its_slice():
    text = page(segmentation(cleveland={"png": PNG, "dice": 0.8123, "slice": 6}, va={"png": PNG, "dice": None}))
    assert text.count(f'src="data:image/png;base64,{PNG}"') == 2
    assert "Dice 0.812, slice 7" in text
    assert "Only the harness of a simulation" in text
    assert "img-src data:" in text
    assert "default-src 'none'" in text


def test_a_site_of_a_hostile_name_has_a_picture_too():
    text = page(segmentation(**{HOSTILE[0]: {"png": PNG, "dice": 0.5}}))
    assert "<script>" not in text


@pytest.mark.parametrize("png", ['" onerror="alert(1)', "data:text/html,x", "", "A" * 4_000_001])
def test_what_is_no_base64_is_no_picture(tmp_path, png):
    folder = write(tmp_path, segmentation(va={"png": png, "dice": 0.5}))
    with pytest.raises(StoreError, match=r"pictures\.va\.png"):
        write_report(folder)
