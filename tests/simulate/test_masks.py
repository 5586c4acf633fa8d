"""Federations on volumes, end to end: masks in patches, classes of whole volumes, resumed to the last bit."""

from __future__ import annotations

import base64
import io
import json

import nibabel
import numpy as np
import pytest
from PIL import Image

from fedmed.cli.simulate import summary
from fedmed.config.loading import parse
from fedmed.errors import ConfigError, DataError
from fedmed.federation import run as center
from fedmed.simulate import run as harness
from fedmed.simulate.run import Request, simulate
from fedmed.wire import tensors as wire

SITES = ("east", "north", "west")
MASKS = """\
name: lesions
title: Lesions in small volumes
rounds: 2
data:
  reader: masks
  options: {size: [12, 16, 16], spacing_mm: [2.0, 1.0, 1.0], classes: [nothing, lesion]}
  split: {test: 0.25, validation: 0.25}
task:
  name: segmentation
  augment: fused-mirrored-scan
  model_options: {channels: [4, 8]}
  patches: {size: [8, 8, 8], per_case: 2}
training: {optimiser: adam, learning_rate: 0.02, batch_size: 4, epochs: 1, average_last: 2}
engine: {workers: 0, device: cpu}
"""
CLASSES = """\
name: volumes
title: Small volumes with and without a lesion
rounds: 1
data:
  reader: own-volumes
  split: {test: 0.25, validation: 0.25}
task:
  name: volume
  model_options: {blocks: [2, 2], growth: 8, first: 16}
training: {optimiser: adam, learning_rate: 0.01, batch_size: 4, epochs: 1}
engine: {workers: 0, device: cpu}
"""


