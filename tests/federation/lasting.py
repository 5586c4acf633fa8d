"""A center that can be struck down at every step it takes, and clinics in the same process that answer its SuperLink."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

from flwr.app import Context, Message
from flwr.proto.node_pb2 import Node as ProtoNode

from fedmed.clock import Clock
from fedmed.config.loading import parse
from fedmed.config.scenario import Scenario
from fedmed.federation.begun import Begun, Conduct, begin, begun_in
from fedmed.federation.course import Course
from fedmed.flower.calls import OWN, pem_of
from fedmed.flower.fleet import CallFailed, Fleet
from fedmed.flower.hatch import Hatch
from fedmed.flower.node import Node
from fedmed.flower.refusals import CallRefused
from fedmed.flower.spool import Shelf, Spool
from fedmed.flower.superlink import SuperLink
from fedmed.identity.member import MemberKeys
from fedmed.store.commits import Commits
from fedmed.store.disk import Disk
from tests.federation.parties import FEDERATION, Parties
from tests.federation.peers import Peer, honest
from tests.federation.test_journal import lines
from tests.flower.resting import REST

SCENARIO = """
name: tiny
title: Tiny
rounds: 2
data: {reader: csv}
task: {name: tabular}
training: {learning_rate: 0.1, epochs: 1}
evaluation: {baselines: false}
federation: {deadline_s: 30}
strategy: {name: fedadam}
"""
STATE, OBJECTS = ("store_message_ins", "get_message_res"), ("preregister_all", "put_all")


class Stroke(BaseException):
    """The process ends here; nothing of ours may catch it."""


@dataclass
class Strikes:
    """Ends the center at its `at`-th step (from 0)."""

    at: int = -1
    steps: list[str] = field(default_factory=list)

    def reach(self, name: str) -> None:
        self.steps.append(name)
        if len(self.steps) - 1 == self.at:
            raise Stroke(name)

    def within(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def reached(*given: Any, **named: Any) -> Any:
            self.reach(name)
            return call(*given, **named)

        return reached


class StruckDisk(Disk):
    def __init__(self, strikes: Strikes) -> None:
        for name in ("create", "reopen", "write", "truncate", "sync", "rename", "sync_folder"):
            setattr(self, name, strikes.within(f"course {name}", getattr(super(), name)))


class LocalFleet(Fleet):
    """A node's calls without a wire."""

    def __init__(self, link: SuperLink, public: bytes) -> None:
        self._link, self._hatch, self._public, self._key, self._node = link, Hatch(link), public, pem_of(public), ProtoNode()

    def _until_answered(self, path: str, body: bytes, kind: str, read: Callable[[bytes], Any]) -> Any:
        served = self._hatch.answer if path.startswith(OWN) else self._link.answer
        try:
            return read(served(path.rpartition("/")[2], body, self._link.node_of(self._public)))
        except CallRefused as error:
            raise CallFailed(error.status, str(error)) from error


@dataclass
class Clinic:
    """One clinic, whatever becomes of the center."""

    peer: Peer
    keys: MemberKeys
    spool: Path
    worked: list[tuple[str, str]] = field(default_factory=list)
    """Kind and id of each message that it was given."""
    is_away: bool = False

    def call(self, message: Message, context: Context) -> Message:
        self.worked.append((message.metadata.message_type, message.metadata.message_id))
        return self.peer.answers(message)[0][1]

    def serve(self, link: SuperLink) -> None:
        """Answer all that there is."""
        if self.is_away:
            return
        fleet = LocalFleet(link, self.keys.transport_public)
        told, stop = list[str](), threading.Event()
        stop.set()
        shelf = Shelf(self.spool.with_name(f"{self.spool.name}-model"), REST)
        node = Node(fleet, Spool(self.spool, REST), shelf, {"app": self.call}, {}, stop, told.append)
        node._number = fleet.activate()
        node._settle()
        while not told and (taken := fleet.take()) is not None:  # a message that is not whole yet is dropped, and told of
            node._handle(taken)


