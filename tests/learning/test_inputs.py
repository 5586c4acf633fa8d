from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fedmed.errors import DataError
from fedmed.learning.inputs import Scale, moments_of, prepare, scale_of
from fedmed.learning.order import Preparation
from fedmed.sites.prepared import lay_out, open_site
from tests.learning.parts import cases, site


def test_a_site_is_scaled_by_its_own_training_cases():
    north = site()
    made = prepare(north, Preparation(normalise="site"))
    x = made.train[0]
    torch.testing.assert_close(x.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.std(0), torch.ones(3), atol=1e-4, rtol=0)
    mean, std = north.train.x.mean(0), north.train.x.std(0, ddof=1)
    for part in ("validation", "test"):
        np.testing.assert_allclose(getattr(made, part)[0], (getattr(north, part).x - mean) / std, rtol=1e-3, atol=1e-4)
        np.testing.assert_array_equal(getattr(made, part)[1], getattr(north, part).y)


def test_without_a_scale_values_stay():
    made = prepare(site(), Preparation())
    np.testing.assert_array_equal(made.train[0], site().train.x)
    assert made.train[0].dtype == torch.float32
    assert made.train[1].dtype == torch.int64


def test_the_federations_scale_is_that_of_all_cases_together():
    sites = [site("a", train=40), replace(site("b", train=13), train=cases(13, 9))]
    plain = Preparation()
    total = moments_of(sites[0].train, plain) + moments_of(sites[1].train, plain)
    scale = scale_of(total)
    everything = np.concatenate([each.train.x for each in sites])
    np.testing.assert_allclose(scale.mean, everything.mean(0), rtol=1e-5)
    np.testing.assert_allclose(scale.std, everything.std(0, ddof=1), rtol=1e-5)
    told = Preparation(normalise="federated", mean=tuple(map(float, scale.mean)), std=tuple(map(float, scale.std)))
    joined = torch.cat([prepare(each, told).train[0] for each in sites])
    torch.testing.assert_close(joined.std(0), torch.ones(3), atol=1e-4, rtol=0)


@pytest.mark.parametrize("features", ["image", "standardised-image", "invariants"])
def test_images_are_scaled_place_by_place(features):
    north = site(shape=(8, 8), kind=np.uint8)
    made = prepare(north, Preparation(normalise="site", features=features))
    x = made.train[0].flatten(1)
    assert made.train[0].shape[1:] == ((1, 8, 8) if "image" in features else (64 + 64 + 40 + 64 + 6,))
    torch.testing.assert_close(x.mean(0), torch.zeros(x.shape[1]), atol=1e-3, rtol=0)
    assert (x.std(0)[x.std(0) > 0] - 1).abs().max() < 0.05


def test_values_are_clipped_after_scaling_only():
    wild = replace(
        site(), train=replace(site().train, x=np.concatenate([np.full((1, 3), 1e6, np.float32), site().train.x[1:]]))
    )
    made = prepare(wild, Preparation(normalise="site", clip=2.0))
    assert made.train[0].max() == 2.0
    assert prepare(wild, Preparation(clip=2.0)).train[0].max() == 1e6


def test_a_scale_given_overrides_what_is_prepared():
    scale = Scale(np.full(3, 100, np.float32), np.full(3, 50, np.float32))
    made = prepare(site(), Preparation(normalise="site"), scale)
    np.testing.assert_allclose(made.train[0], (site().train.x - 100) / 50, rtol=1e-6)


def test_a_constant_feature_is_zero():
    flat = site().train.x.copy()
    flat[:, 1] = 7.3
    made = prepare(replace(site(), train=replace(site().train, x=flat)), Preparation(normalise="site"))
    assert made.train[0][:, 1].abs().max() == 0


def test_a_single_case_can_be_scaled():
    made = prepare(site(train=1), Preparation(normalise="site"))
    assert torch.isfinite(made.train[0]).all()


def test_empty_parts_stay_empty():
    made = prepare(site(validation=0, test=0), Preparation(normalise="site"))
    assert (made.validation[0].shape, made.validation[1].shape) == ((0, 3), (0,))


@pytest.mark.parametrize("part", ["train", "validation", "test"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused_with_the_sites_name(part, value):
    broken = getattr(site("north"), part).x.copy()
    broken[[2, 5], 1] = value
    sick = replace(site("north"), **{part: replace(getattr(site("north"), part), x=broken)})
    with pytest.raises(DataError, match=r"site north: 2 of \d+ cases hold values that are not finite"):
        prepare(sick, Preparation())


def test_the_sites_own_arrays_are_not_shared_with_training():
    north = site()
    made = prepare(north, Preparation())
    made.train[1][:] = 0
    assert north.train.y.any()


@pytest.mark.parametrize("features", ["plain", "image", "standardised-image"])
def test_cases_mapped_from_disk_are_read_without_a_warning(features, tmp_path):
    shape = (3,) if features == "plain" else (8, 8)
    lay_out([site(shape=shape)], tmp_path / "sites")
    made = prepare(open_site(tmp_path / "sites", 0), Preparation(features=features))
    np.testing.assert_array_equal(made.train[0], prepare(site(shape=shape), Preparation(features=features)).train[0])
