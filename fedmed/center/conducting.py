"""One run at the center, from the queue to its end: who takes part, round after round, and what is said of it.

A run that cannot go on is stalled, not lost: its last commit stays, and it is tried again until it can or is stopped. One
that a crash ended goes on with the same round, with the answers that had come.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

from fedmed.center.assembling import Assembly
from fedmed.center.concluding import conclude
from fedmed.center.folder import CenterFolder
from fedmed.center.runs import Run, Runs, Stage
from fedmed.clock import Clock
from fedmed.config.scenario import Scenario
from fedmed.errors import ConfigError, DataError, FederationError, StoreError
from fedmed.federation.begun import Conduct, begin, begun_in
from fedmed.federation.journal import Journal
from fedmed.flower.direct import DirectGrid, RunStopped
from fedmed.flower.opening import disk_needed
from fedmed.flower.superlink import SuperLink
from fedmed.flower.transport import Transport
from fedmed.store.audit.event import Event as Entry
from fedmed.store.audit.event import event as entry
from fedmed.store.commits import Commit

AGAIN_S = 15.0
"""Until a stalled run is tried again."""
LEAST = 3
"""Clinics of a masked run; of two, each could take its own part off."""
STALLED = (FederationError, StoreError)
LOST = (ConfigError, DataError)


@dataclass(frozen=True)
class Stand:
    """What every run is conducted with."""

    folder: CenterFolder
    runs: Runs
    link: SuperLink
    clock: Clock
    record: Callable[[Entry], None]
    """Writes the audit log."""
    committed: Callable[[Run, Commit], None]
    """Told of every commit."""
    stop: Event
    """Of the service."""

    def is_over(self, name: str) -> bool:
        """Whether a run is to go no further now."""
        return self.stop.is_set() or self.runs.is_to_stop(name)

    def entry(self, run: str, action: str, outcome: str = "done", reason: str = "", number: int | None = None) -> Entry:
        """What the center did with a run, for the audit log; `number` is the round."""
        name = self.folder.config.federation
        return entry(self.clock.unix(), name, "center", action, run, outcome, reason=reason, round=number)


def turn(stand: Stand) -> bool:
    """Go on with the first run that is not over; whether there was one. Raises StoreError where its state is lost."""
    run = stand.runs.next()
    if run is None:
        return False
    try:
        with disk_needed():
            _conduct(stand, run)
    except RunStopped:
        if stand.runs.is_to_stop(run.name):
            _end(stand, run.name, Stage.STOPPED, "stopped by the operator; the last commit stays")
    except LOST as error:
        _end(stand, run.name, Stage.FAILED, str(error))
    except STALLED as error:
        stand.runs.put(replace(stand.runs.get(run.name), stage=Stage.STALLED, why=str(error)))
        stand.record(stand.entry(run.name, "run.stall", "failed", str(error)))
        _wait(stand, run.name)
    return True


def _wait(stand: Stand, name: str) -> None:
    end = stand.clock.now() + AGAIN_S
    while stand.clock.now() < end and not stand.is_over(name):
        stand.stop.wait(0.2)


def _conduct(stand: Stand, run: Run) -> None:
    scenario, path = stand.runs.scenario(run.name), stand.runs.path(run.name)
    if begun_in(path) is None:
        reference = stand.runs.offer(run.name).offered.reference
        begin(path, stand.link, reference, stand.folder.config.federation, scenario, stand.clock)
        stand.record(stand.entry(run.name, "run.start"))
    members = {stand.link.register(member.transport_public): member.name for member in stand.folder.members()}
    if not run.sites:
        run = _assembled(stand, run, scenario, members)
    left = _left(run, scenario, members)
    run = stand.runs.put(replace(run, stage=Stage.RUNNING, why=""))
    began = stand.clock.now()
    Conduct(
        path,
        stand.link,
        stand.clock,
        stand.folder.authority().public,
        journals=partial(_Recorded, stand, run.name),
        committed=partial(stand.committed, run),
        only=left,
        is_over=partial(stand.is_over, run.name),
    )(scenario, len(left))
    conclude(path, scenario, stand.clock.now() - began)
    _end(stand, run.name, Stage.DONE, "")


def _left(run: Run, scenario: Scenario, members: dict[int, str]) -> frozenset[int]:
    """The clinics that the run began with and that are members still; for one that was revoked nobody waits.

    Raises FederationError where they are too few for a sum.
    """
    left = frozenset(node for node, name in members.items() if name in run.sites)
    if len(left) < (LEAST if scenario.privacy.is_masked else 1):
        gone = sorted(set(run.sites) - set(members.values()))
        raise FederationError(
            f"{len(left)} of the run's clinics are members still, {LEAST} are needed; revoked: {', '.join(gone)}. Stop it, "
            "and begin another with more clinics"
        )
    return left


def _assembled(stand: Stand, run: Run, scenario: Scenario, members: dict[int, str]) -> Run:
    """With the clinics that it begins with. Raises RunStopped, FederationError."""
    least = max(LEAST if scenario.privacy.is_masked else 1, len(members) if run.least is None else run.least)
    if len(members) < least:
        raise FederationError(f"{len(members)} clinics are members, and {least} are needed; invite and admit the others")
    begun = begun_in(stand.runs.path(run.name))
    assert begun is not None  # it was begun before
    number = begun.number if stand.link.is_under_way(begun.number) else stand.link.start_run(begun.app)
    grid = DirectGrid(stand.link, number, stand.clock, is_over=partial(stand.is_over, run.name))

    def say(why: str) -> None:
        stand.runs.put(replace(run, stage=Stage.WAITING, why=why))

    assembly = Assembly(Transport(grid, stand.clock), scenario, members, least, stand.clock, say)
    found = assembly.gather(partial(stand.is_over, run.name))
    if not found:
        raise RunStopped
    return replace(run, sites=tuple(sorted(found.values())))


def _end(stand: Stand, name: str, stage: Stage, why: str) -> None:
    stand.runs.put(replace(stand.runs.get(name), stage=stage, why=why))
    begun = begun_in(stand.runs.path(name))
    if begun is not None and stand.link.is_under_way(begun.number):
        stand.link.end_run(begun.number)
    stand.record(stand.entry(name, f"run.{stage.value}", "failed" if stage is Stage.FAILED else "done", why))


class _Recorded(Journal):
    """A journal whose rounds, refusals and absences stand in the audit log as well."""

    def __init__(self, stand: Stand, run: str, folder: Path, clock: Clock) -> None:
        super().__init__(folder, clock)
        self._stand, self._run = stand, run

    def say(self, event: str, **details: Any) -> None:
        """Write one event, here and, where it is one for it, there."""
        super().say(event, **details)
        if (found := _audited(event, details)) is not None:
            self._stand.record(self._stand.entry(self._run, *found))


def _audited(event: str, details: dict[str, Any]) -> tuple[str, str, str, int | None] | None:
    """Action, outcome, reason and round."""
    match event:
        case "committed":
            return "round.commit", "done", "", int(details["round"])
        case "short":
            return "round.short", "failed", "; ".join(details["lacks"]), int(details["round"])
        case "unopened":
            return "round.unopened", "failed", str(details["reason"]), int(details["round"])
        case "failed" | "refused":
            return f"refuse.{event}", "refused", f"{details['site']}: {details['reason']}", int(details["round"])
        case "left-out":
            return "refuse.left_out", "refused", f"{details['site']}: {details['reason']}", None
        case "accused":
            return "refuse.accused", "refused", ", ".join(details["sites"]), None
    return None
