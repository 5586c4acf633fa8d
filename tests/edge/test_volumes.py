from __future__ import annotations

import hashlib
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from fedmed.dicom.limits import LIMITS
from fedmed.dicom.sources import Source, of_bytes
from fedmed.dicom.synthetic.ct_phantom import Protocol, synthesise, write
from fedmed.dicom.synthetic.traps import TRAPS, write_trap
from fedmed.edge.preparing import recipe_of
from fedmed.edge.volumes import AMBIGUOUS, VolumeRecipe, read_series
from fedmed.errors import ConfigError
from fedmed.learning.inputs import Scale
from fedmed.preprocess.grid import Grid, to_voxel
from fedmed.preprocess.pipeline import Pipeline, Step
from fedmed.serving.card import Preparation
from fedmed.sites.cases import SetAside
from fedmed.sites.studies import Study, Target, Workshop, prepared
from tests.edge.series import TARGET, card
from tests.edge.test_light import HEAVY, ROOT

PROTOCOL = Protocol(slices=7, rows=32, columns=24, gap_mm=11.0, spacing_mm=(10.0, 9.0))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(synthesise(3, "ct", PROTOCOL).slices, tmp_path / "series")
    return tmp_path / "series"


def sources(folder: Path, seed: int = 1) -> list[Source]:
    """As they come: in any order, called by their UIDs."""
    contents = [path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "DIRFILE"]
    random.Random(seed).shuffle(contents)
    return [of_bytes(named(content), content) for content in contents]


def named(content: bytes) -> str:
    return str(pydicom.dcmread(pydicom.filebase.DicomBytesIO(content), stop_before_pixels=True).SOPInstanceUID)


def training(folder: Path, target: Target = TARGET) -> Study:
    [found] = [each for each in prepared(folder, Workshop(target)) if isinstance(each, Study)]
    return found


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_device_prepares_a_series_to_the_bit_as_training_does(folder: Path, backend: str, seed: int, monkeypatch):
    monkeypatch.setenv("FEDMED_BACKEND", backend)
    there, read = training(folder), read_series(sources(folder, seed), TARGET)
    assert read.study is not None
    assert read.study.image.tobytes() == there.image.tobytes()
    assert read.study.slices == there.slices
    assert (read.refused, read.backend) == ((), backend)
    recipe = recipe_of(card())
    assert isinstance(recipe, VolumeRecipe)
    [values] = recipe.inputs(read.study.image)
    assert values.shape == (1, 1, *TARGET.size)
    assert values.tobytes() == there.image.tobytes()


LIGHT = f"""
import hashlib, sys
from pathlib import Path
class Heavy:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY!r}:
            raise ModuleNotFoundError(name + " is not on a light device", name=name)
sys.meta_path.insert(0, Heavy())
from fedmed.dicom.sources import of_bytes
from fedmed.edge.volumes import read_series
from fedmed.sites.studies import Target
given = [of_bytes(path.name, path.read_bytes()) for path in Path(sys.argv[1]).iterdir()]
read = read_series(given, Target({TARGET.size}, {TARGET.spacing_mm}, {TARGET.window}))
print(read.backend, hashlib.sha256(read.study.image.tobytes()).hexdigest())
"""


