from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedmed.errors import DataError
from fedmed.privacy.secagg.layout import Layout
from fedmed.privacy.secagg.questions import update_fields
from fedmed.tiers import messages
from fedmed.tiers.messages import Failed, Plain, Task, kind_of
from fedmed.tiers.terms import Way, layout_for
from tests.tiers.clinic import ORDER, Data, clinic, data, model, work

SETS = {"d0": data(0, 50), "d1": data(1, 70)}
ASKED = work(model())
LAYOUT = layout_for(ASKED.tensors, 64.0, 2, 70, ASKED.own)


def answer(layout: Layout | bytes = LAYOUT, order: str = ORDER, given=None, device: str = "d0", sets=None):
    there = clinic(SETS if sets is None else sets)
    told = layout if isinstance(layout, bytes) else layout.canonical()
    said = there.devices[device].answer(Task(Way.PLAIN, b"", told, order, model() if given is None else given).encode())
    return there, said


def refused(*args, **kwargs) -> str:
    _, said = answer(*args, **kwargs)
    assert kind_of(said) == messages.FAILED
    return Failed.decode(said).reason


def test_what_it_trained_and_what_it_says_of_it():
    _, said = answer()
    read = Plain.decode(said)
    assert (read.cases, read.metrics["lesions"]) == (50, 3.0)
    assert all(np.array_equal(read.change[name], SETS["d0"].change[name]) for name in ("w", "b"))


def test_a_bound_that_would_tell_of_data_is_refused_before_any_is_looked_at():
    assert "a bound of at least 64" in refused(replace(LAYOUT, bound=1.0))


def test_a_weight_below_what_it_declared_is_refused():
    assert "the size that this site declared" in refused(layout_for(ASKED.tensors, 64.0, 2, 49, ASKED.own))


def test_numbers_that_no_round_asks_for_are_refused():
    more = (*LAYOUT.fields, *update_fields(70, {"age": 120.0})[3:])
    assert "other numbers than" in refused(replace(LAYOUT, fields=more))


def test_a_layout_that_is_none_is_refused():
    assert "a layout" in refused(b"no layout")


def test_a_training_that_cannot_be_done_is_withheld_and_its_reason_is_in_the_own_log():
    class Empty(Data):
        def train(self, order, model):
            raise DataError("site d0 has no training cases")

    there, said = answer(sets={**SETS, "d0": Empty({}, 50)})
    assert Failed.decode(said).reason == "the device sends nothing in this round; its own log says why"
    assert there.logs["d0"] == ["site d0 has no training cases"]


def test_a_model_without_a_tensor_of_the_layout_is_withheld():
    given = model()
    del given["b"]
    there, said = answer(given=given)
    assert kind_of(said) == messages.FAILED
    assert "tensor 'b'" in there.logs["d0"][-1]


def test_a_loss_without_bounds_is_told_as_undefined():
    odd = {**SETS, "d0": replace(SETS["d0"], loss=float("inf"))}
    _, said = answer(sets=odd)
    assert Plain.decode(said).metrics["loss"] is None


@pytest.mark.parametrize("order", ["", "{", "[]", "7", '{"training": {"metrics": {"lesions": -1}}}'])
def test_an_order_that_declares_nothing_or_nonsense_is_refused(order):
    assert refused(order=order)


def test_work_under_a_record_mode_is_refused():
    order = ORDER[:-1] + ', "privacy": {"mode": "record-local"}}'
    assert "would count twice" in refused(order=order)


@pytest.mark.parametrize("request_", [b"", b"FMSA", b"FMSA\1\x50", b"FMSA\1\x40", b"x" * 100])
def test_bytes_that_are_no_request_are_refused(request_):
    said = clinic(SETS).devices["d0"].answer(request_)
    assert kind_of(said) == messages.FAILED


def test_asked_the_same_masked_round_again_it_sends_the_same_bytes():
    kept: list[bytes] = []

    def before(device: str, request: bytes) -> bytes:
        if device == "d0" and kind_of(request) == messages.TASK:
            kept.append(there.devices[device].answer(request))
        return request

    there = clinic({f"d{place}": data(place, 50) for place in range(3)}, before=before)
    assert there.ask().parts
    assert kind_of(kept[0]) == messages.MASKED
    assert kept[0] in there.heard["d0"]
