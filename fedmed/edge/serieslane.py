"""The lane of whole series: what `fedmed.edge.series` says is to be done about one, done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fedmed.clock import Clock
from fedmed.dicom.limits import LIMITS, Limits
from fedmed.edge.aside import SET_ASIDE, Aside
from fedmed.edge.gathered import Gathered, Known
from fedmed.edge.looking import Desk
from fedmed.edge.machine import Event, Found, Kept, Lane
from fedmed.edge.series import CLOSED, Because, Close, Forget, Late, Look, Verdict, announced
from fedmed.errors import DataError, EngineFailed, FedmedError
from fedmed.store.spool.entry import RESULT
from fedmed.store.spool.spool import Spool
from fedmed.wire.words import count

if TYPE_CHECKING:
    from fedmed.edge.whole import Answer, Whole

MOST_TRIES = 5
"""After which a series that no engine answers for ends without a result."""
MOST_ENDED = 3
"""So often may work on one series end the process."""
AGAIN_S = 1.0


@dataclass
class SeriesLane:
    """Of one thread. A step that fails is tried again: all that counts is in the spool."""

    spool: Spool
    clock: Clock
    desk: Callable[[], Desk]
    gathered: Gathered
    aside: Aside
    associations: Callable[[], frozenset[str]]
    """Those that have not ended."""
    tell: Callable[[Event], None]
    say: Callable[[str], None]
    workers: int = 1
    limits: Limits = LIMITS
    _due: tuple[Known, Verdict] | None = None
    _tries: dict[str, int] = field(default_factory=dict)

    def look(self) -> Found:
        """The next series about which something is to be done. Raises StoreError."""
        model = self.desk().model
        with self._or_anew():
            due = self.gathered.due(self.associations(), model is not None and model.is_of_volumes)
        if due is None or isinstance(due, float):
            return Found(Lane.SERIES, None, None if due is None else max(due, self.clock.now() + AGAIN_S))
        self._due = due
        return Found(Lane.SERIES, due[0].first)

    def work(self, number: int) -> None:
        """Do it, to its end. Raises FedmedError: it is tried again."""
        assert self._due is not None
        (known, verdict), self._due = self._due, None
        with self._or_anew():
            self._do(known, verdict)

    @contextmanager
    def _or_anew(self) -> Iterator[None]:
        """What fails leaves no index that may be wrong."""
        try:
            yield
        except FedmedError:
            self.gathered.forget()
            raise

    def _do(self, known: Known, verdict: Verdict) -> None:
        match verdict:
            case Look(because):
                self._look(known, because)
            case Close(why):
                self._close(known, why)
            case Late(numbers, why):
                self._set_aside(known, numbers, why)
            case Forget():
                assert known.series.note is not None
                number = known.series.note.number
                self.spool.done(number)
                self.gathered.gone(known, number)

    def _look(self, known: Known, because: Because) -> None:
        from fedmed.edge.whole import look_at, unlooked

        whole, desk, unix = self._whole(known, because), self.desk(), self.clock.unix()
        with self.aside.trying(known.entries[known.first], Lane.SERIES.value) as tries:
            if tries > MOST_ENDED:
                why = f"it ended the agent's process {MOST_ENDED} times"
                self._tell(known, whole, unlooked(whole, desk, unix, "ended-the-process", why), why)
                return
            try:
                answer = look_at(whole, desk, unix, self.workers, self.limits)
            except EngineFailed as error:
                self._tries[known.group] = self._tries.get(known.group, 0) + 1
                if self._tries[known.group] < MOST_TRIES:
                    raise
                answer = unlooked(whole, desk, unix, "no-answer", str(error))
        try:
            self._tell(known, whole, answer)
        except DataError as error:  # more than an entry of the spool holds
            self._tell(known, whole, unlooked(whole, desk, unix, "no-result", str(error)))

    def _tell(self, known: Known, whole: Whole, answer: Answer, closed: str = "") -> None:
        self.gathered.told(known, answer, closed)
        self._tries.pop(known.group, None)
        if answer.why_not:
            self.say(f"{whole.name} has no result: {answer.why_not}")
        elif whole.announced is not None and whole.announced > len(whole.sources):
            self.say(f"{whole.name} was looked at with {len(whole.sources)} of {whole.announced} images: no more came")
        self.tell(Kept(RESULT))

    def _whole(self, known: Known, because: Because) -> Whole:
        from fedmed.edge.whole import Whole

        facts = known.entries[known.first].facts
        return Whole(
            f"series {known.first}",
            str(facts["study"]),
            str(facts["series"]),
            self.gathered.sources(known),
            because,
            announced(known.series.parts),
            known.document,
        )

    def _close(self, known: Known, why: str) -> None:
        from fedmed.edge.whole import Answer, unlooked

        if why:
            whole = self._whole(known, Because.BOUND)
            self._tell(known, whole, unlooked(whole, self.desk(), self.clock.unix(), "too-large", why), why)
        elif not known.document and self.desk().copied is None:  # no result, no copy: these are all that there is
            self.gathered.told(known, Answer((), (), known.why_not), known.why_not or CLOSED)
        else:
            self.gathered.close(known, CLOSED)

    def _set_aside(self, known: Known, numbers: tuple[int, ...], why: str) -> None:
        for number in numbers:
            self.aside.keep(known.entries[number], self.spool.content(known.entries[number]), why)
            self.spool.drop(number, SET_ASIDE)
            self.gathered.gone(known, number)
        self.say(f"{count(len(numbers), 'image of a series was', 'images of a series were')} set aside: {why}")