def test_a_light_device_without_numba_or_pytorch_prepares_a_series_to_the_bit_of_the_definition(folder: Path, monkeypatch):
    command = [sys.executable, "-c", LIGHT, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    monkeypatch.setenv("FEDMED_BACKEND", "numpy")
    assert done.stdout.split() == ["numpy", hashlib.sha256(training(folder).image.tobytes()).hexdigest()]


REAL = {
    "acrin_chest_petct_49": Target((40, 64, 64), (5.0, 7.0, 7.0), (-1000.0, 400.0)),
    "philips_phantom_5mm_28": Target((16, 48, 48), (6.0, 5.0, 5.0), (-200.0, 300.0)),
    "philips_phantom_tilt_54": Target((24, 48, 48), (6.0, 5.0, 5.0), (-200.0, 300.0)),
}


@pytest.mark.parametrize("name", REAL)
def test_real_series_in_any_order_are_prepared_to_the_bit_as_training_does(shared_data: Path, name: str):
    """The real CT series of shared/data/ct; the tilted one is straightened."""
    folder = shared_data / "ct" / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not here: the real CT series")
    there, read = training(folder, REAL[name]), read_series(sources(folder), REAL[name], workers=2)
    assert read.study is not None
    assert read.study.image.tobytes() == there.image.tobytes()
    assert (read.study.slices, read.study.kernel) == (there.slices, there.kernel)
    assert 0.02 < read.study.image.mean() < 0.98


def test_the_federations_scale_is_applied_as_in_training(folder: Path):
    count = int(np.prod(TARGET.size))
    rng = np.random.default_rng(1)
    mean, std = rng.normal(size=count).astype(np.float32), rng.uniform(0.5, 2, count).astype(np.float32)
    scaled = Preparation("image", tuple(map(float, mean)), tuple(map(float, std)), 1.5)
    recipe = recipe_of(replace(card(), preparation=scaled))
    assert isinstance(recipe, VolumeRecipe)
    image = training(folder).image
    [made] = recipe.inputs(image)
    assert made.tobytes() == Scale(mean, std).apply(image[None, None], 1.5).tobytes()


def test_each_slice_is_a_case_where_training_took_slices(folder: Path):
    recipe = recipe_of(card("segmentation", sliced=True))
    assert isinstance(recipe, VolumeRecipe)
    image = training(folder).image
    made = list(recipe.inputs(image))
    assert [each.shape for each in made] == [(1, 1, *TARGET.size[1:])] * TARGET.size[0]
    assert np.concatenate(made)[:, 0].tobytes() == image.tobytes()


def steps(**changes: dict) -> Pipeline:
    made = [Step(each.name, {**each.parameters, **changes.get(each.name, {})}) for each in TARGET.pipeline().steps]
    return Pipeline(tuple(made))


@pytest.mark.parametrize(
    ("pipeline", "said"),
    [
        (steps(resample={"how": "nearest"}), "resample.how trilinear instead of nearest"),
        (steps(orient={"axes": "as they are"}), "cannot prepare volumes as the model's training did: orient.axes"),
        (steps(resample={"size": (8, 16)}), r"resample.size is \(8, 16\); a device prepares volumes with 3 numbers"),
        (steps(resample={"size": (8.5, 16, 16)}), r"volumes have \[8.5, 16, 16\] voxels"),
        (steps(resample={"size": (513, 512, 512)}), "a device prepares 1 to 134217728 in all"),
        (steps(resample={"size": ("a", "b", "c")}), "with 3 numbers there"),
        (steps(resample={"spacing_mm": (0.0, 1.0, 1.0)}), r"voxels of \[0.0, 1.0, 1.0\] mm"),
        (steps(window={"from": (400.0, -1000.0)}), "a window from 400.0 to -1000.0"),
        (Pipeline((Step("orient", {}),)), "resample.size is None"),
        (Target((8, 16, 17), TARGET.spacing_mm, TARGET.window).pipeline(), r"a device takes volumes of \[1, 8, 16, 17\]"),
    ],
)
def test_what_training_did_otherwise_is_refused(pipeline: Pipeline, said: str):
    with pytest.raises(ConfigError, match=said):
        recipe_of(replace(card(), pipeline=pipeline))


def test_a_label_for_each_slice_of_a_volume_is_nothing_that_training_makes():
    with pytest.raises(ConfigError, match="for masks slices of"):
        recipe_of(card(sliced=True))


def changed(given: Sequence[Source], place: int, **values: object) -> list[Source]:
    made = list(given)
    dataset = pydicom.dcmread(pydicom.filebase.DicomBytesIO(made[place].head(made[place].size)))
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    buffer = pydicom.filebase.DicomBytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    content = buffer.getvalue()
    made[place] = of_bytes(named(content), content)
    return made


def test_what_cannot_be_trusted_is_named_with_its_reason_as_training_names_it(folder: Path):
    given = sorted(sources(folder), key=lambda source: source.name)
    gap = read_series([*given[:2], *given[3:]], TARGET)
    assert gap.study is None
    assert {each.reason for each in gap.refused} <= {"missing-slices", "irregular-spacing"}
    assert len(gap.refused[0].sop_instances) == 6
    cut = of_bytes(given[2].name, given[2].head(given[2].size - 300))
    read = read_series([*given[:2], cut, *given[3:]], TARGET)
    assert read.study is None
    assert "truncated" in {each.reason for each in read.refused}
    assert any(given[2].name in each.sop_instances for each in read.refused)
    mixed = read_series(changed(given, 1, PatientID="another"), TARGET)
    assert (mixed.study, [each.reason for each in mixed.refused]) == (None, ["mixed-patients"])


def test_several_volumes_in_one_series_are_refused_since_training_would_not_know_which(folder: Path):
    given = [of_bytes(named(content), content) for content in (path.read_bytes() for path in sorted(folder.iterdir()))]
    for place in range(3):
        given = changed(given, place, ImageType=["DERIVED", "SECONDARY", "MPR"])
    read = read_series(given, TARGET)
    assert read.study is None
    assert [(each.reason, len(each.sop_instances)) for each in read.refused] == [(AMBIGUOUS, 7)]


@pytest.mark.parametrize("name", TRAPS)
def test_series_that_mislead_are_read_or_refused_as_training_does(name: str, tmp_path: Path):
    write_trap(name, tmp_path / "series", 5, replace(PROTOCOL, slices=12))
    there = list(prepared(tmp_path / "series", Workshop(TARGET)))
    read = read_series(sources(tmp_path / "series"), TARGET)
    studies = [each for each in there if isinstance(each, Study)]
    if TRAPS[name].reason is None:
        [study] = [each for each in studies if each.shape[0] > 1]  # and the scout
        assert read.study is not None
        assert read.study.image.tobytes() == study.image.tobytes()
        assert (read.study.slices, read.study.frames) == (study.slices, study.frames)
        assert [each.reason for each in read.refused] == ["scout"] * (len(studies) - 1)
    else:
        assert (read.study, studies) == (None, [])
        assert {each.reason for each in read.refused} == {each.reason for each in there if isinstance(each, SetAside)}
        assert all(each.sop_instances for each in read.refused if each.reason != "truncated")


def test_a_volume_beyond_the_limits_is_refused_before_it_is_decoded(folder: Path):
    read = read_series(sources(folder), TARGET, limits=replace(LIMITS, decoded_bytes=7 * 32 * 24 * 2 - 1))
    assert read.study is None
    assert [each.reason for each in read.refused] == ["too-large"]
    assert len(read.refused[0].sop_instances) == 7


def test_a_mask_comes_back_on_the_scanners_own_voxels(folder: Path):
    recipe = recipe_of(card("segmentation"))
    assert isinstance(recipe, VolumeRecipe)
    study = training(folder)
    mask = np.random.default_rng(1).integers(1, 3, TARGET.size).astype(np.uint8)
    found = recipe.back(mask, study)
    assert found.shape == study.shape == PROTOCOL.shape
    matrix = to_voxel(study.grid.affine, Grid(study.scanned, study.shape))
    for at in np.ndindex(*study.shape):
        place = matrix @ [*at, 1.0]
        nearest = np.floor(place + 0.5 + 1e-6).astype(int)
        inside = ((nearest >= 0) & (nearest < TARGET.size)).all()
        assert found[at] == (mask[tuple(nearest)] if inside else 0)


def test_the_same_series_by_files_and_from_memory_is_set_aside_alike(folder: Path):
    first = next(folder.iterdir())
    first.unlink()
    middle = sorted(folder.iterdir())[2]
    middle.unlink()
    [there] = [each for each in prepared(folder, Workshop(TARGET)) if isinstance(each, SetAside)]
    read = read_series(sources(folder), TARGET)
    assert [(each.reason, each.sentence) for each in read.refused] == [(there.reason, there.sentence)]
