"""The agent of one device: what comes in by its doors, what its machine says, and a file that tells how all of it stands.

doors     C-STORE, a watched folder, STOW: each instance is in the spool, on the disk, before it is acknowledged
running   the machine and its lanes (`fedmed.edge.running`)
releases  a thread that asks what is agreed, so that a slow download holds up no heartbeat
serve     pauses, resumes and stops all of it, and writes how it stands
"""

from __future__ import annotations

import os
import shutil
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from fedmed import __version__
from fedmed.dicom.arrivals import Kept as KeptInstance
from fedmed.dicom.limits import LIMITS as DICOM
from fedmed.dicom.sending import Sender
from fedmed.edge.aside import SET_ASIDE, Aside
from fedmed.edge.copying import copier
from fedmed.edge.doors import Doors
from fedmed.edge.elsewhere import Elsewhere
from fedmed.edge.folder import EdgeFolder
from fedmed.edge.gathered import Gathered
from fedmed.edge.hands import EdgeHands
from fedmed.edge.helping import Helping
from fedmed.edge.holding import give_back
from fedmed.edge.ladder.climber import Climber
from fedmed.edge.looking import Desk
from fedmed.edge.machine import Kept, Lane, Told
from fedmed.edge.making import Maker
from fedmed.edge.outgoing import Line
from fedmed.edge.pacing import Pace, QuietHours
from fedmed.edge.records import Records
from fedmed.edge.released import Released, options_of
from fedmed.edge.running import Running
from fedmed.edge.series import Rule
from fedmed.edge.serieslane import SeriesLane
from fedmed.edge.stages import Stages
from fedmed.edge.standing import PAUSED
from fedmed.edge.wanted import HubLine, fetchers
from fedmed.edge.wellbeing import wellbeing_of
from fedmed.errors import FedmedError, Unreachable
from fedmed.health.readings import Reading as HealthReading
from fedmed.health.readings import read
from fedmed.hub.borrowing import Borrowing
from fedmed.hub.client import HubClient
from fedmed.hub.looks import NOW, OFF, ON
from fedmed.operation.keeping import Duty, Keeper
from fedmed.operation.measured import Measured
from fedmed.operation.metrics import EDGE, Metrics, Reading
from fedmed.operation.watching import watched
from fedmed.releases.slots import Limits
from fedmed.releases.slots import Tell as Released_
from fedmed.serving.climbing import Trial
from fedmed.serving.testing import LIMITS
from fedmed.store.audit.event import event
from fedmed.store.spool.entry import INSTANCE, REAL_TIME, Entry, New
from fedmed.store.spool.quota import DAY_S, Quota
from fedmed.store.spool.spool import Spool
from fedmed.store.standing import serving, write_status

if TYPE_CHECKING:
    from fedmed.hub.training import Trainee

RELEASES_S, SIGNS_S, TIDY_S = 10.0, 60.0, 10.0
DRAIN_S = 60.0
LADDER_RUNS, LADDER_S = 30, 300.0
"""Calls of an engine that are timed, and seconds for all that is asked of one; TensorRT may have to build its plan."""
TOLD = 20
"""Lines of what the staff was told that the status keeps."""
Say = Callable[[str], None]


