from __future__ import annotations

import secrets
from dataclasses import replace

import numpy as np
import pytest

from fedmed.errors import DataError
from fedmed.learning import private_clinic, weights
from fedmed.learning.clinic import Clinic
from fedmed.learning.order import Order, PrivateWork
from fedmed.learning.private_clinic import changes
from tests.learning.parts import SPEC, order, site


def asked(mode: str, noise: float = 1e-7, clip: float = 0.1) -> Order:
    work = PrivateWork(mode=mode, clip=clip, noise_multiplier=noise, rate=1.0, patients=40.0)
    return order(
        privacy=work, preparation=order().preparation.model_copy(update={"normalise": "none"}), training={"epochs": 1}
    )


def seeds() -> bytes:
    return secrets.token_bytes(24)


def flat(tensors) -> np.ndarray:
    return np.concatenate([np.ravel(value) for value in tensors.values()])


@pytest.mark.parametrize("mode", ["record-local", "record-distributed", "clinic"])
def test_only_changes_of_the_weights_are_made(mode):
    start = weights.fresh(SPEC, 0)
    before = flat(start).copy()
    found = changes(Clinic(site()), asked(mode), start, 40.0, seeds)
    assert {name: value.shape for name, value in found.items()} == {name: value.shape for name, value in start.items()}
    assert np.linalg.norm(flat(found)) > 0
    assert (flat(start) == before).all()


def test_a_local_step_at_full_rate_is_the_distributed_one_but_for_the_noise():
    start = weights.fresh(SPEC, 0)
    one, other = (
        changes(Clinic(site()), asked(mode), start, 40.0, seeds) for mode in ("record-local", "record-distributed")
    )
    np.testing.assert_allclose(flat(one), flat(other), atol=1e-6)


def test_records_of_one_patient_are_one_unit(monkeypatch):
    groups = []
    whole = private_clinic.descent
    monkeypatch.setattr(private_clinic, "descent", lambda *given: groups.append(given[2]) or whole(*given))
    north = site()
    named = replace(north, train=replace(north.train, patient=np.repeat([f"p{n}" for n in range(8)], 5)))
    for each in (north, named):
        changes(Clinic(each), asked("record-distributed"), weights.fresh(SPEC, 0), 40.0, seeds)
    assert [len(found) for found in groups] == [40, 8]


def test_an_empty_site_and_an_order_without_privacy_are_refused():
    with pytest.raises(DataError, match="no training cases"):
        changes(Clinic(site(train=0)), asked("clinic"), weights.fresh(SPEC, 0), 40.0, seeds)
    with pytest.raises(ValueError, match="says nothing of privacy"):
        changes(Clinic(site()), order(), weights.fresh(SPEC, 0), 40.0, seeds)


def test_a_private_order_is_not_answered_in_clear():
    with pytest.raises(DataError, match="no weights, counts or losses leave like this"):
        Clinic(site()).train(asked("clinic"), weights.fresh(SPEC, 0))
