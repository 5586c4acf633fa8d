from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from fedmed.operation.draining import Event, Stage, State, Stopping, step
from tests.operation.clocks import Hand

ORDER = list(Stage)


@given(st.lists(st.tuples(st.sampled_from(Event), st.floats(0, 50)), max_size=12))
def test_stages_go_one_way_and_only_an_asked_service_stops(events):
    state, now, asked = State(), 0.0, 0
    for event, passed in events:
        now += passed
        before, state = state, step(state, event, now, 60)
        asked += event is Event.ASKED
        assert ORDER.index(state.stage) >= ORDER.index(before.stage)
        assert (state.stage is Stage.RUNNING) == (asked == 0)
        if asked >= 2:
            assert state.stage is Stage.STOPPED
        if state.stage is Stage.DRAINING:
            assert state.deadline is not None
            assert now < state.deadline or event is Event.ASKED


def test_what_is_under_way_ends_first():
    draining = step(State(), Event.ASKED, 10, 60)
    assert draining == State(Stage.DRAINING, 70)
    assert step(draining, Event.TICK, 69.9) == draining
    assert step(draining, Event.TICK, 70) == State(Stage.STOPPED, 70, forced=True)
    assert step(draining, Event.IDLE, 20) == State(Stage.STOPPED, 70)
    assert step(draining, Event.ASKED, 20) == State(Stage.STOPPED, 70, forced=True)
    assert step(State(), Event.IDLE, 10) == State()


def test_signals_reach_the_loop():
    before, changed = signal.getsignal(signal.SIGTERM), []
    with Stopping(Hand(), 60, changed.append) as stopping:
        assert stopping.look(idle=True).stage is Stage.RUNNING
        os.kill(os.getpid(), signal.SIGHUP)
        stopping.wait(30)
        assert (stopping.reload(), stopping.reload()) == (True, False)
        os.kill(os.getpid(), signal.SIGTERM)
        stopping.wait(30)
        assert stopping.look().stage is Stage.DRAINING
        stopping.ask()
        assert stopping.look() == State(Stage.STOPPED, 1060, forced=True)
    assert [state.stage for state in changed] == [Stage.DRAINING, Stage.STOPPED]
    assert signal.getsignal(signal.SIGTERM) == before


def test_two_signals_before_the_loop_looks_stop_at_once():
    with Stopping(Hand()) as stopping:
        stopping.ask()
        stopping.ask()
        assert stopping.look(idle=True).forced


SERVICE = """
from fedmed.clock import SystemClock
from fedmed.operation.draining import Stage, Stopping
left = 3
with Stopping(SystemClock(), 60) as stopping:
    print("up", flush=True)
    while True:
        state = stopping.look(idle=left == 0)
        if state.stage is Stage.STOPPED:
            break
        if state.stage is Stage.DRAINING:
            left -= 1
        else:
            stopping.wait(60)
print("left", left, "forced", state.forced, flush=True)
"""


def test_a_process_drains():
    root = Path(__file__).resolve().parents[2]
    service = subprocess.Popen(
        [sys.executable, "-c", SERVICE], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(root)}
    )
    assert service.stdout is not None
    with service:
        assert service.stdout.readline() == "up\n"
        service.send_signal(signal.SIGTERM)
        assert service.stdout.read() == "left 0 forced False\n"
    assert service.returncode == 0
