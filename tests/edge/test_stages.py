from __future__ import annotations

import pytest

from fedmed.edge.stages import KEPT, Stages


class Clock:
    at = 0.0

    def now(self) -> float:
        return self.at

    def unix(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds


def test_steps_are_told_in_their_order_with_median_and_tail():
    clock, stages = Clock(), Stages(Clock())
    stages = Stages(clock)
    for milliseconds in range(1, 101):
        with stages.of("infer"):
            clock.sleep(milliseconds / 1e3)
    stages.took("keep", 0.002)
    told = stages.told()
    assert list(told) == ["infer", "keep"]
    assert (told["infer"]["median_ms"], told["infer"]["p99_ms"], told["infer"]["count"]) == (51.0, 100.0, 100)


def test_a_step_that_fails_is_not_counted_and_old_ones_are_forgotten():
    stages = Stages(Clock())
    with pytest.raises(ZeroDivisionError), stages.of("infer"):
        raise ZeroDivisionError
    assert stages.told() == {}
    for number in range(KEPT + 5):
        stages.took("infer", number)
    assert stages.told()["infer"]["count"] == KEPT