class Agent:
    """Made once a process; `serve` blocks until it is to stop."""

    def __init__(self, folder: EdgeFolder, say: Say) -> None:
        """Raises ConfigError, KeyRefused, StoreError for what is not in order in the folder."""
        config, clock, path = folder.config, folder.clock, folder.path
        self.folder, self._say, self.said = folder, say, deque[dict[str, Any]](maxlen=TOLD)
        self.stages = Stages(clock)
        self.log, key = folder.log(), folder.key()
        quota = Quota(bytes=int(config.keep.gigabytes * 10**9), days=config.keep.days)
        self.spool = Spool(path / "spool", clock, quota, self._dropped, key)
        if self.spool.rescued is not None:
            self.say(str(self.spool.rescued))
        self._line = HubClient(folder.device)
        limits = Limits(window_s=60 * config.trial.minutes, least_results=config.trial.results)
        how = Trial(LADDER_RUNS, replace(LIMITS, seconds=LADDER_S), options_of(path, config.inference))
        self.climber = Climber(path, key, config.inference, clock, how, self._is_behind, self.say, self.record)
        lines, pruned = fetchers(self._line), self._release_pruned
        self.released = Released(path, lines, config.inference, clock, self._release_told, limits, self.climber, pruned)
        self.climber.engines = self.released
        self._copied = None if config.deidentify is None else copier(path / config.deidentify)
        self.aside = Aside(path / "aside", key, clock)
        pacs = folder.destination()
        self._sender = None if pacs is None else Sender(pacs)
        self._maker = Maker()
        self.hub = HubLine(self._line, self._trainee())
        self.dead, self._stop, self._since = threading.Event(), threading.Event(), clock.unix()
        borrowing = Borrowing(self._line)
        self.elsewhere = Elsewhere(borrowing, clock, self._stop)
        self.helping = Helping(borrowing, self.released.lent, self._helps, self._heard_of_work, self._waits, self.say)
        self.outgoing = Line(self._line, _pace(folder), clock)
        hands = EdgeHands(
            self.spool,
            clock,
            self._desk,
            self._sender,
            self.hub,
            self.outgoing,
            self.aside,
            Records(path / "results"),
            lambda happened: self.running.tell(happened),
            self.say,
            self._facts,
            self.stages,
            self.elsewhere,
            self._maker.make,
            self._series(),
        )
        self.running = Running(hands, clock, lambda name, why: self._died(f"the thread {name!r} ended by a fault ({why})"))
        self.doors = Doors(folder, self._keep, self.log.append)
        self._signed_at, self._signed = float("-inf"), 0
        self._kept_at, self._tidied_at = clock.now(), float("-inf")
        self.well = wellbeing_of(folder, self.say, self.record, self._steps, self._died)
        self._metrics, self._rested = Metrics(EDGE, self._reading), Told(False)
        self._metrics.registry.register(Measured(self.well.measures))

    def _series(self) -> SeriesLane:
        """Who looks at whole series."""
        config = self.folder.config
        limits = replace(DICOM, decoded_bytes=int(1e6 * config.volumes.megabytes))
        return SeriesLane(
            self.spool,
            self.folder.clock,
            self._desk,
            Gathered(self.spool, self.folder.clock, _rule(self.folder)),
            self.aside,
            lambda: self.doors.associations(),
            lambda happened: self.running.tell(happened),
            self.say,
            config.inference.threads,
            limits,
        )

    def _trainee(self) -> Trainee | None:
        """Who trains along; nothing of it is loaded where nobody does."""
        if self.folder.config.training is None:
            return None
        from fedmed.edge.training import trainee_of

        return trainee_of(self.folder, self.folder.config.training, self._line, self.say)

    def say(self, text: str) -> None:
        """Tell staff: in the status, and in the log of the service."""
        self.said.append({"unix": self.folder.clock.unix(), "text": text})
        self._say(text)

    def record(self, action: str, resource: str, outcome: str = "done", reason: str = "", **details: Any) -> None:
        """Write the device's audit log. Raises StoreError: what was to be recorded must not be done then."""
        folder = self.folder
        self.log.append(
            event(folder.clock.unix(), folder.config.name, "site", action, resource, outcome, reason=reason, **details)
        )

    def _is_behind(self) -> bool:
        """Whether more images wait than the one that is looked at."""
        return self.spool.counts().entries[INSTANCE] > 1

    @property
    def is_paused(self) -> bool:
        """Whether staff wants no image to be looked at; what comes in is kept all the same."""
        return (self.folder.path / PAUSED).exists()

    def serve(self) -> bool:
        """Until a signal; whether what was under way was given up. Raises ConfigError where the folder is served already."""
        config, duty = self.folder.config, Duty(self._turn, self._drain, self._is_idle, self._unready, self._metrics)
        with serving(self.folder.path, "the agent"), Keeper(duty, config.health, self.folder.clock, self._say) as keeper:
            self.record("start", "the device's agent", version=__version__)
            self.released.begin()
            self.running.start()
            for name, work in self._beside():
                watched(name, work, self._told_of).start()
            self.doors.open()
            forced = keeper.keep(f"{config.name} is up, at {self.doors.told()}; its hub is {config.hub}:{config.port}")
            self._closed()
        return forced or self.dead.is_set()

    def _beside(self) -> list[tuple[str, Callable[[], None]]]:
        """What goes on beside the lanes, each in a thread; without one of them images are looked at as before."""
        keeps = {"ladder": self.climber.keep, "health": self.well.keep, "helping": self.helping.keep}
        return [("releases", self._keep_releases), *((name, partial(keep, self._stop)) for name, keep in keeps.items())]

    def _told_of(self, thread: str, why: str) -> None:
        self.say(f"the thread {thread!r} ended by a fault ({why}); images are looked at as before: start the agent again")

    def _closed(self) -> None:
        self.released.end()
        self.climber.end()
        self.record("stop", "the device's agent")
        self.log.head()
        write_status(self.folder.path, {**self.standing(), "state": "stopped"})
        if self._sender is not None:
            self._sender.close()
        self._maker.close()
        self._line.close()
        self.spool.close()

    def _turn(self) -> None:
        try:
            rests = Told(self.is_paused or self.well.isolated != "", bool(self._asks_others()))
            if rests != self._rested:
                self._rested = rests
                self.running.tell(rests)
            self.doors.look()
            self._maker.is_up()  # one that ended for having nothing to do leaves the table of processes
            self._sign()
            self._tidy()
            write_status(self.folder.path, self.standing())
        except FedmedError as error:
            self._metrics.failed(error, self.folder.clock.unix())
            self._say(str(error))

    def _asks_others(self) -> str:
        """Why images are looked at elsewhere; empty where they are not."""
        wanted = self.folder.config.elsewhere
        model = self.released.model
        if not wanted.asks or self.hub.elsewhere == OFF or self.is_paused or model is None or model.is_of_volumes:
            return ""
        if self.well.isolated:
            return f"it takes no work: {self.well.isolated}"
        is_many = wanted.after is not None and self._waits() > wanted.after
        return f"more images wait than {wanted.after}" if is_many else ""

    def _waits(self) -> int:
        """Images of its own that wait, or are looked at."""
        return self.spool.counts().entries[INSTANCE]

    def _helps(self) -> bool:
        """Whether it looks at others' images, and there are some."""
        takes = self.folder.config.elsewhere.helps and not self.is_paused and not self.well.isolated
        return takes and self.hub.elsewhere == NOW

    def _heard_of_work(self, is_wanted: bool) -> None:
        self.hub.elsewhere = NOW if is_wanted else ON

    def _tidy(self) -> None:
        """Give back what lies free, once no image has come for a while: for the next it has to be had anew."""
        now = self.folder.clock.now()
        if self._tidied_at <= self._kept_at <= now - TIDY_S:
            self._tidied_at = now
            give_back()

    def _sign(self) -> None:
        """A head of the audit log, where it has grown since the last one."""
        now = self.folder.clock.now()
        if now - self._signed_at >= SIGNS_S and self.log.size != self._signed:
            self._signed_at, self._signed = now, self.log.head().size

    def _drain(self) -> None:
        self.doors.close()
        self._stop.set()
        self._drained = threading.Thread(target=self.running.stop, args=(DRAIN_S,), daemon=True)
        self._drained.start()

    def _is_idle(self) -> bool:
        return self._stop.is_set() and not self._drained.is_alive()

    def _steps(self) -> list[HealthReading]:
        """The image and the series that are looked at: standing at one for long is a stall."""
        places, lanes = self.running.state.places, {Lane.WORK: "looking at images", Lane.SERIES: "looking at series"}
        found = ((places[lane].busy, what) for lane, what in lanes.items())
        return [read("task_steps", float(number), what) for number, what in found if number is not None]

    def _died(self, why: str) -> None:
        """A thread ended by what no hand should raise, or stands still: the process goes, and the next one goes on."""
        self._say(f"{why}; the agent ends, and is to be started again")
        self.dead.set()
        os._exit(1)

    def _keep(self, content: bytes, facts: Mapping[str, Any]) -> KeptInstance:
        """What came by any door, on the disk when this returns. Raises SpoolFull, StoreError: nothing of it is kept."""
        self._kept_at = self.folder.clock.now()
        [put] = self.spool.put(New(INSTANCE, _group(facts), REAL_TIME, facts, content))
        self.running.tell(Kept(INSTANCE))
        return KeptInstance(put.is_new)

    def _desk(self) -> Desk:
        config = self.folder.config
        return Desk(config.name, self.released.model, config.pacs is not None, self._copied, self.stages)

    def _dropped(self, entry: Entry, why: str) -> None:
        """Nothing is dropped in silence."""
        self.record("prune.spool", f"{entry.kind} {entry.number}", "done", why, bytes=entry.size)
        self.say(f"{entry.kind} {entry.number} of {entry.size} bytes {'was' if why == SET_ASIDE else 'was dropped:'} {why}")

    def _keep_releases(self) -> None:
        unheard = ""
        while not self._stop.wait(RELEASES_S):
            try:
                self.released.beat()
                unheard = ""
            except Unreachable as error:
                unheard = str(error)  # the heartbeat says so
            except FedmedError as error:
                if str(error) != unheard:
                    self.say(str(error))
                unheard = str(error)

    def _release_told(self, told: Released_) -> None:
        self.record("release.device", f"release {told.counter}", told.outcome, told.text)
        self.say(f"release {told.counter}: {told.text}")

    def _release_pruned(self, number: int, size: int) -> None:
        self.record("prune.release", "releases", bytes=size, number=number)

    def _facts(self) -> dict[str, Any]:
        """What the hub is told; nothing of a patient."""
        counts = self.spool.counts()
        return {
            "spool": {"entries": dict(counts.entries), "bytes": counts.used, "dropped": dict(counts.dropped)},
            "models": self.released.standing(),
            "paused": self.is_paused,
            "helps": self.folder.config.elsewhere.helps,
            "asks_others": self._asks_others() != "",
            "health": self.well.facts(),
            "node": {**self.well.sizes, "threads": self.folder.config.inference.threads},
        }

    def _unready(self) -> list[str]:
        reasons = ["staff has paused it"] if self.is_paused else []
        reasons += [f"it takes no work: {self.well.isolated}"] if self.well.isolated else []
        return reasons if self.running.state.line.is_heard else [*reasons, "the hub is not heard"]

    def _reading(self) -> Reading:
        counts = self.spool.counts()
        return Reading(
            ready=not self._unready(),
            spooled=sum(counts.entries.values()),
            spooled_bytes=counts.used,
            disk_free_bytes=shutil.disk_usage(self.folder.path).free,
            paused=self.is_paused,
        )

    def standing(self) -> dict[str, Any]:
        """How the agent stands: JSON."""
        state, facts = self.running.state, self._facts()
        return {
            "state": "paused" if self.is_paused else "up",
            "pid": os.getpid(),
            "version": __version__,
            "unix": self.folder.clock.unix(),
            "since": self._since,
            "name": self.folder.config.name,
            "hub_heard": state.line.is_heard,
            "working_on": {lane.value: place.busy for lane, place in state.places.items() if place.busy is not None},
            "leaving": self.outgoing.told(self.spool),
            "stages": self.stages.told(),
            "said": list(self.said),
            "elsewhere": {"why": self._asks_others(), "by": self.elsewhere.told, "for_others": self.helping.count},
            **facts,
            "health": self.well.told(),
        }


def _group(facts: Mapping[str, Any]) -> str:
    return str(facts.get("study") or facts.get("sop_instance") or "none")[:256]


def _rule(folder: EdgeFolder) -> Rule:
    said, days = folder.config.volumes, folder.config.keep.days
    return Rule(
        quiet_s=said.quiet_s,
        longest_s=60 * said.longest_minutes,
        late_s=60 * said.late_minutes,
        remembered_s=DAY_S * days,
        most_images=said.images,
        most_bytes=int(1e6 * said.megabytes),
    )


def _pace(folder: EdgeFolder) -> Pace:
    line = folder.config.line
    return Pace(
        None if line.megabits is None else int(line.megabits * 125_000),
        () if line.quiet is None else (QuietHours.parse(line.quiet),),
    )
