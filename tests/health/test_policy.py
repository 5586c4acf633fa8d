from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import ConfigError
from fedmed.health.policy import (
    LIMITS,
    Action,
    Alert,
    Cleared,
    Isolate,
    Limit,
    LimitPower,
    Restart,
    Restore,
    Severity,
    Stays,
    Switches,
    Watch,
    seen_to,
    step,
)
from fedmed.health.readings import QUANTITIES, read

ON = Switches(may_limit_power=True)


def run(watch, name, *course, device="gpu0"):
    """Findings by time of a course of (time, value)."""
    found = []
    for now, value in course:
        watch, findings = step(watch, [read(name, value, device)], now)
        found += [(now, each) for each in findings]
    return watch, found


def kinds(found):
    return [(now, type(each)) for now, each in found]


def test_heat_is_told_at_once_and_isolates_after_five_minutes():
    _, found = run(Watch(), "gpu_temperature", (0, 85), (60, 86), (120, 90), (300, 88), (359, 88), (360, 88), (420, 88))
    assert kinds(found) == [(60, Alert), (360, Isolate)]
    assert found[0][1] == Alert(
        "gpu-hot", "gpu0", Severity.CRITICAL, "gpu0: gpu temperature is 86 celsius, above 85 celsius"
    )


def test_power_is_limited_only_with_the_switch_and_is_given_back():
    course = ((0, 90), (60, 90), (120, 84), (180, 79), (240, 79), (300, 79))
    _, found = run(Watch(), "gpu_temperature", *course)
    assert kinds(found) == [(0, Alert), (300, Cleared)]
    _, found = run(Watch(switches=ON), "gpu_temperature", *course)
    assert kinds(found) == [(0, Alert), (60, LimitPower), (300, Cleared), (300, LimitPower)]
    assert [each.share for _, each in found if isinstance(each, LimitPower)] == [0.625, 1.0]


def test_a_value_that_hangs_about_the_limit_is_one_alert():
    _, found = run(Watch(), "gpu_temperature", *((60 * n, 84 + n % 2 * 2) for n in range(60)))
    assert [kind for _, kind in kinds(found)] == [Alert, Isolate]
    _, found = run(Watch(), "gpu_temperature", (0, 86), *((60 * n, 83) for n in range(1, 60)))
    assert kinds(found) == [(0, Alert)]


def test_a_short_peak_of_work_is_no_alert_and_five_minutes_are():
    _, found = run(Watch(), "gpu_busy", (0, 0.99), (240, 0.99), (299, 0.5), (360, 0.95), (600, 0.95), (660, 0.95))
    assert kinds(found) == [(660, Alert)]
    assert found[0][1].severity is Severity.WARNING


STILL = {
    1.0: "gpu0: gpu ecc uncorrected is 1 still; allowed is 0",
    None: "gpu0: gpu ecc uncorrected cannot be read",
    0: "gpu0: gpu ecc uncorrected cannot be read",
}


def test_one_uncorrected_error_isolates_until_a_person_restores():
    watch, found = run(Watch(), "gpu_ecc_uncorrected", (0, 0), (60, 1), (120, 1), (180, 0), (900, 0), (9000, 0))
    assert kinds(found) == [(60, Alert), (60, Isolate)]
    errors = "gpu_ecc_uncorrected"
    for bad in ([read(errors, 1, "gpu0")], [read(errors, None, "gpu0")], [], [read(errors, 0, "gpu1")]):
        assert seen_to(watch, "gpu0", bad) == (watch, [Stays("ecc-uncorrected", "gpu0", STILL[len(bad) and bad[0].value])])
    assert seen_to(watch, "gpu1", [read(errors, 0, "gpu1")]) == (watch, [])
    watch, findings = seen_to(watch, "gpu0", [read(errors, 0, "gpu0")])
    assert findings == [Restore("ecc-uncorrected", "gpu0")]
    assert not watch.episodes
    assert seen_to(watch, "gpu0", [read(errors, 0, "gpu0")])[1] == []
    _, found = run(watch, errors, (9060, 1))
    assert kinds(found) == [(9060, Alert), (9060, Isolate)]  # and it comes back


def test_corrected_errors_are_told_and_nothing_more():
    _, found = run(Watch(switches=ON), "gpu_ecc_corrected", *((60 * n, n) for n in range(100)))
    assert kinds(found) == [(60, Alert)]


def test_a_lost_card_isolates():
    _, found = run(Watch(), "gpu_reachable", (0, 1), (60, 0))
    assert kinds(found) == [(60, Alert), (60, Isolate)]
    assert found[0][1].words == "gpu0: gpu reachable is 0, below 1"


def test_what_stands_still_is_started_again():
    course = [(60 * n, min(n, 5)) for n in range(30)]
    _, found = run(Watch(), "task_steps", *course, device="train-7")
    assert kinds(found) == [(300 + 900, Alert), (300 + 1200, Restart)]
    assert found[-1][1] == Restart("train-7", "train-7: task steps stands at 5 for 1200 s")
    _, found = run(Watch(), "task_steps", *course, (1800, 6), (1860, 7), device="train-7")
    assert kinds(found)[-1] == (1800, Cleared)


