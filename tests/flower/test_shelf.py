from __future__ import annotations

import numpy as np
from flwr.app import ConfigRecord, Context, RecordDict

from fedmed.flower.shelf import RECORD, ContextShelf


def context() -> Context:
    return Context(run_id=1, node_id=2, node_config={}, state=RecordDict(), run_config={})


def test_what_is_kept_is_in_the_apps_own_state_as_a_copy():
    made = context()
    assert ContextShelf(made).held() == {}
    tensors = {"1/local/a": np.arange(3, dtype=np.float32)}
    ContextShelf(made).keep(tensors)
    tensors["1/local/a"][:] = 0
    assert ContextShelf(made).held()["1/local/a"].tolist() == [0, 1, 2]
    assert list(made.state) == [RECORD]


def test_a_record_of_another_kind_is_none():
    made = context()
    made.state[RECORD] = ConfigRecord({"a": 1})
    assert ContextShelf(made).held() == {}
