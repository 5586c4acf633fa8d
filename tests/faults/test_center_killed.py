from __future__ import annotations

import pytest

from tests.faults.real_federation import Real


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    federation = Real(tmp_path_factory.mktemp("real"))
    with federation.stack:
        federation.finish(federation.center("whole"), "whole")
        assert federation.faults("whole", True) == []
        yield federation


# asked: 1 describe, 2 member, 3-5 the epoch, 6-8 the census, 9 train, 10 confirm, 11 reveal, 12-14 the evaluation
@pytest.mark.parametrize(
    "moment",
    [
        "answer:26",
        pytest.param("asked after:10", marks=pytest.mark.nightly),
        pytest.param("store before:10", marks=pytest.mark.nightly),
        pytest.param("commit after", marks=pytest.mark.nightly),
    ],
)
def test_a_center_killed_goes_on_with_the_same_round(real: Real, moment: str):
    run = moment.replace(" ", "-").replace(":", "-")
    assert real.center_killed(run, moment)[0]
    assert real.model(run) == real.model("whole")
    assert real.faults(run, True) == []


@pytest.mark.parametrize("moment", ["give before:3", pytest.param("training before", marks=pytest.mark.nightly)])
def test_a_clinic_killed_goes_on_with_the_same_round(real: Real, moment: str):
    run = moment.replace(" ", "-").replace(":", "-")
    assert real.clinic_killed(run, moment)[0]
    assert real.model(run) == real.model("whole")
    assert real.faults(run, False) == []
