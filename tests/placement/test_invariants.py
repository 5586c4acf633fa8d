from __future__ import annotations

from itertools import islice

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fedmed.placement.events import (
    Claim,
    Failed,
    Finished,
    Heard,
    Isolated,
    Joined,
    Left,
    Restored,
    Retried,
    Start,
    Stop,
    Submitted,
    Take,
    Ticked,
    Withdrawn,
    Yield,
    Yielded,
)
from fedmed.placement.machine import step
from fedmed.placement.nodes import Live, Tier
from fedmed.placement.rules import Rules
from fedmed.placement.state import State
from fedmed.placement.tasks import Amount, Kind, Needs, Precision
from tests.placement.worlds import node, task

CUDA = frozenset({"cuda"})
NODES = [
    *(node(f"east-{i}", clinic="east", cores=2 + i, gpu=4 * i, accelerators=CUDA) for i in range(3)),
    *(node(f"west-{i}", clinic="west", cores=3, memory=4, shares_memory=True, accelerators=CUDA) for i in range(2)),
    node("east-big", Tier.CLINIC, "east", cores=6, gpu=16, accelerators=CUDA),
    *(node(f"center-{i}", Tier.CENTER, cores=4) for i in range(2)),
]
NAMES = [each.name for each in NODES]
RULES = Rules(quotas={(Tier.CLINIC, Kind.BATCH): 0.5, (Tier.DEVICE, Kind.COMPUTE): 0.4, (Tier.CENTER, Kind.STORAGE): 0.3})
some = st.integers(0, 2**16)


