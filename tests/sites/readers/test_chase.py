from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from fedmed.config.scenario import Data, Partition, Split
from fedmed.errors import DataError
from fedmed.sites.prepare import sites_of
from fedmed.sites.readers.chase import SITES, ChaseOptions, read_chase
from fedmed.sites.readers.reader import MissingData


@pytest.fixture(scope="module")
def folder(shared_data):
    return shared_data / "chase_db1"


@pytest.fixture(scope="module")
def cases(folder):
    return read_chase(folder, ChaseOptions(), 0)


def test_28_photographs_of_14_children_at_three_sites(cases):
    assert cases.x.shape == cases.y.shape == (28, 960, 999)
    assert (cases.x.dtype, cases.y.dtype) == (np.uint8, np.uint8)
    assert cases.classes == ("background", "vessel")
    assert len(set(cases.patient.tolist())) == 14
    assert {name: int((cases.site == name).sum()) for name in SITES} == dict(zip(SITES, (10, 10, 8), strict=True))
    assert 0.05 < cases.y.mean() < 0.1


def test_green_is_the_second_channel_and_the_graders_differ(folder, cases):
    with Image.open(folder / "Image_03R.jpg") as picture:
        green = np.asarray(picture)[..., 1]
    assert np.array_equal(cases.x[5], green)
    second = read_chase(folder, ChaseOptions(grader=2), 0)
    both = (second.y & cases.y).sum() * 2 / (second.y.sum() + cases.y.sum())
    assert 0.7 < both < 0.9


def test_a_child_is_on_one_side_of_the_split_with_both_eyes(shared_data):
    split = Split(test=0.2, validation=0.2)
    data = Data(reader="chase", folder="chase_db1", partition=Partition(), split=split)
    sites = sites_of(data, shared_data, 7, "")
    assert [len(site.train) for site in sites] == [6, 6, 4]
    assert [len(site.test) for site in sites] == [len(site.validation) for site in sites] == [2, 2, 2]
    for site in sites:
        sides = [set(part.patient.tolist()) for part in (site.train, site.validation, site.test)]
        assert sum(map(len, sides)) == len(set.union(*sides))


def test_what_is_missing_or_of_another_size_is_named(folder, tmp_path):
    with pytest.raises(MissingData, match=r"Image_01L\.jpg"):
        read_chase(tmp_path, ChaseOptions(), 0)
    for name in ("Image_01L.jpg", "Image_01L_1stHO.png"):
        shutil.copy(folder / name, tmp_path / name)
    Image.fromarray(np.zeros((10, 12, 3), np.uint8)).save(tmp_path / "Image_01L.jpg")
    with pytest.raises(DataError, match=r"Image_01L.jpg: has \(10, 12\) pixels; CHASE_DB1 has \(960, 999\)"):
        read_chase(tmp_path, ChaseOptions(), 0)
