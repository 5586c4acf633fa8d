from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from fedmed.errors import ConfigError
from fedmed.learning import models, weights
from fedmed.learning.order import ModelSpec
from tests.learning.parts import CNN, MLP, SPEC


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        return x * self.factor


NORMED = ModelSpec(name="normed", inputs=(1, 6, 6), classes=2)


@pytest.fixture
def normed(monkeypatch) -> ModelSpec:
    """A model as a user may bring it: with whole numbers and a number without an axis in its state."""

    def factory(inputs, outputs):
        return nn.Sequential(nn.Conv2d(inputs[0], 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, outputs), Scaled())

    monkeypatch.setitem(models.TABLE, "normed", factory)
    return NORMED


def test_first_weights_are_the_seeds_and_leave_torchs_own_numbers_alone():
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    first = weights.fresh(CNN, 42)
    assert torch.equal(torch.rand(3), expected)
    again, other = weights.fresh(CNN, 42), weights.fresh(CNN, 43)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["blocks.0.weight"], other["blocks.0.weight"])


@pytest.mark.parametrize("spec", [SPEC, MLP, CNN], ids=lambda spec: spec.name)
def test_what_is_loaded_is_read_back(spec):
    random = np.random.default_rng(1)
    sent = {name: random.normal(size=v.shape).astype(v.dtype) for name, v in weights.fresh(spec, 0).items()}
    got = weights.read(weights.loaded(spec, sent))
    assert list(got) == list(sent)
    for name, value in sent.items():
        np.testing.assert_array_equal(got[name], value)
        assert got[name].flags.c_contiguous


def test_a_models_whole_numbers_and_numbers_without_an_axis_travel(normed):
    first = weights.fresh(normed, 0)
    assert {first["1.num_batches_tracked"].dtype, first["4.factor"].dtype} == {np.dtype(np.int64), np.dtype(np.float32)}
    assert first["1.num_batches_tracked"].shape == first["4.factor"].shape == ()
    sent = first | {"1.num_batches_tracked": np.array(17), "4.factor": np.array(0.5, np.float32)}
    model = weights.loaded(normed, sent)
    model.train()
    model(torch.randn(2, 1, 6, 6))
    got = weights.read(model)
    assert (got["1.num_batches_tracked"], got["4.factor"]) == (18, 0.5)
    assert weights.read(weights.loaded(normed, sent))["1.num_batches_tracked"] == 17


def test_weights_that_cannot_be_written_are_read_without_a_warning():
    sent = weights.fresh(CNN, 0)
    for value in sent.values():
        value.flags.writeable = False
    model = weights.loaded(CNN, sent)
    with torch.no_grad():
        next(iter(model.parameters())).add_(1)
    assert weights.read(weights.loaded(CNN, sent))["blocks.0.bias"].tolist() == sent["blocks.0.bias"].tolist()


def test_one_model_a_spec_stays_in_the_process():
    first = weights.loaded(MLP, weights.fresh(MLP, 0))
    weights.loaded(CNN, weights.fresh(CNN, 0))
    assert weights.loaded(MLP, weights.fresh(MLP, 1)) is first


def test_what_is_read_is_the_model_itself_until_it_changes():
    model = weights.loaded(SPEC, weights.fresh(SPEC, 0))
    seen = weights.read(model)["1.bias"]
    with torch.no_grad():
        model[1].bias.fill_(7)
    assert seen.tolist() == [7]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"1.bias": None}, r"1.bias: got None, allowed \(1,\)"),
        ({"extra": np.zeros(2)}, r"extra: got \(2,\), allowed None"),
        ({"1.bias": np.zeros(3, np.float32)}, r"1.bias: got \(3,\), allowed \(1,\)"),
        ({f"x{i}": np.zeros(1) for i in range(5)}, "x0.*x1.*x2.*and 2 more"),
    ],
)
def test_weights_of_another_model_are_refused_by_name(change, why):
    sent = {name: value for name, value in (weights.fresh(SPEC, 0) | change).items() if value is not None}
    for use in (weights.loaded, weights.fit_spec):
        with pytest.raises(ConfigError, match=f"these weights are not the model's.*{why}"):
            use(SPEC, sent)


def test_weights_that_fit_take_the_models_order_and_types():
    sent = {name: value.astype(np.float64) for name, value in reversed(weights.fresh(MLP, 0).items())}
    got = weights.fit_spec(MLP, sent)
    assert list(got) == list(weights.fresh(MLP, 0))
    assert {value.dtype for value in got.values()} == {np.dtype(np.float32)}
    assert all(np.array_equal(got[name], weights.fresh(MLP, 0)[name]) for name in got)


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        ((), ()),
        (("4.*",), ("4.factor",)),
        (("*.bias", "0.*"), ("0.weight", "0.bias", "1.bias", "3.bias")),
        (("1.running_*", "*_tracked"), ("1.running_mean", "1.running_var", "1.num_batches_tracked")),
    ],
)
def test_frozen_tensors_are_named_in_the_models_order(normed, patterns, names):
    assert weights.frozen_names(normed, patterns) == names


def test_a_pattern_is_of_whole_names_and_every_idle_one_is_told(normed):
    with pytest.raises(ConfigError, match=r"'bias', '1' names no tensor of the model, which has 0.weight, 0.bias, 1.weight"):
        weights.frozen_names(normed, ("bias", "0.*", "1"))


def test_of_many_tensors_some_are_told(monkeypatch):
    monkeypatch.setitem(models.TABLE, "long", lambda *_: nn.Sequential(nn.Linear(3, 1), *[Scaled() for _ in range(45)]))
    with pytest.raises(ConfigError, match=r"37\.factor, 38\.factor and 7 more$"):
        weights.frozen_names(ModelSpec(name="long", inputs=(3,), classes=2), ("head",))