class Hospitals(RuleBasedStateMachine):
    """Clinics with nodes that work, die, come back and lie; the model beside them runs what it is told to run."""

    def __init__(self) -> None:
        super().__init__()
        self.state, self.now, self.number = State(RULES), 0.0, 0
        self.alive: set[str] = set()
        self.boxes: dict[str, dict[str, int]] = {name: {} for name in NAMES}
        """What each machine really runs, with its attempt."""
        self.given: set[str] = set()
        self.gone: set[str] = set()
        self.taken: list[tuple[str, str]] = []
        self.attempts: dict[str, int] = {}

    def tell(self, event) -> None:
        self.state, said = step(self.state, event)
        quota_of: set[tuple[Tier, Kind]] = set()
        for each in said:
            match each:
                case Start(name, one, attempt):
                    assert attempt >= self.attempts.get(one.name, 0)
                    self.attempts[one.name] = attempt
                    clinic = self.state.nodes[name].node.clinic
                    assert clinic == one.clinic or (clinic == "" and not one.reads_patients)
                    assert not self.state.nodes[name].isolated
                    quota_of.add((self.state.nodes[name].node.tier, one.kind))
                    if name in self.alive:
                        self.boxes[name][one.name] = attempt
                case Yield(name, one, attempt) | Stop(name, one, attempt):
                    if name in self.alive and self.boxes[name].get(one) == attempt:
                        del self.boxes[name][one]
                case Take(name, one, attempt):
                    assert attempt == self.attempts[one]
                    self.taken.append((one, name))
        for tier, kind in quota_of:
            limit = self.state.quota(tier, kind)
            assert limit is None or not self.held(tier, kind).over(limit)

    def held(self, tier: Tier, kind: Kind) -> Amount:
        total = Amount()
        for grant in self.state.running.values():
            for name, charge in zip(grant.nodes, grant.charges, strict=True):
                if self.state.nodes[name].node.tier is tier and grant.held.task.kind is kind:
                    total = total.plus(charge)
        return total

    @initialize()
    def begin(self) -> None:
        for each in NODES:
            self.join(NAMES.index(each.name))

    @rule(at=some)
    def join(self, at: int) -> None:
        each = NODES[at % len(NODES)]
        self.alive.add(each.name)
        self.boxes[each.name].clear()
        self.tell(Joined(each, self.now))

    @rule(
        kind=st.sampled_from(Kind),
        clinic=st.sampled_from(["east", "west"]),
        patients=st.booleans(),
        priority=st.integers(0, 9),
        cores=st.integers(1, 7),
        members=st.sampled_from([1, 1, 1, 2, 3]),
        gpu=st.sampled_from([0, 0, 3, 6]),
        split=st.booleans(),
    )
    def submit(self, kind, clinic, patients, priority, cores, members, gpu, split) -> None:
        self.number += 1
        accelerators = ("cuda",) if gpu else ("cpu",)
        ladder = (Precision.FP32, Precision.FP16)
        needs = Needs(Amount(cores * 1000, 10**9), accelerators, ladder, 4, split, item_bytes=gpu * 10**9 // 4)
        one = task(f"t{self.number}", kind, clinic, needs=needs, reads_patients=patients, priority=priority, members=members)
        self.given.add(one.name)
        self.tell(Submitted(one, self.now))

    @rule(seconds=st.sampled_from([1, 5, 20, 50, 700]))
    def wait(self, seconds: int) -> None:
        self.now += seconds
        self.beat()
        self.tell(Ticked(self.now))

    @rule()
    def beat(self) -> None:
        for name in sorted(self.alive & self.state.nodes.keys()):
            claims = tuple(Claim(one, attempt, f"p{self.now}") for one, attempt in self.boxes[name].items())
            self.tell(Heard(name, self.now, Live(), claims))

    @rule(at=some, cores=st.integers(0, 4))
    def others(self, at: int, cores: int) -> None:
        name = NAMES[at % len(NAMES)]
        if name in self.alive:
            claims = tuple(Claim(one, attempt) for one, attempt in self.boxes[name].items())
            self.tell(Heard(name, self.now, Live(0.5, Amount(cores * 1000)), claims))

    @rule(at=some, forgets=st.booleans())
    def die(self, at: int, forgets: bool) -> None:
        name = NAMES[at % len(NAMES)]
        self.alive.discard(name)
        if forgets:
            self.boxes[name].clear()

    @rule(at=some)
    def rise(self, at: int) -> None:
        self.alive.add(NAMES[at % len(NAMES)])

    @rule(at=some, back=st.booleans())
    def isolate(self, at: int, back: bool) -> None:
        name = NAMES[at % len(NAMES)]
        self.tell(Restored(name, self.now) if back else Isolated(name, "too hot", self.now))

    @rule(at=some)
    def leave(self, at: int) -> None:
        name = NAMES[at % len(NAMES)]
        self.alive.discard(name)
        self.tell(Left(name, self.now))

    @rule(
        at=some,
        how=st.sampled_from(["done", "done", "failed", "memory", "gave back"]),
        lie=st.sampled_from([0, 0, 0, 1, -1]),
    )
    def answer(self, at: int, how: str, lie: int) -> None:
        working = [(name, one) for name, box in self.boxes.items() for one in box]
        if not working:
            return
        name, one = working[at % len(working)]
        attempt = self.boxes[name][one] + lie
        if not lie:
            del self.boxes[name][one]
        event = {
            "done": Finished(one, attempt, name, self.now),
            "failed": Failed(one, attempt, name, "broken", self.now),
            "memory": Failed(one, attempt, name, "out of memory", self.now, True),
            "gave back": Yielded(one, attempt, name, "half", self.now),
        }[how]
        self.tell(event)

    @rule(at=some, how=st.sampled_from([Withdrawn, Retried]))
    def person(self, at: int, how) -> None:
        if self.given:
            name = sorted(self.given)[at % len(self.given)]
            if how is Withdrawn and name not in self.state.ended:
                self.gone.add(name)
            self.tell(how(name, self.now))

    @invariant()
    def every_task_is_somewhere_exactly_once(self) -> None:
        state = self.state
        places = [*state.waiting, *state.running, *state.parked, *state.ended]
        assert len(places) == len(set(places))
        assert set(places) == self.given
        queued = sorted(key[-1] for keys in state.queues.values() for key in keys)
        assert queued == sorted(name for name, each in state.waiting.items() if each.not_before == -float("inf"))

    @invariant()
    def no_node_holds_more_than_it_has(self) -> None:
        for name, standing in self.state.nodes.items():
            grants = [self.state.running[one] for one in self.state.on.get(name, ())]
            used = Amount()
            for grant in grants:
                used = used.plus(grant.charges[grant.nodes.index(name)])
            assert used == standing.used
            assert not used.over(standing.node.capacity)
        for grant in self.state.running.values():
            assert len(set(grant.nodes)) == grant.held.task.members
            assert all(grant.held.task.name in self.state.on[name] for name in grant.nodes)

    @invariant()
    def books_agree(self) -> None:
        for (tier, kind), use in self.state.use.items():
            assert use == self.held(tier, kind)
        for clinic, names in self.state.members.items():
            assert all(self.state.nodes[name].node.clinic == clinic for name in names)
        assert sorted(name for names in self.state.members.values() for name in names) == sorted(self.state.nodes)
        assert all(keeper in self.state.waiting for keeper in self.state.keeps.values())

    @invariant()
    def patients_data_stays_in_its_clinic(self) -> None:
        for grant in self.state.running.values():
            task_ = grant.held.task
            clinics = {self.state.nodes[name].node.clinic for name in grant.nodes}
            assert clinics == {task_.clinic} if task_.reads_patients else clinics <= {task_.clinic, ""}

    @invariant()
    def who_is_waited_for_never_waits_behind_batch(self) -> None:
        for waiting in self.state.waiting.values():
            held = waiting.held
            if not held.task.is_real_time:
                continue
            for rung in islice(held.task.needs.rungs(), held.first_rung, None):
                fits = [name for name in self.state.nodes if self.would_fit(held.task, rung, name)]
                assert len(fits) < held.task.members

    def would_fit(self, one, rung, name) -> bool:
        """Whether a real-time task had room if only real-time tasks ran there."""
        standing = self.state.nodes[name]
        machine = standing.node
        allowed = machine.clinic == one.clinic or (machine.clinic == "" and not one.reads_patients)
        if not allowed or not standing.takes_tasks or not (engine := machine.engine(one.needs)):
            return False
        taken = machine.charge(one.needs, rung, engine).plus(standing.live.other)
        for other in self.state.on.get(name, ()):
            grant = self.state.running[other]
            if grant.held.task.is_real_time:
                taken = taken.plus(grant.charges[grant.nodes.index(name)])
        need = machine.charge(one.needs, rung, engine)
        parts = ("cores_milli", "memory", "gpu", "disk")
        return all(not getattr(need, part) or getattr(taken, part) <= getattr(machine.capacity, part) for part in parts)

    @invariant()
    def a_result_is_taken_once(self) -> None:
        assert len(self.taken) == len(set(self.taken))

    def teardown(self) -> None:
        """Left alone with healthy nodes that finish their work, everything that fits anywhere ends."""
        self.number = -1
        for each in NODES:
            self.tell(Joined(each, self.now))
            self.tell(Restored(each.name, self.now))
        self.alive = set(NAMES)
        for _ in range(300):
            self.now += 100
            self.beat()
            self.tell(Ticked(self.now))
            for name, box in self.boxes.items():
                for one, attempt in list(box.items()):
                    if box.pop(one, None) == attempt:  # it was not told to give way meanwhile
                        self.tell(Finished(one, attempt, name, self.now))
            if not self.state.waiting and not self.state.running:
                break
        assert not self.state.running
        for waiting in self.state.waiting.values():
            one = waiting.held.task
            if one.members > 1 and any(kind is one.kind for _, kind in RULES.quotas):
                continue  # whether a quota lets all of a gang in depends on which nodes are taken
            assert sum(self.fits_empty(waiting.held, name) for name in NAMES) < one.members

    def fits_empty(self, held, name) -> bool:
        machine = self.state.nodes[name].node
        limit = self.state.quota(machine.tier, held.task.kind)
        for rung in islice(held.task.needs.rungs(), held.first_rung, None):
            if self.would_fit(held.task, rung, name):
                charge = machine.charge(held.task.needs, rung, machine.engine(held.task.needs))
                in_routes = machine.tier in RULES.routes[held.task.kind]
                return in_routes and (limit is None or not charge.over(limit))
        return False


Hospitals.TestCase.settings = settings(
    max_examples=30,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
TestHospitals = Hospitals.TestCase