def test_a_task_that_ended_is_forgotten():
    watch, _ = run(Watch(), "task_steps", *((60 * n, 5) for n in range(20)), device="train-7")
    watch, findings = step(watch, [], 1300)
    assert findings == [Cleared("stalled", "train-7")]
    assert not watch.episodes


def test_what_is_unsupported_neither_raises_nor_ends():
    watch, found = run(Watch(), "gpu_temperature", (0, None), (60, 90), (120, None), (280, None), (340, None))
    assert kinds(found) == [(60, Alert)]
    assert watch.episodes[("gpu-hot", "gpu0")].told == 60
    assert run(Watch(), "gpu_reachable", (0, None), (600, None))[1] == []


def test_devices_are_watched_apart():
    watch, _ = step(Watch(), [read("gpu_temperature", 90, "gpu0"), read("gpu_temperature", 50, "gpu1")], 0)
    assert list(watch.episodes) == [("gpu-hot", "gpu0")]
    watch, findings = step(watch, [read("gpu_temperature", 50, "gpu0"), read("gpu_temperature", 90, "gpu1")], 60)
    assert [(type(each), each.device) for each in findings] == [(Alert, "gpu1")]


readings = st.builds(
    read,
    st.sampled_from(sorted({limit.quantity for limit in LIMITS})),
    st.one_of(st.none(), st.floats(0, 2), st.floats(0, 120)),
    st.sampled_from(["gpu0", "gpu1"]),
)


@given(st.lists(st.tuples(st.integers(1, 400), st.lists(readings, max_size=6)), max_size=30), st.booleans())
def test_a_person_is_told_first_and_no_card_is_touched_without_the_switch(rounds, may):
    watch, now = Watch(switches=Switches(may)), 0
    told: set[tuple[str, str]] = set()
    isolated: set[tuple[str, str]] = set()
    for seconds, heard in rounds:
        now += seconds
        watch, findings = step(watch, heard, now)
        for each in findings:
            match each:
                case Alert(limit, device):
                    assert (limit, device) not in told
                    told.add((limit, device))
                case Cleared(limit, device):
                    told.remove((limit, device))
                case Isolate(limit, device):
                    assert (limit, device) in told
                    isolated.add((limit, device))
                case Restore(limit, device):
                    isolated.remove((limit, device))
                case LimitPower(device, share):
                    assert may
                    assert share == 1.0 or ("gpu-hot", device) in told
                case Restart(task):
                    assert ("stalled", task) in told
    assert told == {key for key, episode in watch.episodes.items() if episode.told is not None}


def test_the_limits_are_those_asked_for():
    known = {limit.name: limit for limit in LIMITS}
    assert len(known) == len(LIMITS)
    assert (known["gpu-hot"].quantity, known["gpu-hot"].over) == ("gpu_temperature", 85)
    assert (known["gpu-full"].over, known["gpu-full"].hold_s) == (0.9, 300)
    assert known["storage-slow"].over == 0.1
    assert known["ecc-uncorrected"].is_past(1)
    assert not known["ecc-uncorrected"].is_past(0)
    touching = [limit for limit in LIMITS if any(action is Action.LIMIT_POWER for _, action in limit.actions)]
    assert [limit.name for limit in touching] == ["gpu-hot"]
    assert {limit.quantity for limit in LIMITS} <= QUANTITIES.keys()


def test_a_limit_that_could_not_work_is_refused():
    with pytest.raises(ConfigError, match="no quantity"):
        Limit("x", "temperature", 1, 0)
    with pytest.raises(ConfigError, match="safe side"):
        Limit("x", "gpu_busy", 0.5, 0.6)
    with pytest.raises(ConfigError, match="safe side"):
        Limit("x", "gpu_busy", 0.5, 0.4, is_low=True)
    with pytest.raises(ConfigError, match=r"from 0\.3 to 1"):
        Switches(power_share=0.0)


@given(st.lists(st.lists(readings, max_size=6), max_size=30), st.lists(readings, max_size=6))
def test_nobodys_word_lifts_what_is_read_as_bad_or_ends_by_itself(rounds, newest):
    watch = Watch()
    for number, heard in enumerate(rounds):
        watch, _ = step(watch, heard, 60.0 * number)
    latched = {limit.name: limit for limit in LIMITS if limit.is_latched}
    after, findings = seen_to(watch, "gpu0", newest)
    gone = watch.episodes.keys() - after.episodes.keys()
    assert {(each.limit, each.device) for each in findings if isinstance(each, Restore)} == gone
    newest_of = {each.name: each.value for each in newest if each.device == "gpu0"}
    for name, device in gone:
        assert device == "gpu0"
        value = newest_of[latched[name].quantity]
        assert value is not None
        assert latched[name].is_safe(value)
    assert {key: watch.episodes[key] for key in after.episodes} == after.episodes
