from __future__ import annotations

import pytest

from fedmed.errors import ConfigError
from fedmed.privacy.secagg.layout import Tensor
from fedmed.privacy.secagg.parameters import MAX_NAME
from fedmed.tiers.terms import Way, layout_for, mode_in, privacy_fault, scope, told, way_for


def test_a_scope_is_no_name_that_a_federation_can_have_and_each_clinics_own():
    assert scope("fed", "berlin") == "fed / devices of berlin"
    found = {scope(fed, clinic) for fed in ("fed", "fed2") for clinic in ("berlin", "paris")}
    assert len(found) == 4


def test_a_long_scope_still_fits():
    assert len(scope("f" * 190, "c" * 64).encode()) <= MAX_NAME
    assert scope("f" * 190, "c" * 64) != scope("g" * 190, "c" * 64)


@pytest.mark.parametrize(
    ("known", "way"), [(0, Way.PLAIN), (1, Way.PLAIN), (2, Way.PLAIN), (3, Way.MASKED), (40, Way.MASKED)]
)
def test_from_three_devices_on_they_are_masked(known, way):
    assert way_for(known) is way


def test_what_is_shown_says_what_it_protects_against_and_what_not():
    assert "a hub that reads along" in told(Way.MASKED, 3)
    assert "does not keep them from a hub that enrols" in told(Way.MASKED, 3)
    assert "inside the clinic's own trust" in told(Way.PLAIN, 2)
    assert told(Way.PLAIN, 1).startswith("1 device of")


@pytest.mark.parametrize("devices", [1, 3, 12, 128])
@pytest.mark.parametrize("bound", [1.0, 64.0])
def test_no_sum_of_devices_overflows(devices, bound):
    scale = layout_for([Tensor("w", (3,))], bound, devices, 10**6).scale
    assert scale.bits == 32
    assert devices * (scale.limit * scale.factor + 1) <= 2**31 - 1


def test_lanes_that_would_drown_a_model_are_refused():
    with pytest.raises(ConfigError):
        layout_for([Tensor("w", (3,))], 1e9, 3, 100)


def test_modes_of_differential_privacy():
    assert privacy_fault(None) is None
    assert privacy_fault("clinic") is None
    assert "Take mode clinic" in (privacy_fault("record-local") or "")
    assert "charged once" in (privacy_fault("record-distributed") or "")


@pytest.mark.parametrize("order", ["", "{", "[1]", "{}", '{"privacy": 3}', '{"privacy": {"mode": 1}}', "[" * 100_000])
def test_an_order_without_a_mode_has_none(order):
    assert mode_in(order) is None
    assert mode_in('{"privacy": {"mode": "clinic"}}') == "clinic"
