"""One run at the center, from the queue to its end: who takes part, round after round, and what is said of it.

A run that cannot go on is stalled, not lost: its last commit stays, and it is tried again until it can or is stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
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
from fedmed.federation.epochs import Names
from fedmed.federation.journal import Journal
from fedmed.federation.meeting import Trust
from fedmed.federation.run import run as federate
from fedmed.flower.direct import DirectGrid, RunStopped
from fedmed.flower.superlink import SuperLink
from fedmed.flower.transport import Transport
from fedmed.store.audit.event import Event as Entry
from fedmed.store.audit.event import event as entry
from fedmed.store.commits import Commits

AGAIN_S = 15.0
"""Until a stalled run is tried again."""
LEAST = 3
"""Clinics of a masked run; of two, each could take its own part off."""
Record = Callable[[Entry], None]


@dataclass(frozen=True)
class Stand:
    """What every run is conducted with."""

    folder: CenterFolder
    runs: Runs
    link: SuperLink
    clock: Clock
    record: Record
    """Writes the audit log."""
    stop: Event
    """Of the service."""


def turn(stand: Stand) -> bool:
    """Go on with the first run that is not over; whether there was one. Raises StoreError where its state is lost."""
    run = stand.runs.next()
    if run is None:
        return False
    try:
        _conduct(stand, run)
    except RunStopped:
        if stand.runs.is_to_stop(run.name):
            _end(stand, run.name, Stage.STOPPED, "stopped by the operator; the last commit stays")
    except (ConfigError, DataError) as error:
        _end(stand, run.name, Stage.FAILED, str(error))
    except (FederationError, StoreError) as error:
        found = stand.runs.get(run.name)
        stand.runs.put(replace(found, stage=Stage.STALLED, why=str(error)))
        stand.record(_entry(stand, found, "run.stall", "failed", reason=str(error)))
        _wait(stand, run.name)
    return True


def _wait(stand: Stand, name: str) -> None:
    end = stand.clock.now() + AGAIN_S
    while stand.clock.now() < end and not (stand.stop.is_set() or stand.runs.is_to_stop(name)):
        stand.stop.wait(0.2)


def _conduct(stand: Stand, run: Run) -> None:
    scenario, path = stand.runs.scenario(run.name), stand.runs.path(run.name)
    run = _numbered(stand, run, scenario)
    assert run.number is not None

    def is_over() -> bool:
        return stand.stop.is_set() or stand.runs.is_to_stop(run.name)

    members = _members(stand)
    grid = DirectGrid(stand.link, run.number, stand.clock, is_over=is_over)
    transport = Transport(grid, stand.clock)
    if not run.sites:
        run = _assembled(stand, run, scenario, transport, members)
    grid.only = frozenset(node for node, name in members.items() if name in run.sites)
    run = stand.runs.put(replace(run, stage=Stage.RUNNING, why=""))
    journal = _Recorded(path, stand, run)
    try:
        trust = Trust(stand.folder.authority().public, Names(stand.folder.config.federation, run.called))
        began = stand.clock.now()
        federate(transport, scenario, Commits(path), stand.clock, journal, len(run.sites), trust)
        conclude(path, scenario, stand.clock.now() - began)
        journal.say("done", status="complete")
    finally:
        journal.close()
    _end(stand, run.name, Stage.DONE, "")


def _numbered(stand: Stand, run: Run, scenario: Scenario) -> Run:
    """With its run at the SuperLink taken up, or begun where there is none (any more)."""
    if run.number is not None:
        try:
            stand.link.take_up(run.number)
        except FederationError:
            run = replace(run, number=None)
    if run.number is None:
        # a name of its own for each run: whoever takes part in two of them must not take one for the other
        began = datetime.fromtimestamp(stand.clock.unix(), timezone.utc).isoformat(timespec="milliseconds")
        called = run.called or f"{run.name} {began}"
        run = replace(run, number=stand.link.start_run(scenario.name), called=called)
        stand.record(_entry(stand, run, "run.start", "done"))
    return stand.runs.put(run)


def _members(stand: Stand) -> dict[int, str]:
    """Node -> name of every member, each known to the SuperLink from now on."""
    return {stand.link.register(member.transport_public): member.name for member in stand.folder.members()}


def _assembled(stand: Stand, run: Run, scenario: Scenario, transport: Transport, members: dict[int, str]) -> Run:
    def say(why: str) -> None:
        stand.runs.put(replace(run, stage=Stage.WAITING, why=why))

    least = max(LEAST if scenario.privacy.is_masked else 1, len(members) if run.least is None else run.least)
    if len(members) < least:
        raise FederationError(f"{len(members)} clinics are members, and {least} are needed; invite and admit the others")

    def is_over() -> bool:
        return stand.stop.is_set() or stand.runs.is_to_stop(run.name)

    found = Assembly(transport, scenario, members, least, stand.clock, say).gather(is_over)
    if not found:
        raise RunStopped
    return replace(run, sites=tuple(sorted(found.values())))


def _end(stand: Stand, name: str, stage: Stage, why: str) -> None:
    run = stand.runs.put(replace(stand.runs.get(name), stage=stage, why=why))
    if run.number is not None:
        stand.link.end_run(run.number)
    outcome = "done" if stage is not Stage.FAILED else "failed"
    stand.record(_entry(stand, run, f"run.{stage.value}", outcome, reason=why))


def _entry(stand: Stand, run: Run, action: str, outcome: str, reason: str = "", round: int | None = None) -> Entry:
    name = stand.folder.config.federation
    return entry(stand.clock.unix(), name, "center", action, run.name, outcome, reason=reason, round=round)


class _Recorded(Journal):
    """A journal whose rounds, refusals and absences stand in the audit log as well."""

    def __init__(self, folder: Path, stand: Stand, run: Run) -> None:
        super().__init__(folder, stand.clock)
        self._stand, self._run = stand, run

    def say(self, event: str, **details: Any) -> None:
        """Write one event, here and, where it is one for it, there."""
        super().say(event, **details)
        if (found := _audited(event, details)) is not None:
            action, outcome, reason, number = found
            self._stand.record(_entry(self._stand, self._run, action, outcome, reason, number))


def _audited(event: str, details: dict[str, Any]) -> tuple[str, str, str, int | None] | None:
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
