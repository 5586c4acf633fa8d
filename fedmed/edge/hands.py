"""What an agent does with its own hands: takes from the spool, looks at images, sends results, sends copies to the hub.

Whatever was done is written down in the spool before it is told. Work that ends its process is tried again by the next one,
but not for ever: what ended a process three times is set aside, with what is known of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from fedmed.clock import Clock
from fedmed.dicom.belonging import belonging
from fedmed.dicom.sending import Sent
from fedmed.dicom.statuses import Outcome
from fedmed.edge.aside import SET_ASIDE, Aside
from fedmed.edge.elsewhere import AT_ONCE, Elsewhere
from fedmed.edge.looking import RECORD, Desk, Looked, Model
from fedmed.edge.machine import KINDS, Done, Event, Failed, Found, Heard, Kept, Lane, Trained, Unheard
from fedmed.edge.making import Made, MakerEnded, MakerSlow
from fedmed.edge.outgoing import Line
from fedmed.edge.preparing import Prepared
from fedmed.edge.records import Records
from fedmed.edge.serieslane import SeriesLane
from fedmed.edge.stages import Stages
from fedmed.errors import DataError, DeviceRefused, EngineFailed, FedmedError, ProtocolRefused, StoreError
from fedmed.hub.borrowing import Question
from fedmed.store.spool.entry import INSTANCE, LATER, SERIES, Entry, SpoolFull
from fedmed.store.spool.spool import Spool

MOST_TRIES = 5
"""After which an image that no engine answers for goes on without a result."""
MOST_ENDED = 3
"""So often may work on one image end the process."""
MOST_SLOW = 2
"""So often a result may take too long to make, the second time twice as long as the first."""
AWAITS_S = 2.0
"""Between two looks whether a release is there that images wait for."""
AT_HAND = 16
"""Entries that are read at once to find the next image without a copy."""
Asked = tuple[Prepared, Question] | DataError
"""An image that others were asked to look at, or why they were not."""
Ended = TypeVar("Ended", bound=Found | Done | Failed)


class Pacs(Protocol):
    """`fedmed.dicom.sending.Sender`."""

    def send(self, objects: Sequence[bytes]) -> list[Sent]:
        """How each ended."""


class Hub(Protocol):
    """What the agent wants of its clinic's hub, beyond what it sends."""

    def beat(self, facts: dict[str, Any]) -> tuple[Heard, tuple[Event, ...]]:
        """Tell that this device lives; what is wanted of it. Raises FedmedError."""

    def train(self, halt: threading.Event) -> Trained:
        """The device's part in a round. Raises FedmedError."""


