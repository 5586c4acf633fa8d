from __future__ import annotations

import tempfile

import numpy as np
import pytest
from pydantic import ValidationError

from fedmed.errors import DataError
from fedmed.sites.readers.nodules import HOSPITALS, NodulesOptions, read_nodules

FEW = NodulesOptions(share=0.2, size=(8, 16, 20), spacing_mm=(15.0, 16.0, 16.0), workers=1)


def test_three_hospitals_with_a_study_each_that_is_set_aside():
    cases = read_nodules(None, FEW, 3)
    assert cases.site is not None
    assert set(cases.site) == {hospital.name for hospital in HOSPITALS}
    assert (cases.x.shape[1:], cases.spatial) == ((8, 16, 20), 3)
    assert all(mask.any() for mask in cases.y)
    found = {site: aside.reason for site, aside in cases.set_aside}
    assert found == {"east-city": "truncated", "north-university": "missing-slices", "south-childrens": "duplicate-slices"}


def test_the_seed_decides_and_no_file_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    one, again, other = (read_nodules(None, FEW, seed) for seed in (3, 3, 4))
    assert np.array_equal(one.x, again.x)
    assert not np.array_equal(one.x, other.x)
    assert not list(tmp_path.iterdir())


def test_its_options_have_the_bounds_of_any_studies():
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        NodulesOptions(size=(0, 1, 2))


def test_a_full_disk_is_said_so(small_disk, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    with pytest.raises(DataError, match="make room or set TMPDIR"):
        read_nodules(None, FEW, 3)
