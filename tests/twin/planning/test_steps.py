from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.config.scenario import Training
from fedmed.twin.planning.memory import USABLE
from fedmed.twin.planning.steps import choose, misfit
from fedmed.twin.profiles import built_in

MACHINES = built_in()


def training(batch: int, **more) -> Training:
    return Training(epochs=1, batch_size=batch, **more)


@given(batch=st.integers(1, 4096), names=st.sets(st.sampled_from(sorted(MACHINES)), min_size=2))
def test_every_site_makes_the_same_effective_step(unet, batch, names):
    steps = [choose(unet, training(batch), MACHINES[name]) for name in sorted(names)]
    assert all(
        step.batch == batch and step.parts * step.micro >= batch > (step.parts - 1) * step.micro for step in steps if step
    )


@given(batch=st.integers(1, 512), name=st.sampled_from(sorted(MACHINES)), share=st.floats(0.05, 3))
def test_a_step_fits_and_the_next_larger_piece_does_not(unet, batch, name, share):
    profile = replace(MACHINES[name], memory=share * MACHINES[name].memory)
    step = choose(unet, training(batch), profile)
    if step is None:
        found = misfit(unet, training(batch), profile, MACHINES.values())
        assert found.needed > found.has == USABLE * profile.memory
        return
    assert step.need.total <= USABLE * profile.memory
    larger = choose(unet, training(batch), replace(profile, memory=4 * profile.memory))
    assert larger.micro >= step.micro or (step.is_checkpointed and not larger.is_checkpointed)


def test_a_small_card_makes_parts_and_computes_again_last(unet):
    whole, parts = (choose(unet, training(8), MACHINES[name]) for name in ("h100", "orin-nano"))
    assert (whole.words(), whole.parts, whole.passes) == ("8, bf16", 1, 3)
    assert (parts.words(), parts.passes) == ("8 in 4 parts, bf16", 4)
    tight = choose(unet, training(8), replace(MACHINES["t4"], memory=2.3e9))
    assert (tight.words(), tight.passes) == ("8 in 8 parts, fp16, checkpointed", 5)


def test_parts_are_those_that_training_tries(unet):
    found = choose(unet, training(13), replace(MACHINES["t4"], memory=7e9))
    assert (found.micro, found.parts) == (4, 4)


def test_computing_again_costs_a_third_more_and_a_measured_step_counts_as_it_is(unet):
    step = choose(unet, training(8), MACHINES["a100"])
    again = replace(step, is_checkpointed=True)
    assert again.seconds(unet, MACHINES["a100"]) == pytest.approx(4 / 3 * step.seconds(unet, MACHINES["a100"]))
    measured = replace(MACHINES["a100"], step=0.25)
    assert step.seconds(unet, measured) == 0.25
    assert step.seconds(unet, MACHINES["a100"]) == pytest.approx(MACHINES["a100"].seconds(unet.operations, 8))


def test_a_step_takes_as_long_as_the_longest_of_what_goes_on_side_by_side(unet):
    a100 = MACHINES["a100"]
    step = choose(unet, training(8), a100)
    assert step.seconds(unet, a100) == step.parts_of(unet, a100)["computing"]
    narrow = replace(a100, bandwidth=1e9)
    moved = 4 * (8 * sum(unet.kept_mixed) + 4 * unet.trained)
    assert step.seconds(unet, narrow) == pytest.approx(moved / 1e9)
    tiny = replace(unet, operations=1.0, kept=(4,) * 50, kept_mixed=(2,) * 50, parameters=10, trained=10)
    assert choose(tiny, training(1), a100).seconds(tiny, a100) == pytest.approx(3 * 50 * 10e-6)


def test_a_model_that_does_not_fit_is_told_with_what_would(unet):
    large = replace(unet, kept=tuple(20 * each for each in unet.kept), kept_mixed=tuple(20 * each for each in unet.kept))
    assert choose(large, training(2), MACHINES["orin-nano"]) is None
    found = misfit(large, training(2), MACHINES["orin-nano"], MACHINES.values())
    assert "orin-nano" not in found.machines
    assert found.machines[0] == "agx-orin"
    assert found.patch is not None
    assert all(side % 16 == 0 and 16 <= side < 128 for side in found.patch)
    shrunk = (found.patch[0] / 128) ** 3
    smaller = replace(large, kept_mixed=tuple(int(shrunk * each) for each in large.kept_mixed))
    assert choose(smaller, training(2), MACHINES["orin-nano"]) is not None


def test_no_patch_helps_where_the_weights_alone_are_too_many(unet):
    heavy = replace(unet, parameters=10**9, trained=10**9)
    assert misfit(heavy, training(1), MACHINES["jetson-nano"], MACHINES.values()).patch is None