class OneByOne(threading.Event):
    """Whoever waits is given one clinic's answers more, in this order."""

    def __init__(self, serve: Iterator[Callable[[], None]]) -> None:
        super().__init__()
        self._serve = serve

    def wait(self, timeout: float | None = None) -> bool:
        next(self._serve)()
        return True


def _struck(link: SuperLink) -> list[tuple[Any, tuple[str, ...]]]:
    return [(link.state, STATE), (link.objects, OBJECTS)]


@dataclass
class Lasting:
    """A federation of which the center comes and goes."""

    folder: Path
    parties: Parties
    scenario: Scenario
    order: tuple[int, ...] = ()
    """Clinics by their places, as they answer one after the other; all at once where there is none."""

    def __post_init__(self) -> None:
        self.run_folder = self.folder / "run"
        self.run_folder.mkdir()
        self.clinics = [
            Clinic(peer, MemberKeys.generate(number.to_bytes(32)), self.folder / f"spool-{peer.name}")
            for number, peer in enumerate(self.parties.peers)
        ]

    def link(self) -> SuperLink:
        """That of a new process, on the state that there is."""
        made = SuperLink(self.folder / "superlink.db", REST)
        for clinic in self.clinics:
            made.register(clinic.keys.transport_public)
        if self.order:
            made.uploaded = OneByOne(partial(self.clinics[place].serve, made) for place in cycle(self.order))
        else:
            made.on_post(lambda nodes: [clinic.serve(made) for clinic in self.clinics])
        return made

    def goes(self, strikes: Strikes | None = None) -> bool:
        """Whether the center, started once, comes to the end of the run."""
        strikes, clock = strikes or Strikes(), self.parties.clock
        clock.sleep(5)
        link = self.link()
        begun = begun_in(self.run_folder) or self.begin(link)
        for clinic in self.clinics:
            clinic.serve(link)
        kept = [(whose, name, getattr(whose, name)) for whose, names in _struck(link) for name in names]
        for whose, name, call in kept:
            vars(whose)[name] = strikes.within(name, call)
        vars(link).update(forget=strikes.within("forget", link.forget))
        disk = StruckDisk(strikes)

        def course(folder: Path, clock: Clock) -> Course:
            return Course(folder, clock, disk)

        conduct = Conduct(self.run_folder, link, clock, self.parties.authority.public, course)
        try:
            conduct(self.scenario, len(self.clinics))
        except Stroke:
            return False
        finally:
            for whose, name, _ in kept:
                del vars(whose)[name]
        assert begun.name == begun_in(self.run_folder).name
        return True

    def begin(self, link: SuperLink) -> Begun:
        return begin(self.run_folder, link, "app", FEDERATION, self.scenario, self.parties.clock)

    def worked(self, kind: str) -> list[int]:
        """How many messages of a kind each clinic was given."""
        return [sum(each == kind for each, _ in clinic.worked) for clinic in self.clinics]

    def final(self) -> dict[str, bytes]:
        commit, faults = Commits(self.run_folder).latest()
        assert faults == []
        return {name: value.tobytes() for name, value in commit.tensors.items()}

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in lines(self.run_folder) if line["event"] == name]


def federation(folder: Path, *overrides: str, names: tuple[str, ...] = ("a", "b", "c")) -> Lasting:
    """Three clinics behind gates, or without where the overrides say so."""
    folder.mkdir(exist_ok=True)
    scenario = parse(SCENARIO, "tiny.yaml", overrides)
    parties = Parties(folder, [Peer(name) for name in names], scenario.privacy)
    parties.journal.close()  # the run has one of its own
    if not scenario.privacy.is_masked:
        for peer in parties.peers:
            peer.acts = dict.fromkeys(peer.acts, honest)
    return Lasting(folder, parties, scenario)