@dataclass
class EdgeHands:
    """See `fedmed.edge.running.Hands`; each lane is one thread's."""

    spool: Spool
    clock: Clock
    desk: Callable[[], Desk]
    """As it is now: a release may have changed it."""
    pacs: Pacs | None
    hub: Hub
    line: Line
    aside: Aside
    records: Records
    tell: Callable[[Event], None]
    say: Callable[[str], None]
    facts: Callable[[], dict[str, Any]]
    """What a heartbeat tells."""
    stages: Stages
    elsewhere: Elsewhere
    make: Callable[[bytes, int], Made]
    """`Maker.make`."""
    series: SeriesLane
    _held: dict[int, tuple[Entry, ...]] = field(default_factory=dict)
    _tries: dict[int, int] = field(default_factory=dict)
    _copied: int = 0
    """Up to this number no image waits for a release of which there is no copy yet."""

    def look(self, lane: Lane) -> Found | Failed:
        """The spool's next entry for a lane; for the hub as many as one call carries, as far as the line may be used."""
        return self._tried(lane, None, lambda: self.series.look() if lane is Lane.SERIES else self._found(lane))

    def work(self, lane: Lane, number: int) -> Done | Failed:
        """Work on what `look` found, to its end."""
        return self._tried(lane, number, lambda: self._done(lane, number))

    def _tried(self, lane: Lane, number: int | None, what: Callable[[], Ended]) -> Ended | Failed:
        """What a disk that refuses means to a lane, as any other trouble: nothing is let go, and the machine has it rest."""
        try:
            return what()
        except DeviceRefused as error:
            return Failed(lane, number, f"the hub lets this device in no more: {error}")
        except (FedmedError, OSError) as error:  # of a disk that is broken some calls say so in their own words
            return Failed(lane, number, str(error))

    def _found(self, lane: Lane) -> Found:
        wait: float | None
        if lane in (Lane.HUB, Lane.BESIDE):
            entries, wait = self.line.taken(self.spool, KINDS[lane], is_beside=lane is Lane.BESIDE)
        elif lane is Lane.WORK and self.desk().model is None:
            entries = self._uncopied()
            wait = None if entries or not self.spool.counts().entries[INSTANCE] else AWAITS_S
        else:
            most = AT_ONCE if lane is Lane.ELSEWHERE else 1
            entries = tuple(self.spool.batch(KINDS[lane], self.clock.unix(), most=most))
            wait = None if entries else self._put_off(KINDS[lane])
        if not entries:
            return Found(lane, None, None if wait is None else self.clock.now() + wait)
        self._held[entries[0].number] = entries
        return Found(lane, entries[0].number)

    def _done(self, lane: Lane, number: int) -> Done | Failed:
        if lane is Lane.SERIES:
            self.series.work(number)
            return Done(lane)
        lanes = {
            Lane.WORK: self._image,
            Lane.PACS: self._result,
            Lane.HUB: self._send,
            Lane.BESIDE: self._send,
            Lane.ELSEWHERE: self._others,
        }
        try:
            lanes[lane](self._held[number])
        except (DataError, ProtocolRefused) as error:
            self._set_aside(number, str(error))
            return Failed(lane, number, str(error), is_lasting=True)
        self._held.pop(number, None)
        self._tries.pop(number, None)
        return Done(lane)

    def _set_aside(self, number: int, why: str) -> None:
        """What nobody here can use lies where people find it, and what was taken with it is handed out again.

        Raises StoreError: all of it is in the spool.
        """
        first, *others = self._held[number]
        try:
            self.aside.keep(first, self.spool.content(first), why)
            self.spool.drop(first.number, SET_ASIDE)
        except StoreError as error:
            raise StoreError(f"{why}; it waits, for it cannot be set aside: {error}") from error
        self._held[number] = tuple(others)
        self.defer(number, 0.0, "sent with what was set aside")

    def defer(self, number: int, seconds: float, why: str) -> None:
        """Put an entry, and what was taken with it, off for so long."""
        until = self.clock.unix() + seconds
        if held := self._held.pop(number, ()):
            with suppress(StoreError):  # all is handed back all the same, and its lane rests
                self.spool.defer([each.number for each in held], until, why)

    def beat(self) -> tuple[Heard | Unheard, tuple[Event, ...]]:
        """A heartbeat, and what the hub wants."""
        try:
            return self.hub.beat(self.facts())
        except FedmedError as error:
            return Unheard(str(error)), ()

    def train(self, task: str, halt: threading.Event) -> Trained:
        """The device's part in a round; what fails is said, and asked for again where there is time."""
        try:
            return self.hub.train(halt)
        except FedmedError as error:
            self.say(f"{task}: {error}")
            return Trained(is_over=True)

    def _put_off(self, kinds: Sequence[str]) -> float | None:
        """Seconds until the next look where all that waits was put off."""
        counts = self.spool.counts()
        return 1.0 if counts.deferred and any(counts.entries[kind] for kind in kinds) else None

    def _uncopied(self) -> tuple[Entry, ...]:
        """The next image that nobody has seen while there is no release; handed out to nobody, so that none waits for it."""
        while found := self.spool.later(INSTANCE, self._copied, AT_HAND):
            for entry in found:
                if entry.priority > LATER:
                    return (entry,)
                self._copied = entry.number
        return ()

    def _image(self, entries: tuple[Entry, ...]) -> None:
        (entry,), desk = entries, self.desk()
        with self.aside.trying(entry) as tries:
            if tries > MOST_ENDED:
                raise _Never(f"image {entry.number} ended the agent's process {MOST_ENDED} times")
            if desk.model is None:
                self._early(entry, desk)
            else:
                self._keep(entry, self._looked(entry, desk))

    def _early(self, entry: Entry, desk: Desk) -> None:
        """Before the first release: a copy goes, and what a model may look at waits, as the least urgent thing there is."""
        content = self.spool.content(entry)
        looked = desk.look(content, entry.group, f"image {entry.number}", self.clock.unix(), entry.facts)
        try:
            belonging(content)
            if looked.new:
                self.spool.put(*looked.new)
        except DataError as error:
            self._keep(entry, replace(looked, withheld=(f"no result: {error}", *looked.withheld)))
        except SpoolFull:
            why = f"image {entry.number} waits for no release: the spool has room for its copy alone"
            self._keep(entry, replace(looked, withheld=(why, *looked.withheld)))
        else:
            self.spool.rank(entry.number, LATER)
            self._told(looked)

    def _keep(self, entry: Entry, looked: Looked) -> None:
        if not looked.new:
            raise _Never("; ".join(looked.withheld))
        # of a whole series an image waits on, and is no more urgent than it was
        new = [replace(each, priority=entry.priority) if each.kind == SERIES else each for each in looked.new]
        with self.stages.of("keep"):
            self.spool.turn(entry.number, *new)
        self._took("whole", entry)
        self._told(looked)

    def _took(self, stage: str, entry: Entry) -> None:
        """Since an image came; one that waited for a release tells nothing of how fast this device is."""
        if entry.priority > LATER:
            self.stages.took(stage, max(0.0, self.clock.unix() - entry.unix))

    def _told(self, looked: Looked) -> None:
        for reason in looked.withheld:
            self.say(reason)
        for kind in {each.kind for each in looked.new}:
            self.tell(Kept(kind))

    def _others(self, entries: tuple[Entry, ...]) -> None:
        """Images of one study, asked for together and told in their order; what has no answer stays in the spool."""
        desk, number = self.desk(), entries[0].number
        if (model := desk.model) is None:
            raise EngineFailed("no model is open here, so that nobody can be asked")
        asked: list[Asked] = []
        try:
            for entry in entries:
                asked.append(self._asked(entry, model))
            for at, entry in enumerate(entries):
                self._held[number] = entries[at:]
                self._told_by_others(entry, desk, model, asked[at])
            self._held[number] = ()
        finally:
            self.elsewhere.forget([each[1] for each in asked if not isinstance(each, DataError)])

    def _asked(self, entry: Entry, model: Model) -> Asked:
        """The error of an image that cannot be prepared: there is nothing to ask."""
        content, name = self.spool.content(entry), f"image {entry.number}"
        with self.aside.trying(entry, Lane.ELSEWHERE.value) as tries:
            if tries > MOST_ENDED:
                return DataError(f"{name} ended the agent's process {MOST_ENDED} times")
            try:
                prepared = model.image_recipe.prepared(content, name)
            except DataError as error:
                return error
        return prepared, self.elsewhere.begin(model, prepared)

    def _told_by_others(self, entry: Entry, desk: Desk, model: Model, asked: Asked) -> None:
        content, name, now = self.spool.content(entry), f"image {entry.number}", self.clock.unix()
        if isinstance(asked, DataError):
            copied = replace(desk, model=None).look(content, entry.group, name, now)
            self._keep(entry, replace(copied, withheld=(f"no result: {asked}", *copied.withheld)))
            return
        with self.stages.of("elsewhere"):
            answered = self.elsewhere.end(model, *asked)
        with self.aside.trying(entry, f"{Lane.ELSEWHERE.value}-told") as tries:
            if tries > MOST_ENDED:
                raise _Never(f"{name} ended the agent's process {MOST_ENDED} times")
            looked = replace(desk, model=model).look(content, entry.group, name, self.clock.unix(), answered=answered)
        self._keep(entry, looked)

    def _looked(self, entry: Entry, desk: Desk) -> Looked:
        name = f"image {entry.number}"
        self._took("wait", entry)
        with self.stages.of("read"):
            content = self.spool.content(entry)
        try:
            return desk.look(content, entry.group, name, self.clock.unix(), entry.facts)
        except EngineFailed as error:
            self._tries[entry.number] = self._tries.get(entry.number, 0) + 1
            if self._tries[entry.number] < MOST_TRIES:
                raise
            looked = replace(desk, model=None).look(content, entry.group, name, self.clock.unix())
            return replace(looked, withheld=(f"{name} has no result: {error}", *looked.withheld))

    def _result(self, entries: tuple[Entry, ...]) -> None:
        (entry,) = entries
        content = self.spool.content(entry)
        if entry.facts.get("form") == RECORD:
            self.records.keep(entry, content)
        elif self.pacs is None:
            raise _Never(f"result {entry.number} was made for a PACS, and none is configured any more")
        else:
            (sent,) = self._sent(self.pacs, entry.number, content)
            if sent.outcome is Outcome.NEVER:
                raise _Never(f"the PACS takes result {entry.number} never: {sent.said}")
            if sent.outcome is Outcome.LATER:
                raise StoreError(f"the PACS takes no results now: {sent.said}")
            if sent.outcome is Outcome.CHANGED:
                self.say(f"result {entry.number} is in the PACS, changed: {sent.said}")
        self.spool.done(entry.number)

    def _sent(self, pacs: Pacs, number: int, content: bytes) -> list[Sent]:
        """The object of a finding, made and sent. Raises DataError where no object can be about its images."""
        tries = self._tries.get(number, 0) + 1
        try:
            with self.stages.of("make"):
                made = self.make(content, tries)
        except MakerEnded as error:
            self._tries[number] = tries
            if isinstance(error, MakerSlow) and tries >= MOST_SLOW:
                why = f"takes more than {error.seconds:g} s to make, so that the PACS has none; fedmed edge results has it"
                raise _Never(f"result {number} {why}") from error
            if tries < MOST_ENDED:
                raise
            raise _Never(f"result {number} ended the process that makes it {MOST_ENDED} times") from error
        if made.why:
            self.say(made.why)
        with self.stages.of("send"):
            return pacs.send(list(made.objects))

    def _send(self, entries: tuple[Entry, ...]) -> None:
        refused = self.line.send(self.spool, entries)
        done = [each.number for each in entries if each.number not in refused]
        if done:
            self.spool.done(*done)
        self._held[entries[0].number] = tuple(each for each in entries if each.number in refused)
        if refused:
            first = next(iter(refused.values()))
            raise _Never(str(first)) if isinstance(first, ProtocolRefused) else first


class _Never(DataError):
    """Trying again cannot help."""
