"""Looks in any order of asking, answering, dying, giving back and starting anew: an answer is the input's own, and one."""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fedmed.config.roles import Hub as Config
from fedmed.errors import ProtocolRefused, QuotaRefused
from fedmed.hub.lending import Lending
from fedmed.hub.looklog import Given, LookLog
from fedmed.hub.looks import MOST_FAILURES, MOST_OPEN, digest_of, name_of
from fedmed.hub.machine import Known
from fedmed.hub.messages import Message
from fedmed.hub.placing import CENTER, LOOK
from fedmed.hub.whereabouts import Whereabouts
from fedmed.placement.events import Claim
from tests.hub.clinic import Skewed
from tests.hub.test_lending import PACKAGE, facts

DEVICES = ("us-1", "us-2", "us-3")
INPUTS = (b"one!", b"two!")


class Still(Skewed):
    at = 1000.0

    def now(self) -> float:
        return self.at


@dataclass
class Device:
    heard: float = 1000.0
    isolated: str = ""
    waits: int = 0
    runs: dict[tuple[str, int], bytes] = field(default_factory=dict)


def answer_to(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


class Anything(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder, self.clock = Path(tempfile.mkdtemp()), Still()
        self.devices = {name: Device() for name in DEVICES}
        self.given: dict[tuple[str, int], str] = {}
        self.taken: Counter[tuple[str, int]] = Counter()
        self.got: dict[tuple[str, bytes], bytes] = {}

    @initialize()
    def begin(self) -> None:
        config = Config(clinic="north", beat_s=5.0)
        folder = SimpleNamespace(path=self.folder, clock=self.clock, config=config)
        self.where = Whereabouts(folder, lambda text: None)  # type: ignore[arg-type]
        self.lending = Lending(self.where, LookLog(self.folder), self.clock, config, lambda *_, **__: None)
        self.look()

    def look(self) -> None:
        known = {
            name: Known(name, "0.1", "up", facts(isolated=each.isolated, waits=each.waits), 0.0, each.heard, 0.0, 0.0)
            for name, each in self.devices.items()
        }
        self.where.look(DEVICES, known)
        self.lending.tend()

    @rule(asker=st.sampled_from(DEVICES), content=st.sampled_from(INPUTS))
    def ask(self, asker: str, content: bytes) -> None:
        task = digest_of(PACKAGE, hashlib.sha256(content).hexdigest())
        head = {"package": PACKAGE, "task": task, "size": len(content), "offset": 0, "from": 0}
        try:
            said = self.lending.call("ask", asker, Message(head, content))
        except (ProtocolRefused, QuotaRefused):
            return
        if said.head["state"] == "done":
            assert said.body == answer_to(content)
            assert said.head["by"] in set(DEVICES) - {asker}
            self.got[asker, content] = said.body

    @precondition(lambda self: self.lending._looks)
    @rule(asker=st.sampled_from(DEVICES), content=st.sampled_from(INPUTS), is_refused=st.booleans())
    def unask(self, asker: str, content: bytes, is_refused: bool) -> None:
        task = digest_of(PACKAGE, hashlib.sha256(content).hexdigest())
        self.lending.call("unask", asker, Message({"task": task, "refused": is_refused}))

    @precondition(lambda self: self.lending._looks)
    @rule()
    def all_work(self) -> None:
        for name in DEVICES:
            self.work(name)

    @precondition(lambda self: self.lending._looks)
    @rule(name=st.sampled_from(DEVICES))
    def work(self, name: str) -> None:
        device = self.devices[name]
        claims = [Claim(*each) for each in device.runs]
        for order in self.lending.orders(name, device.waits, claims):
            key = order["task"], order["attempt"]
            if order["do"] != "start":
                device.runs.pop(key, None)
            elif key not in device.runs:
                assert self.given.setdefault(key, name) == name  # one attempt is never given to two
                device.runs[key] = self.lending.content(name, *key)
        device.heard = self.clock.at

    @precondition(lambda self: any(each.runs for each in self.devices.values()))
    @rule(how=st.sampled_from(["done", "failed", "given-back", "lost"]))
    def next_ends(self, how: str) -> None:
        self.end(next((name for name in DEVICES if self.devices[name].runs), DEVICES[0]), how)

    def end(self, name: str, how: str) -> None:
        runs = self.devices[name].runs
        if not runs:
            return
        key = next(iter(runs))
        content = runs.pop(key)
        if how == "done":
            self.taken[key] += self.lending.done(name, *key, answer_to(content), "int8")
        elif how != "lost":
            self.lending.not_done(name, *key, "why", how == "failed")

    @precondition(lambda self: self.lending._looks)
    @rule(name=st.sampled_from(DEVICES), task=st.sampled_from(INPUTS), attempt=st.integers(0, 3))
    def lie(self, name: str, task: bytes, attempt: int) -> None:
        """An answer that nobody asked this device for."""
        for asker in DEVICES:
            key = name_of(asker, digest_of(PACKAGE, hashlib.sha256(task).hexdigest())), attempt
            if self.lending._log.of(key[0]) != Given(attempt, name, self.lending._log.of(key[0]).failures):
                assert not self.lending.done(name, *key, b"lies", "int8")
                assert not self.lending.not_done(name, *key, "lies", True)

    @rule(name=st.sampled_from(DEVICES), isolated=st.sampled_from([False, False, True]), waits=st.sampled_from([0, 0, 0, 2]))
    def tell(self, name: str, isolated: bool, waits: int) -> None:
        device = self.devices[name]
        self.clock.at += 0.01
        device.isolated, device.waits, device.heard = "hot" if isolated else "", waits, self.clock.at
        self.look()

    @rule(seconds=st.sampled_from([0.5, 5.0, 16.0, 70.0]), silent=st.sampled_from((*DEVICES, *[None] * 6)))
    def time(self, seconds: float, silent: str | None = None) -> None:
        self.clock.at += seconds
        for name in DEVICES:
            if name != silent:
                self.devices[name].heard = self.clock.at
        self.look()

    @precondition(lambda self: any(each.runs for each in self.devices.values()))
    @rule(name=st.sampled_from(DEVICES))
    def die(self, name: str) -> None:
        self.devices[name].runs.clear()

    @precondition(lambda self: self.lending._looks)
    @rule()
    def hub_is_killed(self) -> None:
        self.lending.close()
        self.begin()

    @invariant()
    def each_attempt_counts_once_and_nothing_leaves_the_clinic(self) -> None:
        assert all(count <= 1 for count in self.taken.values())
        if hasattr(self, "where"):
            for name, grant in self.where.placed.state.running.items():
                if name.startswith(LOOK):
                    assert grant.nodes != (CENTER,)
                    assert name.split(":")[1] not in grant.nodes
            assert len(self.lending._looks) <= MOST_OPEN * len(DEVICES)
            assert all(each.failed <= MOST_FAILURES for each in self.lending._looks.values())

    def teardown(self) -> None:
        """Whatever happened before: with sound devices that have time, who asks again has an answer."""
        if not hasattr(self, "where"):
            return
        self.time(200.0)
        for name in DEVICES:
            self.die(name)
            self.tell(name, name == "us-1", 0)
        said = Message({})
        task = digest_of(PACKAGE, hashlib.sha256(b"last").hexdigest())
        for _ in range(6):
            head = {"package": PACKAGE, "task": task, "size": 4, "offset": 0, "from": 0}
            said = self.lending.call("ask", "us-1", Message(head, b"last"))
            for name in DEVICES[1:]:
                self.tell(name, False, 0)
                self.work(name)
                while self.devices[name].runs:
                    self.end(name, "done")
        assert said.head["state"] == "done", said
        self.lending.close()


Anything.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestAnything = Anything.TestCase
