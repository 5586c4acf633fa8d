"""The working copy of one step: tasks are put on nodes, taken off them, queued, and the rest is filled up."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field, replace

from fedmed.errors import FederationError
from fedmed.placement.choosing import Decision, Seat, candidates, place, unfit, within_quota
from fedmed.placement.events import Drop, Instruction, Start, Stop, Tell, Yield
from fedmed.placement.nodes import Standing
from fedmed.placement.state import Grant, Held, Key, Parked, State, Waiting, queued, unqueued
from fedmed.placement.tasks import Amount


@dataclass
class Work:
    """A state that is being changed, and what has been said so far."""

    state: State
    said: list[Instruction] = field(default_factory=list)
    stirred: set[str] = field(default_factory=set)
    """Nodes with more room, or under other rules, than when the tasks that wait were last tried there."""
    fresh: set[str] = field(default_factory=set)
    """Shapes with a task that was not tried anywhere yet."""
    is_all: bool = False
    """Whether every shape is to be tried everywhere."""

    def say(self, *words: Instruction) -> None:
        """Add instructions, in their order."""
        self.said.extend(words)

    # Nodes.

    def amend(self, name: str, standing: Standing) -> None:
        """What is known of a node has changed."""
        self.state.nodes[name] = standing

    def count_in(self, standing: Standing) -> None:
        """A node is new: enter it."""
        node, state = standing.node, self.state
        state.nodes[node.name] = standing
        state.members[node.clinic] = (*state.members.get(node.clinic, ()), node.name)
        state.totals[node.tier] = state.totals.get(node.tier, Amount()).plus(node.capacity)
        self.is_all = True  # the quotas of its tier have grown

    def count_out(self, name: str) -> None:
        """A node is no more; it has no tasks now."""
        state = self.state
        node = state.nodes.pop(name).node
        left = tuple(each for each in state.members[node.clinic] if each != name)
        state.members[node.clinic] = left
        if not left:
            del state.members[node.clinic]
        state.totals[node.tier] = state.totals[node.tier].plus(node.capacity, -1)
        state.on.pop(name, None)
        if (keeper := state.keeps.get(name)) is not None:
            self.keep_no_more(keeper)

    # Tasks: into and out of the queue.

    def queue(self, waiting: Waiting) -> None:
        """A task waits; it can be started once its time has come."""
        held = waiting.held
        self.state.waiting[held.task.name] = waiting
        if waiting.not_before <= self.state.now:
            keys = self.state.queues.get(held.shape, ())
            self.state.queues[held.shape] = queued(keys, held.key(self.state.rules.ageing_s))
            self.fresh.add(held.shape)

    def unqueue(self, name: str) -> Waiting:
        """A task waits no longer."""
        waiting = self.state.waiting.pop(name)
        held = waiting.held
        left = unqueued(self.state.queues.get(held.shape, ()), held.key(self.state.rules.ageing_s))
        if left:
            self.state.queues[held.shape] = left
        else:
            self.state.queues.pop(held.shape, None)
        return waiting

    def cool(self) -> None:
        """Let those into the queue whose time to give way is over."""
        state = self.state
        for waiting in [each for each in state.waiting.values() if each.not_before != -math.inf]:
            if waiting.not_before <= state.now:
                self.queue(replace(waiting, not_before=-math.inf))

    def park(self, held: Held, why: str) -> None:
        """A task waits for a person."""
        self.keep_no_more(held.task.name)
        self.state.parked[held.task.name] = Parked(held, why)
        self.say(Tell(held.task.name, f"is not tried again before a person says so: {why}"))

    def end(self, held: Held) -> None:
        """A task is over."""
        ended = self.state.ended
        self.keep_no_more(held.task.name)
        ended[held.task.name] = held.attempt
        while len(ended) > self.state.rules.most_ended:
            del ended[next(iter(ended))]

    # Tasks: onto and off nodes.

    def start(self, waiting: Waiting, decision: Decision) -> None:
        """Put a task where the decision says, after those that give way."""
        for name in decision.yields:
            self.give_way(self.state.running[name], f"gave way to {decision.task}")
        held = replace(waiting.held, attempt=waiting.held.attempt + 1)
        grant = self._grant(held, decision)
        self.seat(grant)
        for node, engine in zip(grant.nodes, grant.engines, strict=True):
            self.say(Start(node, held.task, held.attempt, grant.rung, engine, grant.nodes, held.progress))

    def _grant(self, held: Held, decision: Decision) -> Grant:
        now, seats = self.state.now, decision.seats
        return Grant(
            held,
            tuple(seat.node for seat in seats),
            tuple(seat.engine for seat in seats),
            tuple(seat.charge for seat in seats),
            decision.rung,
            started=now,
            rank=held.task.priority + (now - held.since) / self.state.rules.ageing_s,
            why=decision.summary(),
        )

    def take_up(self, waiting: Waiting, last: Grant) -> bool:
        """Let a node that was lost go on with what it still runs, where there is room; whether it does."""
        standing = self.state.nodes[last.nodes[0]]
        seat = Seat(standing.node.name, standing.node.tier, last.engines[0], last.charges[0])
        if not standing.takes_tasks or not standing.has_room(seat.charge):
            return False
        if not within_quota(self.state, waiting.held, [seat]):
            return False
        self.seat(replace(last, held=waiting.held, started=self.state.now))
        return True

    def seat(self, grant: Grant) -> None:
        """Book a task on its nodes. Raises FederationError for a node outside its clinic, whoever chose it."""
        task, state = grant.held.task, self.state
        outside = [name for name in grant.nodes if state.nodes[name].node.clinic not in task.homes()]
        if outside:
            raise FederationError(
                f"task {task.name} was to run on {', '.join(outside)}; its clinic {task.clinic} alone may run it"
            )
        if task.name in state.waiting:
            self.unqueue(task.name)
        self.keep_no_more(task.name)
        state.running[task.name] = grant
        for name, charge in zip(grant.nodes, grant.charges, strict=True):
            self._book(name, grant, charge, 1)
            state.on[name] = (*state.on.get(name, ()), task.name)

    def free(self, grant: Grant) -> None:
        """Take a task off its nodes; where it goes is the caller's to say."""
        task, state = grant.held.task, self.state
        del state.running[task.name]
        for name, charge in zip(grant.nodes, grant.charges, strict=True):
            self._book(name, grant, charge, -1)
            state.on[name] = tuple(each for each in state.on[name] if each != task.name)
            self.stirred.add(name)
        if grant.done != set(grant.nodes):
            why = "another of those that ran it together did not finish"
            self.say(*(Drop(name, task.name, grant.held.attempt, why) for name in sorted(grant.done)))

    def _book(self, name: str, grant: Grant, charge: Amount, times: int) -> None:
        state = self.state
        standing = state.nodes[name]
        state.nodes[name] = replace(standing, used=standing.used.plus(charge, times))
        place_of = (standing.node.tier, grant.held.task.kind)
        state.use[place_of] = state.use.get(place_of, Amount()).plus(charge, times)
        self.is_all |= times < 0 and place_of in state.rules.quotas

    def give_way(self, grant: Grant, why: str) -> None:
        """Back to the queue, with its progress: the nodes that can be told put it down first."""
        self.free(grant)
        told = [name for name in grant.nodes if not self.state.nodes[name].is_lost and name not in grant.done]
        grace = self.state.rules.yield_s
        for name in told:
            self.say(Yield(name, grant.held.task.name, grant.held.attempt, grace))
        # What somebody waits for has no progress to put down: it goes on elsewhere at once.
        until = self.state.now + grace if told and not grant.held.task.is_real_time else -math.inf
        last = grant if len(grant.nodes) == 1 else None
        self.queue(Waiting(grant.held, why, last, bool(told), until))

    def stop(self, grant: Grant, why: str, but: str = "") -> None:
        """Off its nodes at once; `but` is a node where it has ended."""
        self.free(grant)
        for name in grant.nodes:
            if name != but and name not in grant.done and not self.state.nodes[name].is_lost:
                self.say(Stop(name, grant.held.task.name, grant.held.attempt, why))

    # What waits.

    def keep_no_more(self, task: str) -> None:
        """Nothing is kept free for `task` any longer."""
        for what in [what for what, keeper in self.state.keeps.items() if keeper == task]:
            del self.state.keeps[what]
            self.is_all = True

    def fill(self) -> None:
        """Start what fits, in the order of the queue; of one shape, the first that does not fit stands for the rest.

        A task that was tried before is tried again only where something has changed: elsewhere it fits no more than then.
        """
        while self.is_all or self.stirred or self.fresh:
            everywhere, nodes, fresh = self.is_all, frozenset(self.stirred), frozenset(self.fresh)
            self.is_all = False
            self.stirred.clear()
            self.fresh.clear()
            queues = self.state.queues
            shapes = queues.keys() if everywhere or nodes else fresh & queues.keys()
            heads: list[tuple[Key, str]] = [(queues[shape][0], shape) for shape in shapes]
            heapq.heapify(heads)
            while heads:
                _, shape = heapq.heappop(heads)
                only = None if everywhere or shape in fresh else nodes
                if self._try_first(shape, only) and (keys := self.state.queues.get(shape, ())):
                    heapq.heappush(heads, (keys[0], shape))

    def _try_first(self, shape: str, only: frozenset[str] | None) -> bool:
        """Start the first task of a shape where it fits; whether it did."""
        name = self.state.queues[shape][0][-1]
        waiting = self.state.waiting[name]
        decision = place(self.state, waiting.held, only if waiting.held.task.members == 1 else None)
        if decision.seats:
            self.start(waiting, decision)
            return True
        if only is None:
            why = decision.summary()
            if why != waiting.why:
                self.state.waiting[name] = replace(waiting, why=why)
            self._keep_for(waiting.held)
        return False

    def _keep_for(self, held: Held) -> None:
        """Keep nodes free for one that has waited too long: smaller tasks would fill every gap before it for ever."""
        state, task = self.state, held.task
        old = state.now - held.since >= state.rules.keep_after_s
        if task.is_real_time or not old or task.name in state.keeps.values():
            return
        fit = [
            each
            for each in candidates(state, task)
            if unfit(state, held, each) is None and each.node.name not in state.keeps
        ]
        fit.sort(key=lambda each: (each.used.share(each.node.capacity), each.node.name))
        if len(fit) < task.members:
            return
        for standing in fit[: task.members]:
            state.keeps[standing.node.name] = task.name
            if (standing.node.tier, task.kind) in state.rules.quotas:
                state.keeps.setdefault((standing.node.tier, task.kind), task.name)
