"""What is left out of a proposal, an order or a file means the same to every version: a default, once released, stays.

Somebody who needs another default adds a new key, whose own default is what was done before it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined, to_jsonable_python

from fedmed.config.dataset import DataSet
from fedmed.config.part import Part
from fedmed.identity.approval import Approval
from fedmed.identity.proposal import Proposal
from fedmed.learning.order import Inquiry, Order
from fedmed.outbound.private import UNSAID

KNOWN = json.loads(Path(__file__).with_name("defaults.json").read_text())


def parts(kind: type[BaseModel]) -> dict[str, type[BaseModel]]:
    found = {kind.__name__: kind}
    for field in kind.model_fields.values():
        for each in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(each, type) and issubclass(each, BaseModel) and each is not Part:
                found |= parts(each)
    return found


def defaults() -> dict[str, dict[str, Any]]:
    kinds = {name: kind for root in (Proposal, Order, Inquiry, Approval, DataSet) for name, kind in parts(root).items()}
    return {
        name: {
            key: to_jsonable_python(field.get_default(call_default_factory=True, validated_data={}))
            for key, field in sorted(kind.model_fields.items())
            if field.default is not PydanticUndefined or field.default_factory is not None
        }
        for name, kind in sorted(kinds.items())
    }


def test_no_default_changes_and_whoever_adds_a_key_writes_its_default_down():
    assert defaults() == KNOWN
    assert KNOWN["Rounds"]["late"] == "add"
    assert KNOWN["PrivateWork"] == UNSAID
