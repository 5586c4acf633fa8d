from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.config.scenario import Training
from fedmed.twin.planning.memory import CONTEXT, need

SGD = Training(epochs=1)


def test_adam_keeps_two_numbers_a_parameter_and_momentum_one(unet):
    def state(**more):
        return need(unet, Training(epochs=1, **more), "fp32", 1).state / (4 * unet.trained)

    assert [state(), state(momentum=0.9), state(optimiser="adam"), state(optimiser="adamw", momentum=0.9)] == [0, 1, 2, 2]
    assert state(proximal_mu=0.1) == 1


def test_mixed_precision_keeps_weights_in_float32_and_a_copy(unet):
    assert need(unet, SGD, "bf16", 1).weights - need(unet, SGD, "fp32", 1).weights == 2 * unet.parameters
    assert need(unet, SGD, "fp16", 4).activations == pytest.approx(need(unet, SGD, "fp32", 4).activations / 2, rel=1e-6)


@given(micro=st.integers(1, 500), again=st.booleans(), for_each=st.booleans())
def test_memory_grows_with_the_micro_batch_by_the_same_each_time(unet, micro, again, for_each):
    less, more, most = (need(unet, SGD, "bf16", micro + step, again, for_each).total for step in range(3))
    assert less < more < most
    assert most - more == pytest.approx(more - less)


def test_checkpointing_takes_less_and_a_gradient_of_each_case_more(unet):
    plain = need(unet, SGD, "fp32", 8)
    assert need(unet, SGD, "fp32", 8, again=True).total < plain.total
    assert need(unet, SGD, "fp32", 8, for_each=True).gradients == 9 * plain.gradients
    assert plain.total == plain.weights + plain.gradients + plain.state + plain.activations + CONTEXT
