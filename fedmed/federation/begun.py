"""A run of a center that stays up for months: how it is begun, and how the next process goes on with it.

`begun.json` in the run folder holds what stays the same from the first process of a run to its last: the name that terms of
secure aggregation are bound to, the app that clinics answer with, and the run's number in Flower's state.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from fedmed.clock import Clock
from fedmed.config.scenario import Scenario
from fedmed.errors import CourseLost, FederationError, StoreError
from fedmed.federation.course import Course
from fedmed.federation.epochs import Names
from fedmed.federation.journal import Journal
from fedmed.federation.meeting import Trust
from fedmed.federation.patience import Notes
from fedmed.federation.run import run
from fedmed.flower.direct import DirectGrid
from fedmed.flower.superlink import SuperLink
from fedmed.flower.transport import Transport
from fedmed.store.commits import Commit, Commits
from fedmed.store.disk import Disk, replace_file

NAME = "begun.json"


@dataclass(frozen=True)
class Begun:
    """What a run is known by, from its beginning to its end."""

    federation: str
    name: str
    """The scenario's, and when the run began: no two runs have the same."""
    app: str
    """The app that clinics have approved."""
    number: int
    """In Flower's state."""

    @property
    def names(self) -> Names:
        """What terms are bound to."""
        return Names(self.federation, self.name)


def name_of(scenario: Scenario, clock: Clock) -> str:
    """A run's name: no two that begin at different moments have the same."""
    return f"{scenario.name} {datetime.fromtimestamp(clock.unix(), UTC).isoformat(timespec='milliseconds')}"


def begun_in(folder: Path) -> Begun | None:
    """What the run in `folder` is known by; None where none was begun. Raises StoreError for a file that was changed."""
    path = folder / NAME
    try:
        return Begun(**json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise StoreError(f"{path} cannot be read ({type(error).__name__}); put the copy of it back") from error


def _kept(folder: Path, begun: Begun) -> Begun:
    try:
        replace_file(Disk(), folder / NAME, json.dumps(asdict(begun), indent=1).encode() + b"\n")
    except OSError as error:
        raise StoreError(
            f"{folder / NAME} cannot be written ({error.strerror or error}); make room or mend the disk"
        ) from error
    return begun


def begin(folder: Path, link: SuperLink, app: str, federation: str, scenario: Scenario, clock: Clock) -> Begun:
    """Begin a run in a folder that is there and holds none. Raises StoreError, FederationError."""
    if (begun := begun_in(folder)) is not None:
        raise StoreError(f"{folder} holds the run {begun.name!r}; go on with it, or name another folder")
    return _kept(folder, Begun(federation, name_of(scenario, clock), app, link.start_run(app)))


@dataclass(frozen=True)
class Conduct:
    """What a run needs of the center."""

    folder: Path
    link: SuperLink
    clock: Clock
    authority: bytes
    """Public key of the authority that signs the sites' certificates, DER."""
    courses: Callable[[Path, Clock], Course] = Course
    journals: Callable[[Path, Clock], Journal] = Journal
    committed: Callable[[Commit], None] = lambda commit: None
    """Told of each commit once it is on the disk."""
    only: frozenset[int] | None = None
    """Nodes that may take part; all where None."""
    is_over: Callable[[], bool] = lambda: False
    """Whether the run is to go no further now: then RunStopped leaves `__call__`, and the next call goes on."""

    def __call__(self, scenario: Scenario, expected: int = 1) -> None:
        """Go on with the run of the folder until its last round is committed; `expected` sites at least begin it.

        After a crash the next process calls the same. Raises FederationError where the federation cannot go on: a next
        call makes a new attempt at the round, in a new epoch. Raises StoreError: a next call goes on where this one was.
        """
        journal = self.journals(self.folder, self.clock)
        course = self.courses(self.folder, self.clock)
        try:
            begun = self._taken_up(course)
            if scenario.federation.buffer is not None:  # what was under way is asked for again from the last commit
                course.give_up()
            try:
                self._run(begun, scenario, expected, journal, course)
            except CourseLost as error:
                journal.say("begun-again", reason=str(error))
                course.give_up()
                self._run(begun, scenario, expected, journal, course)
            self.link.end_run(begun.number)
        except FederationError:
            course.give_up()
            raise
        finally:
            journal.close()

    def _run(self, begun: Begun, scenario: Scenario, expected: int, journal: Journal, course: Course) -> None:
        self.link.take_up(begun.number)
        grid = DirectGrid(self.link, begun.number, self.clock, keeps=True, is_over=self.is_over)
        grid.only = self.only
        transport, trust, notes = Transport(grid, self.clock, course), Trust(self.authority, begun.names), Notes(self.folder)
        run(transport, scenario, Commits(self.folder), self.clock, journal, expected, trust, self.committed, notes)

    def _taken_up(self, course: Course) -> Begun:
        """The run, under a new number where Flower's state does not have it any more, or ended it."""
        begun = begun_in(self.folder)
        if begun is None:
            raise StoreError(f"{self.folder} holds no run; begin one there")
        if self.link.is_under_way(begun.number):
            return begun
        course.give_up()
        return _kept(self.folder, replace(begun, number=self.link.start_run(begun.app)))
