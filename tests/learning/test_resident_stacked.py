from __future__ import annotations

import pytest
import torch

from fedmed.learning import resident_stacked, weights
from fedmed.learning.crowd import Resident, Told
from fedmed.learning.order import ModelSpec
from fedmed.learning.resident_stacked import Stacked
from tests.learning.test_resident_fold import CNN, MLP, members, order

RESNET = ModelSpec(name="resnet18", inputs=(1, 8, 8), classes=3, options={"width": 8})


@pytest.mark.parametrize("together", [2, 32])
@pytest.mark.parametrize(
    ("spec", "work"),
    [
        *((spec, work) for spec in (CNN, MLP) for work in ({}, {"epochs": 2}, {"epochs": None, "steps": 3})),
        (RESNET, {}),  # with more steps its rounding grows beyond any bound that says something
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_members_side_by_side_are_members_one_by_one(monkeypatch, spec, work, together):
    monkeypatch.setattr(resident_stacked, "TOGETHER", together)
    crowd, an_order = members(spec, [3, 16, 21, 1, 40]), order(spec, balanced=False, training=work)
    alone = Resident(an_order, fast=False)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        start = torch.cat([value.flatten() for value in weights.built(spec).state_dict().values()])
    with torch.no_grad():
        side_by_side = {
            name: (torch.cat([each.flatten() for each in found]), loss)
            for name, found, loss in Stacked(weights.built(spec), torch.device("cpu")).each(
                [(member.name, member.cases) for member in crowd], an_order, alone._views(start)
            )
        }
    assert len(side_by_side) == len(crowd)
    for member, model, loss in alone.each(crowd, an_order, start, Told()):
        found, its_loss = side_by_side[member.name]
        assert float((torch.cat([each.flatten() for each in model]) - found).abs().max()) < 1e-5
        assert its_loss == pytest.approx(loss, rel=1e-4)
        assert float((found - start).abs().max()) > 1e-3
