"""The series that wait in the spool: an index of them in memory, made anew from the spool by each process; for one thread.

An image that waits and the note of what was told of its series are entries of one kind and group. A note names the images
that it is about by their numbers, and is put in the transaction that puts the result: whatever ends the process, a series is
told of once. While its images are held a closed series' note stays, too, so that one that comes much later is known.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from fedmed.clock import Clock
from fedmed.dicom.sources import Source, unpacked
from fedmed.edge.series import Around, Note, Part, Rule, Series, Verdict, Wait, judged
from fedmed.store.spool.entry import INSTANCE, REAL_TIME, SERIES, Entry, New
from fedmed.store.spool.spool import Spool
from fedmed.wire.canonical import canonical

if TYPE_CHECKING:
    from fedmed.edge.whole import Answer

NOTE = "note"
"""Form of the entry that is no image."""
CACHED = 3
"""Contents in memory while a series is read."""


EMPTY = Series(())


@dataclass
class Known:
    """What is here of one series."""

    group: str
    series: Series = EMPTY
    entries: dict[int, Entry] = field(default_factory=dict)
    """Of its images."""
    document: tuple[str, ...] = ()
    """What was told last, as `Finding.replaces` has it."""
    why_not: str = ""
    """Why no result was told last; empty where one was."""

    @property
    def first(self) -> int:
        """A number by which it is called."""
        return min((part.number for part in self.series.parts), default=0) or (
            self.series.note.number if self.series.note else 0
        )

    @property
    def study(self) -> str:
        """Its study, a group of the images that are not sorted yet."""
        return self.group.partition("/")[0]


class Gathered:
    """See the module."""

    def __init__(self, spool: Spool, clock: Clock, rule: Rule) -> None:
        self._spool, self._clock, self._rule = spool, clock, rule
        self._known: dict[str, Known] = {}
        self._last, self._is_first = 0, True

    def due(self, associations: Collection[str], is_able: bool) -> tuple[Known, Verdict] | float | None:
        """A series about which something is to be done; else until when nothing is, or None where none is here.

        `associations` and `is_able` are those of `Around`; times are those of `Clock.now`. Raises StoreError.
        """
        self._learn()
        now, until = self._clock.now(), list[float]()
        for known in self._known.values():
            is_coming = bool(known.series.fresh) and self._spool.has(INSTANCE, known.study)
            verdict = judged(known.series, Around(now, associations, is_coming, is_able), self._rule)
            if not isinstance(verdict, Wait):
                return known, verdict
            until.append(verdict.until)
        return min(until, default=None)

    def told(self, known: Known, answer: Answer, closed: str = "") -> None:
        """All that is here was told: what came of it and the note are put together. Raises StoreError, DataError."""
        parts = sorted(part.number for part in known.series.parts)
        gone = [] if known.series.note is None else [known.series.note.number]
        document = answer.document or known.document
        self._note(replace(known, document=document, why_not=answer.why_not), gone, parts, answer.new, closed)

    def close(self, known: Known, why: str) -> None:
        """Nothing more of it is looked at, and its images go. Raises StoreError."""
        note = known.series.note
        assert note is not None
        gone = [note.number, *(part.number for part in known.series.parts)]
        self._note(known, gone, [], (), why)

    def gone(self, known: Known, number: int) -> None:
        """An entry of it has left the spool."""
        known.entries.pop(number, None)
        parts = tuple(part for part in known.series.parts if part.number != number)
        note = known.series.note if known.series.note is None or known.series.note.number != number else None
        known.series = Series(parts, note)
        if not parts and note is None:
            self._known.pop(known.group, None)

    def forget(self) -> None:
        """Read all of it anew: something was otherwise than was thought."""
        self._known, self._last = {}, 0

    def sources(self, known: Known) -> list[Source]:
        """Its images, each read from the spool when it is needed. Reading one raises StoreError."""
        content = lru_cache(CACHED)(lambda number: self._spool.content(known.entries[number]))

        def source(number: int, entry: Entry) -> Source:
            return unpacked(str(entry.facts["sop_instance"]), entry.size, lambda length: content(number)[:length])

        return [source(number, entry) for number, entry in known.entries.items()]

    def _note(self, known: Known, gone: list[int], parts: list[int], new: Collection[New], closed: str) -> None:
        told = {"parts": parts, "document": list(known.document), "why_not": known.why_not, "closed": closed}
        content = canonical({**told, "after": gone[:1], "unix": self._clock.unix()})
        *_, put = self._spool.turn_all(gone, *new, New(SERIES, known.group, REAL_TIME, {"form": NOTE}, content))
        for number in gone:
            known.entries.pop(number, None)
        left = tuple(part for part in known.series.parts if part.number in known.entries)
        known.series = Series(left, Note(put.entry.number, frozenset(parts), self._clock.now(), closed))
        self._known[known.group] = known

    def _learn(self) -> None:
        for entry in self._later():
            known = self._known.setdefault(entry.group, Known(entry.group))
            series, age = known.series, max(0.0, self._clock.unix() - entry.unix)
            if entry.facts.get("form") == NOTE:
                if series.note is None or series.note.number < entry.number:
                    self._read(known, entry, age)
            elif entry.number not in known.entries:
                known.entries[entry.number] = entry
                known.series = replace(series, parts=(*series.parts, self._part(entry, age)))
        self._is_first = False

    def _read(self, known: Known, entry: Entry, age: float) -> None:
        """A note; one that nobody understands goes, counted and told."""
        try:
            told = json.loads(self._spool.content(entry))
            parts, closed = frozenset(map(int, told["parts"])), str(told["closed"])
            document, why_not = tuple(map(str, told["document"])), str(told["why_not"])
        except (ValueError, KeyError, TypeError):
            self._spool.drop(entry.number, "no note of a series: of another version")
            self.gone(known, entry.number)
            return
        known.series = replace(known.series, note=Note(entry.number, parts, self._clock.now() - age, closed))
        known.document, known.why_not = document, why_not

    def _part(self, entry: Entry, age: float) -> Part:
        facts, now = entry.facts, self._clock.now()
        return Part(
            number=entry.number,
            size=entry.size,
            began=now - age,
            seen=now if self._is_first else now - age,
            association=str(facts.get("association") or ""),
            acquisition=str(facts.get("acquisition") or ""),
            in_acquisition=facts.get("in_acquisition"),
            in_series=facts.get("in_series"),
        )

    def _later(self) -> Iterator[Entry]:
        while found := self._spool.later(SERIES, self._last):
            self._last = found[-1].number
            yield from found
