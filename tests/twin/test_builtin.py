from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from fedmed.twin.builtin import Machines, machines


def test_every_source_is_used_and_says_how_it_is_known():
    found = machines()
    used = {pair[1] for each in found.machines.values() for pair in (*each.speed.values(), *each.used.values())}
    used |= {
        getattr(each, key)[1]
        for each in found.machines.values()
        for key in ("memory", "bandwidth", "power", "idle", "price")
    }
    assert used == set(found.sources)
    assert {kind for kind, _ in found.sources.values()} == {"stated", "measured", "derived", "recalled", "assumed"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"memory": ["8 GB", "nobody"]}, "no source is called nobody"),
        ({"auto": "bf16"}, "auto name precisions that speed lacks"),
        ({"used": {"fp16": [0.5, "a"]}}, "auto name precisions that speed lacks"),
        ({"used": {"fp32": [0, "a"]}}, "greater than 0"),
        ({"power": ["60", "a"]}, "a number without a unit"),
    ],
)
def test_a_file_with_a_number_from_nowhere_is_refused(change, says):
    one = {"what": "a box", "auto": "fp32", "speed": {"fp32": ["1 TFLOPS", "a"]}, "used": {"fp32": [0.5, "a"]}}
    one |= {"memory": ["8 GB", "a"], "bandwidth": ["50 GB/s", "a"], "power": ["60 W", "a"], "idle": ["9 W", "a"]}
    one |= {"price": ["900 USD", "a"]}
    sources = {"a": ["assumed", "nobody measured it"]}
    assert Machines.model_validate_json(json.dumps({"machines": {"box": one}, "sources": sources})).machines
    with pytest.raises(ValidationError, match=says):
        Machines.model_validate_json(json.dumps({"machines": {"box": one | change}, "sources": sources}))


def test_no_built_in_number_is_from_a_scenario():
    with pytest.raises(ValidationError, match="from no scenario"):
        Machines.model_validate_json(json.dumps({"machines": {}, "sources": {"a": ["scenario", "me"]}}))
