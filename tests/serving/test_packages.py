from __future__ import annotations

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from fedmed.errors import PackageRefused
from fedmed.serving import packages
from fedmed.serving.card import File
from fedmed.serving.packages import FP32, GOLDEN, U8S8, Package
from tests.serving.models import card, golden, linear, written


def refused(folder, told: str) -> None:
    with pytest.raises(PackageRefused, match=told):
        Package.load(folder)


def test_what_is_written_is_loaded(tmp_path):
    package = written(tmp_path / "a")
    assert package.models.keys() == {FP32}
    assert np.array_equal(package.golden.logits, golden()["logits"])
    assert written(tmp_path / "b").card.digest == package.card.digest


def test_an_altered_file_is_named(tmp_path):
    written(tmp_path)
    content = (tmp_path / FP32).read_bytes()
    for changed in (content[:-1], content[:-1] + bytes([content[-1] ^ 1]), content + b"\0"):
        (tmp_path / FP32).write_bytes(changed)
        refused(tmp_path, r"model\.onnx: got .* altered")


def test_one_model_alone_is_read_and_still_checked(quantised):
    package = Package.load(quantised.folder, (U8S8,))
    assert package.models.keys() == {U8S8}
    assert (package.card, package.models[U8S8]) == (quantised.card, quantised.models[U8S8])
    assert packages.read_card_of(quantised.folder) == quantised.card


def test_what_is_not_read_is_not_checked_and_what_is_is(tmp_path, quantised):
    shutil.copytree(quantised.folder, tmp_path / "package")
    (tmp_path / "package" / FP32).write_bytes(b"altered")
    assert Package.load(tmp_path / "package", (U8S8,)).models
    with pytest.raises(PackageRefused, match="altered"):
        Package.load(tmp_path / "package", (FP32,))
    (tmp_path / "package" / "run.sh").touch()
    with pytest.raises(PackageRefused, match=r"not on the card: run\.sh"):
        Package.load(tmp_path / "package", (U8S8,))


def test_missing_and_additional_files(tmp_path):
    package = written(tmp_path)
    (tmp_path / "run.sh").touch()
    refused(tmp_path, r"not on the card: run\.sh")
    (tmp_path / "run.sh").unlink()
    (tmp_path / GOLDEN).unlink()
    refused(tmp_path, r"golden\.safetensors")
    (tmp_path / packages.CARD).write_bytes(card().with_file(FP32, package.card.files[FP32]).write())
    refused(tmp_path, r"golden\.safetensors not listed")
    (tmp_path / packages.CARD).write_bytes(package.card.with_file("../x", File("a" * 64, 1)).write())
    refused(tmp_path, r"unknown files \.\./x")
    refused(tmp_path / "nowhere", r"card\.json cannot be read")


def test_links_and_pipes_are_no_files(tmp_path):
    written(tmp_path / "package")
    model = tmp_path / "package" / FP32
    model.rename(tmp_path / "elsewhere")
    model.symlink_to(tmp_path / "elsewhere")
    refused(tmp_path / "package", "cannot be read")
    model.unlink()
    os.mkfifo(model)
    refused(tmp_path / "package", "plain file")


def test_caps(tmp_path, monkeypatch):
    written(tmp_path)
    monkeypatch.setitem(packages.MAX_BYTES, FP32, 10)
    refused(tmp_path, "allowed are 10")


def test_shapes_that_are_not_those_of_the_card(tmp_path):
    with pytest.raises(PackageRefused, match=r"input has the shape \[4\], on the card it is \[5\]"):
        written(tmp_path, said=card(inputs=(5,)))
    with pytest.raises(PackageRefused, match=r"output has the shape \[1\], on the card it is \[3\]"):
        written(tmp_path, said=card(outputs=(3,), classes=("a", "b", "c")))
    with pytest.raises(PackageRefused, match="operators of set 18, the card tells 19"):
        written(tmp_path, said=card(opset=19))
    model = linear()
    model.graph.output.append(model.graph.output[0])
    with pytest.raises(PackageRefused, match="2 outputs"):
        written(tmp_path, model.SerializeToString())


@pytest.mark.parametrize(
    ("tensors", "told"),
    [
        ({"more": np.zeros(1, np.float32)}, "got inputs, logits, more"),
        ({"logits": np.full((6, 1), np.nan, np.float32)}, "finite"),
        ({"logits": np.zeros((5, 1), np.float32)}, "logits"),
        ({"inputs": np.zeros((6, 4), np.float64)}, "float64"),
        ({"inputs": np.zeros((0, 4), np.float32), "logits": np.zeros((0, 1), np.float32)}, "0 cases"),
    ],
)
def test_golden_cases_that_are_none(tmp_path, tensors, told):
    with pytest.raises(PackageRefused, match=told):
        written(tmp_path, **tensors)


def test_an_int8_model_is_checked_as_well(tmp_path):
    package = written(tmp_path)
    with pytest.raises(PackageRefused, match=r"model\.u8s8\.onnx"):
        packages.write_package(tmp_path, package.card, {U8S8: b"\x08\x09"})
    with pytest.raises(PackageRefused, match=r"needed: inputs, logits, logits\.u8s8"):
        packages.write_package(tmp_path, package.card, {U8S8: package.models[FP32]})


def test_a_card_for_other_files_is_no_way_around(tmp_path):
    package = written(tmp_path)
    swapped = replace(package.card, files={FP32: package.card.files[GOLDEN], GOLDEN: package.card.files[FP32]})
    (tmp_path / packages.CARD).write_bytes(swapped.write())
    refused(tmp_path, "altered")