def volume(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """`(x, y, z)`: a bright lesion in noise, and where it is."""
    scan, mask = rng.normal(0, 100, (16, 16, 12)).astype(np.int16), np.zeros((16, 16, 12), np.uint8)
    at = [int(rng.integers(1, side - 6)) for side in scan.shape]
    window = tuple(slice(start, start + 5) for start in at)
    scan[window], mask[window] = 600, 1
    return scan, mask


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three sites of eight patients, one volume each, as NIfTI."""
    root, rng = tmp_path_factory.mktemp("volumes"), np.random.default_rng(0)
    for site in SITES:
        (root / site).mkdir()
        lines = ["path,mask,patient"]
        for number in range(8):
            for name, values in zip(("scan", "mask"), volume(rng), strict=True):
                nibabel.Nifti1Image(values, np.diag([1.0, 1.0, 2.0, 1.0])).to_filename(
                    root / site / f"{name}{number}.nii.gz"
                )
            lines.append(f"scan{number}.nii.gz,mask{number}.nii.gz,p{number}")
        (root / site / "manifest.csv").write_text("\n".join(lines) + "\n")
    return root


def run(text: str, data, out, *settings: str, resume: bool = False) -> dict:
    return simulate(Request(parse(text, "own.yaml", settings), data, out, resume))


@pytest.fixture(scope="module")
def ended(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    return run(MASKS, folder, out), out


def test_the_report_holds_dice_of_every_model_at_every_site(ended):
    report, out = ended
    assert json.loads((out / "report.json").read_text()) == report
    assert report["kind"] == "segmentation"
    assert report["overall"]["test_examples"] == 6
    assert set(report["overall"]["metrics"]) == {"dice", "iou", "sensitivity", "precision"}
    for name in SITES:
        site = report["sites"][name]
        assert site["classes"] == {"nothing": 4, "lesion": 4}
        for model in ("federated", "local", "pooled", "mixture"):
            assert 0 <= site[model]["dice"]["value"] <= 1
    assert report["curves"]["federated"] == {"roc": None, "calibration": None}
    dice = [each["validation"]["dice"] for each in report["rounds"]]
    assert all(0 <= value <= 1 for value in dice)
    last = report["rounds"][-1]["validation"]
    assert (last["cases"], last["sites"], last["missing"]) == (6, {}, {}), "three sites of two cases, told as a sum"


def test_the_pooled_figures_are_those_of_the_sites_cases(ended):
    report, _ = ended
    found = [report["sites"][name]["federated"]["dice"]["value"] for name in SITES]
    assert report["overall"]["metrics"]["dice"]["value"] == pytest.approx(np.mean(found))


def test_there_is_a_picture_of_every_site(ended):
    report, out = ended
    assert set(report["pictures"]) == set(SITES)
    for picture in report["pictures"].values():
        with Image.open(io.BytesIO(base64.b64decode(picture["png"]))) as image:
            assert image.width > 2 * image.height - 1
        assert 0 <= picture["slice"] < 12
    page = (out / "report.html").read_text()
    assert page.count('src="data:image/png;base64,') == 3
    assert "ROC" not in page
    assert "Validation Dice" in page


def test_the_summary_speaks_of_dice(ended):
    report, out = ended
    text = summary(report, out)
    assert "pooled test (6 cases): Dice 0." in text
    assert "  east: Dice 0." in text
    assert "AUC" not in text


def test_in_processes_the_model_is_the_same(ended, folder, tmp_path):
    report = run(MASKS, folder, tmp_path / "run", "engine.workers=1", "evaluation.baselines=false")
    assert report["model_sha256"] == ended[0]["model_sha256"]


class Stop(Exception):
    pass


def test_a_run_that_was_stopped_goes_on_to_the_same_bits(ended, folder, tmp_path, monkeypatch):
    commit = center._commit

    def stopping(commits, rule, plan, state, clock, memory):
        made = commit(commits, rule, plan, state, clock, memory)
        if state.round == 1:
            raise Stop
        return made

    monkeypatch.setattr(center, "_commit", stopping)
    with pytest.raises(Stop):
        run(MASKS, folder, tmp_path / "run")
    monkeypatch.setattr(center, "_commit", commit)
    report = run(MASKS, folder, tmp_path / "run", resume=True)
    assert report["resumed"] == [1]
    ours, theirs = (wire.load(out / "model.safetensors") for out in (tmp_path / "run", ended[1]))
    assert all(ours[name].tobytes() == theirs[name].tobytes() for name in theirs)


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ("data.normalise=site", "data.normalise: got site, .*allowed for segmentation: none"),
        ("task.patches.size=[8, 8]", r"task.patches.size: got \[8, 8\] for cases of shape \[1, 12, 16, 16\]"),
        ("task={name: segmentation, model: small-cnn}", "model small-cnn cannot be built"),
        ("task.augment=xray", "task.augment: got 'xray', allowed: none, mirror, scan, mirrored-scan"),
    ],
)
def test_what_cannot_be_is_refused_before_a_round(folder, tmp_path, setting, why):
    with pytest.raises(ConfigError, match=why):
        run(MASKS, folder, tmp_path / "run", setting)


def test_masks_for_a_classification_and_classes_for_a_segmentation_are_refused(folder, tmp_path):
    with pytest.raises(DataError, match="one class a case"):
        run(MASKS, folder, tmp_path / "a", "task={name: volume}")


def test_volumes_are_classified(tmp_path, monkeypatch):
    from fedmed.config.part import Part
    from fedmed.sites import readers
    from fedmed.sites.cases import Cases
    from fedmed.sites.readers.reader import Reader

    def read(folder, options, seed):
        rng = np.random.default_rng(0)
        y = np.arange(36) % 2
        x = np.stack([volume(rng)[0].transpose(2, 1, 0) if ill else rng.normal(0, 100, (12, 16, 16)) for ill in y])
        site = np.array([SITES[number // 12] for number in range(36)])
        return Cases(x.astype(np.float32), y, ("well", "ill"), site=site, spatial=3)

    monkeypatch.setitem(readers.READERS, "own-volumes", Reader(read, Part, needs_folder=False))
    report = run(CLASSES, None, tmp_path / "run")
    assert report["kind"] == "classification"
    assert report["pictures"] == {}
    assert set(report["overall"]["metrics"]) >= {"auc", "accuracy"}
    assert report["rounds"][-1]["validation"]["auc"] is not None
    again = run(CLASSES, None, tmp_path / "again", "evaluation.baselines=false")
    assert again["model_sha256"] == report["model_sha256"]
    assert harness.MODEL in {path.name for path in (tmp_path / "run").iterdir()}
