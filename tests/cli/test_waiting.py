"""What a person sees while a command waits for somebody else."""

from __future__ import annotations

import io
import socket
import sys
import time
from pathlib import Path

from fedmed.cli import waiting
from fedmed.cli.waiting import Waiting
from fedmed.identity.devicecode import new_code
from tests.cli.terminal import CTRL_C, terminal
from tests.store.spool.spools import Clock


def test_what_is_quick_says_nothing_and_what_is_not_how_long_it_may_take(monkeypatch):
    monkeypatch.setattr(waiting, "TICK_S", 0.005)
    monkeypatch.setattr(sys, "stderr", said := io.StringIO())  # nothing is taken out of it while the thread writes
    clock, first = Clock(), "looking for the hub: 3 s so far, 12 s more at most\n"

    def told(text: str) -> None:
        until = time.monotonic() + 60
        while said.getvalue() != text and time.monotonic() < until:
            time.sleep(0.005)
        assert said.getvalue() == text

    with Waiting(clock) as waits:
        waits("looking for the hub", 15.0)
        time.sleep(0.05)
        assert said.getvalue() == ""
        clock.time += 3
        told(first)
        clock.time += 100
        time.sleep(0.05)
        assert said.getvalue() == first  # once, where nothing can be written over
        waits("the hub looks at the code", 15.0)
        clock.time += 2
        told(first + "the hub looks at the code: 2 s so far, 13 s more at most\n")


def test_a_join_at_a_hub_that_says_nothing_shows_what_it_waits_for(command, tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        join = [*command, "edge", "join", new_code(b"some authority").text(), "--at", tmp_path / "edge"]
        with terminal([*join, "--hub", f"127.0.0.1:{silent.getsockname()[1]}"], tmp_path) as person:
            person.reads("looking for the hub at 127.0.0.1 port")
            person.reads("s more at most")
            person.types(CTRL_C, end="")
            assert person.ends()[0] == 130
