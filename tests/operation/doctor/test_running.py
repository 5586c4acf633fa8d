"""Order, skipping, bounded time, and what a set of findings comes to."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.clinic.doctor.examination import Asked, checks
from fedmed.clinic.doctor.settings import Given
from fedmed.clock import SystemClock
from fedmed.edge.doctor import configuration, examination
from fedmed.operation.doctor.finding import CODES, Finding, Status, exit_code, fail, ok, skipped, warn
from fedmed.operation.doctor.running import Check, Seen, examine


def run(*steps: Check, total_s: float = 60.0, clock: SystemClock | None = None) -> list[Finding]:
    return list(examine(steps, clock or SystemClock(), lambda *_: None, Seen(), total_s))


def test_what_a_failure_makes_pointless_names_it_and_the_rest_runs():
    found = run(
        Check("a", lambda _: fail("a", "x", "y", "z"), 1),
        Check("b", lambda _: ok("b", ""), 1, ("a",)),
        Check("c", lambda _: ok("c", ""), 1, ("b",)),
        Check("d", lambda _: ok("d", ""), 1),
    )
    assert [each.status.value for each in found] == ["fail", "skipped", "skipped", "ok"]
    assert found[1].got == found[2].got == "the check 'a' failed"


def test_a_warning_stops_nothing():
    found = run(Check("a", lambda _: warn("a", "x", "y", "z"), 1), Check("b", lambda _: ok("b", ""), 1, ("a",)))
    assert found[1].status is Status.OK


def test_a_check_that_does_not_end_is_left_alone():
    forever = threading.Event()

    def stuck(_: Seen) -> Finding:
        forever.wait()
        return ok("a", "")

    found = run(Check("a", stuck, 0.05), Check("b", lambda _: ok("b", ""), 1))
    forever.set()
    assert found[0].status is Status.FAIL
    assert "no end after 0.05 s" in found[0].got
    assert found[1].status is Status.OK


def test_what_a_stuck_check_saw_is_not_read_by_others():
    forever, late = threading.Event(), threading.Event()

    def stuck(seen: Seen) -> Finding:
        seen["a"] = 1
        forever.wait()
        late.set()
        return ok("a", "")

    seen = Seen()
    list(examine([Check("a", stuck, 0.05)], SystemClock(), lambda *_: None, seen))
    forever.set()
    assert late.wait(5)
    assert not seen


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_check_that_breaks_is_a_finding_of_its_own_code():
    found = run(Check("memory", lambda _: fail(str(1 // 0), "", "", ""), 5))
    assert "the check itself broke" in found[0].got
    assert exit_code(found) == 14


def test_all_checks_together_are_bounded():
    class Leaping(SystemClock):
        def __init__(self) -> None:
            self.at = 0.0

        def now(self) -> float:
            self.at += 40.0
            return self.at

    found = run(*(Check(name, lambda _: ok("", ""), 1) for name in "abc"), total_s=100.0, clock=Leaping())
    assert [each.status.value for each in found] == ["ok", "ok", "skipped"]
    assert "100 s for all checks are over" in found[2].got


def test_progress_is_told_before_each_check():
    told: list[tuple[str, int, int]] = []
    list(examine([Check("a", lambda _: ok("a", ""), 1)], SystemClock(), lambda *each: told.append(each), Seen()))
    assert told == [("a", 1, 1)]


def test_every_check_that_can_fail_has_a_code_and_needs_only_earlier_ones(tmp_path: Path):
    of_a_clinic = checks(Asked(Given(tmp_path), 1000, 32), SystemClock())
    of_a_device = examination.checks(configuration.Asked(tmp_path), SystemClock())
    for steps in (of_a_clinic, of_a_device):
        names = [each.name for each in steps]
        assert all(need in names[: names.index(each.name)] for each in steps for need in each.needs)
        assert len(set(names)) == len(names)
    assert {each.name for each in (*of_a_clinic, *of_a_device)} == {*CODES, "round", "sensors"}


@given(st.lists(st.tuples(st.sampled_from(sorted(CODES)), st.sampled_from(list(Status)))))
def test_the_first_failure_decides_the_code(rows: list[tuple[str, Status]]):
    code = exit_code([Finding(check, status, "") for check, status in rows])
    failed = [check for check, status in rows if status is Status.FAIL]
    if failed:
        assert code == CODES[failed[0]]
    else:
        assert code == (10 if any(status is Status.WARN for _, status in rows) else 0)


def test_skipped_alone_is_no_fault():
    assert exit_code([skipped("answer", "join first")]) == 0
