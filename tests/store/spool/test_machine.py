"""Any sequence of calls, crashes among them, against a model that is a list."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fedmed.errors import StoreError
from fedmed.store.spool import spool
from fedmed.store.spool.entry import KINDS, REAL_TIME, New, SpoolFull
from fedmed.store.spool.quota import Policy, Quota
from tests.store.spool.spools import KEY, Clock, Told, as_killed, opened

BLOCK, ROOM, RESERVED, DAYS = 4096, 16, 4, 7.0
MEMORY = next((path for path in ("/dev/shm",) if Path(path).is_dir()), None)
"""Where a sync costs nothing: what a loss of power leaves is not asked here."""
HOUR, DAY = 3600.0, 86400.0


@dataclass
class Kept:
    number: int
    kind: str
    group: str
    priority: int
    content: bytes
    unix: float
    until: float = 0.0

    @property
    def size(self) -> int:
        return len(self.content)

    @property
    def blocks(self) -> int:
        return 1 if len(self.content) < 1000 else 2


def contents() -> st.SearchStrategy[bytes]:
    return st.tuples(st.integers(0, 12), st.sampled_from([50, 5000])).map(lambda drawn: bytes([drawn[0]]) * drawn[1])


def news() -> st.SearchStrategy[New]:
    priorities = st.sampled_from([10, 20, REAL_TIME])
    return st.builds(New, st.sampled_from(KINDS[:3]), st.sampled_from("ab"), priorities, st.just({"a": 1}), contents())


class Machine(RuleBasedStateMachine):
    @initialize(policy=st.sampled_from(Policy), key=st.sampled_from([None, KEY]))
    def begin(self, policy: Policy, key: bytes | None) -> None:
        self.root, self.opened, self.key = Path(tempfile.mkdtemp(dir=MEMORY)), 0, key
        self.quota = Quota(ROOM * BLOCK, DAYS, policy, RESERVED / ROOM, ballast=0)
        self.clock, self.told = Clock(), Told()
        self.folder = self.root / "0"
        self.spool = opened(self.folder, self.quota, self.clock, self.told, key)
        self.kept: list[Kept] = []
        self.taken: set[int] = set()
        self.finished: dict[tuple[str, bytes], tuple[int, float]] = {}
        self.drops: list[tuple[int, str]] = []
        self.number = 1

    def teardown(self) -> None:
        if hasattr(self, "spool"):
            self.spool.close()
            shutil.rmtree(self.root)

    def fitted(self, new: New, kept: list[Kept], drops: list[tuple[int, str]], first: int) -> bool:
        allowed = ROOM if new.priority >= REAL_TIME else ROOM - RESERVED
        blocks = 1 if len(new.content) < 1000 else 2
        gone: list[tuple[int, str]] = []
        used = sum(each.blocks for each in kept)
        for each in sorted(kept, key=lambda one: (one.priority, one.number)):
            if used + blocks <= allowed:
                break
            if each.number in self.taken or each.number >= first or self.quota.policy is Policy.REFUSE:
                continue
            if each.priority < new.priority:
                gone.append((each.number, "outranked"))
            elif each.priority == new.priority and self.clock.time - each.unix > DAYS * DAY:
                gone.append((each.number, "outlived"))
            elif each.priority == new.priority and self.quota.policy is Policy.OLDEST:
                gone.append((each.number, "overtaken"))
            else:
                continue
            used -= each.blocks
        if used + blocks > allowed:
            return False
        drops += gone
        kept[:] = [each for each in kept if each.number not in {number for number, _ in gone}]
        return True

    def expected(self, batch: list[New], without: int | None):
        """What is to come of putting these, or None where they do not fit."""
        kept, drops, finished = [each for each in self.kept if each.number != without], [], dict(self.finished)
        for each in self.kept:
            if each.number == without:
                finished[each.kind, each.content] = (each.number, self.clock.time)
        number, said = self.number, []
        for new in batch:
            here = [each.number for each in kept if (each.kind, each.content) == (new.kind, new.content)]
            was, unix = finished.get((new.kind, new.content), (0, 0.0))
            if here:
                said.append((here[0], False))
            elif was and unix >= self.clock.time - DAYS * DAY:
                said.append((was, False))
            elif self.fitted(new, kept, drops, self.number):
                kept.append(Kept(number, new.kind, new.group, new.priority, new.content, self.clock.time))
                said.append((number, True))
                number += 1
            else:
                return None
        return said, kept, drops, finished, number

    def accept(self, made, expected) -> None:
        said, self.kept, drops, self.finished, self.number = expected
        assert [(put.entry.number, put.is_new) for put in made] == said
        self.drops += drops

    @rule(batch=st.lists(news(), min_size=1, max_size=3))
    def put(self, batch: list[New]) -> None:
        expected = self.expected(batch, None)
        if expected is None:
            with pytest.raises(SpoolFull, match="the spool is full"):
                self.spool.put(*batch)
        else:
            self.accept(self.spool.put(*batch), expected)

    def may_go(self, each: Kept) -> bool:
        return each.until <= self.clock.time or each.until > self.clock.time + DAY

    @rule(
        kinds=st.sets(st.sampled_from(KINDS[:3]), min_size=1),
        least=st.sampled_from([-1000, REAL_TIME]),
        most=st.integers(1, 4),
        most_bytes=st.sampled_from([0, 5100, 10**6]),
    )
    def take(self, kinds: set[str], least: int, most: int, most_bytes: int) -> None:
        heads: dict[tuple[str, str], Kept] = {}
        for each in self.kept:
            heads.setdefault((each.kind, each.group), each)
        ready = [
            each
            for each in heads.values()
            if each.kind in kinds and each.number not in self.taken and each.priority >= least and self.may_go(each)
        ]
        best = min(ready, key=lambda one: (-one.priority, one.number), default=None)
        wanted: list[Kept] = []
        for each in self.kept if best else ():
            if (each.kind, each.group) != (best.kind, best.group):
                continue
            fits = not wanted or sum(one.size for one in (*wanted, each)) <= most_bytes
            if (
                len(wanted) == most
                or each.number in self.taken
                or each.priority < least
                or not fits
                or not self.may_go(each)
            ):
                break
            wanted.append(each)
        if most == 1:
            one = self.spool.next(kinds, self.clock.time, least)
            found = [] if one is None else [one]
        else:
            found = self.spool.batch(kinds, self.clock.time, least, most, most_bytes)
        assert [entry.number for entry in found] == [each.number for each in wanted]
        for entry, each in zip(found, wanted, strict=True):
            self.taken.add(each.number)
            assert (entry.kind, entry.group, entry.priority) == (each.kind, each.group, each.priority)
            assert (entry.unix, entry.size, entry.facts) == (each.unix, each.size, {"a": 1})
            assert self.spool.content(entry) == each.content

    @precondition(lambda self: getattr(self, "taken", None))
    @rule(data=st.data(), batch=st.lists(news(), max_size=2))
    def turn(self, data: st.DataObject, batch: list[New]) -> None:
        number = data.draw(st.sampled_from(sorted(self.taken)))
        expected = self.expected(batch, number)
        if expected is None:
            with pytest.raises(SpoolFull, match="the spool is full"):
                self.spool.turn(number, *batch)
        else:
            made = self.spool.turn(number, *batch)
            self.taken.discard(number)
            self.accept(made, expected)
            with pytest.raises(StoreError, match="a step is made once"):
                self.spool.turn(number, *batch)

    @precondition(lambda self: getattr(self, "taken", None))
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        numbers = data.draw(st.lists(st.sampled_from(sorted(self.taken)), min_size=1, unique=True))
        self.spool.done(*numbers, 10**9)
        for each in self.kept:
            if each.number in numbers:
                self.finished[each.kind, each.content] = (each.number, self.clock.time)
        self.kept = [each for each in self.kept if each.number not in numbers]
        self.taken -= set(numbers)

    @precondition(lambda self: getattr(self, "taken", None))
    @rule(data=st.data(), wait=st.sampled_from([0.0, HOUR, 3 * DAY]))
    def defer(self, data: st.DataObject, wait: float) -> None:
        number = data.draw(st.sampled_from(sorted(self.taken)))
        self.spool.defer([number], self.clock.time + wait, "the PACS is away")
        self.taken.discard(number)
        next(each for each in self.kept if each.number == number).until = self.clock.time + min(wait, DAY)

    @rule(seconds=st.sampled_from([1.0, HOUR, 8 * DAY, -2 * DAY]))
    def pass_time(self, seconds: float) -> None:
        self.clock.time += seconds

    @rule()
    def crash(self) -> None:
        self.opened += 1
        folder = as_killed(self.folder, self.root / str(self.opened))
        self.spool.close()
        self.folder, self.taken = folder, set()
        self.spool = opened(folder, self.quota, self.clock, self.told, self.key)
        assert self.spool.rescued is None

    @invariant()
    def counted(self) -> None:
        if not hasattr(self, "spool"):
            return
        counts = self.spool.counts()
        for kind in KINDS:
            assert counts.entries[kind] == sum(each.kind == kind for each in self.kept)
            assert counts.bytes[kind] == sum(len(each.content) for each in self.kept if each.kind == kind)
        assert counts.used == sum(each.blocks for each in self.kept) * BLOCK
        assert counts.oldest == (self.kept[0].unix if self.kept else None)
        assert sorted(self.told.numbers) == sorted(self.drops)
        assert counts.untold == 0
        assert sum(counts.dropped.values()) == len(self.drops)


@pytest.fixture
def _large_from_a_block(monkeypatch):
    monkeypatch.setattr(spool, "APART", BLOCK)


TestMachine = pytest.mark.usefixtures("_large_from_a_block")(Machine.TestCase)
TestMachine.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
