from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedmed.errors import DataError
from fedmed.preprocess.pipeline import Pipeline, Step
from fedmed.sites import prepared
from fedmed.sites.cases import Cases, Site

PIPELINE = Pipeline((Step("resample", {"size": (8, 8)}),))


def cases(count: int) -> Cases:
    rng = np.random.default_rng(count)
    return Cases(
        rng.normal(size=(count, 8, 8)).astype(np.float32),
        rng.integers(0, 2, count),
        ("a", "b"),
        patient=np.array([f"p{n // 2}" for n in range(count)]),
        spacing_mm=np.full((count, 3), (np.nan, 0.5, 0.7), np.float32),
        orientation=np.array(["LF", "LPH", "what"] * count)[:count],
    )


def site(name: str = "north") -> Site:
    return Site(name, cases(12), cases(4), cases(3), PIPELINE)


def test_a_site_comes_back_with_what_its_fingerprint_needs(tmp_path):
    prepared.lay_out([site(), replace(site("south"), pipeline=Pipeline(()))], tmp_path / "sites")
    found = prepared.open_site(tmp_path / "sites", 0)
    assert (found.name, found.pipeline) == ("north", PIPELINE)
    assert prepared.open_site(tmp_path / "sites", 1).pipeline == Pipeline(())
    assert np.array_equal(found.train.x, site().train.x)
    np.testing.assert_array_equal(found.train.spacing_mm, site().train.spacing_mm)
    assert found.train.orientation.tolist() == ["LF", "LPH", "?"] * 4
    assert found.train.patient.tolist() == [str(n) for n in (0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5)]
    assert found.test.patient is None


def test_whose_a_case_is_stays_out_of_the_file(tmp_path):
    named = replace(site().train, patient=np.array(["Mustermann^Max"] * 12))
    prepared.lay_out([replace(site(), train=named)], tmp_path / "sites")
    assert not any(b"Mustermann" in path.read_bytes() for path in (tmp_path / "sites").iterdir())


def test_a_version_is_of_the_data_and_of_nothing_else(tmp_path):
    def version(one: Site) -> str:
        prepared.lay_out([one], tmp_path / "sites")
        return prepared.open_site(tmp_path / "sites", 0).version

    first = version(site())
    assert version(replace(site(), name="renamed", pipeline=Pipeline(()))) == first
    assert version(replace(site(), train=site().train.take(np.arange(11)))) != first


def test_sites_laid_out_anew_are_told_apart_from_those_before(tmp_path):
    prepared.lay_out([site()], tmp_path / "sites")
    first = prepared.laid_out(tmp_path / "sites")
    assert prepared.laid_out(tmp_path / "sites") == first
    prepared.lay_out([site()], tmp_path / "sites")
    assert prepared.laid_out(tmp_path / "sites") == first
    prepared.lay_out([replace(site(), test=cases(5))], tmp_path / "sites")
    assert prepared.laid_out(tmp_path / "sites") != first
    with pytest.raises(DataError, match="holds no sites"):
        prepared.laid_out(tmp_path)


def test_a_set_without_such_columns_is_laid_out_as_before(tmp_path):
    plain = replace(site().train, patient=None, spacing_mm=None, orientation=None)
    prepared.lay_out([replace(site(), train=plain)], tmp_path / "sites")
    train = prepared.open_site(tmp_path / "sites", 0).train
    assert (train.patient, train.spacing_mm, train.orientation) == (None, None, None)
    with pytest.raises(DataError, match="number 1"):
        prepared.open_site(tmp_path / "sites", 1)


def test_a_site_is_told_what_it_does_to_its_federation_and_an_honest_one_nothing(tmp_path):
    told = {"north": [{"kind": "sign-flip"}]}
    with_attacks = prepared.lay_out([site(), site("south")], tmp_path / "sites", told)
    assert [prepared.attacks_of(tmp_path / "sites", number) for number in (0, 1)] == [told["north"], []]
    assert with_attacks == prepared.lay_out([site(), site("south")], tmp_path / "sites"), "the data is the same"
    assert prepared.attacks_of(tmp_path / "sites", 0) == []
    with pytest.raises(DataError, match="site number 7 cannot be looked up"):
        prepared.attacks_of(tmp_path / "sites", 7)
