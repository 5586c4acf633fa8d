from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.serving.engines.ort_cpu import open_model
from fedmed.serving.graph import read_graph
from fedmed.serving.packages import U8S8
from fedmed.serving.pieces import in_pieces, pieces_of
from tests.serving.models import parsed


@pytest.mark.parametrize("most_bytes", [1, 2000, 1 << 20])
def test_the_logits_are_the_same_to_the_bit(quantised, most_bytes):
    whole = quantised.models[U8S8]
    made = in_pieces(whole, most_bytes)
    read_graph(made, U8S8)
    onnx.checker.check_model(parsed(made), full_check=True)
    x = quantised.golden.inputs
    for count in (1, len(x)):
        assert np.array_equal(open_model(made, "int8", 1).run(x[:count]), open_model(whole, "int8", 1).run(x[:count]))
    norms = [node for node in parsed(made).graph.node if node.op_type == "InstanceNormalization"]
    own = 1  # of the input, before the first convolution
    assert len(norms) == own + {1: 8 + 8, 2000: 4 + 2, 1 << 20: 1 + 1}[most_bytes]


@given(groups=st.integers(1, 64), size=st.integers(1, 1 << 26), most=st.integers(1, 1 << 24))
def test_pieces_are_whole_groups_and_the_fewest_that_fit(groups, size, most):
    count = pieces_of(groups, size, most)
    assert groups % count == 0
    assert size <= count * most or count == groups
    assert all(size > fewer * most for fewer in range(1, count) if groups % fewer == 0)
