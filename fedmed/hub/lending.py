"""The hub's end of looks: devices ask, the placement says who looks, and the answer goes back. See `fedmed.hub.looks`.

    ask     a look, and a piece of its input     where it stands: more, waiting, running, failed, or done and its logits
    unask   a look                               it is not wanted any more, was fetched, or its answer is none
    work    what a node has under way            what it is to start, to put down, to stop
    input   a look and its attempt, an offset    a piece of the input
    answer  a look and its attempt, the logits   whether they count

Whose turn it is is decided in `fedmed.placement` alone. The hub believes nobody: inputs are held against their digests, an
answer counts from the node that was given the newest attempt alone, and what the numbers say is for who asked to judge.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from fedmed.clock import Clock
from fedmed.config.roles import Hub
from fedmed.errors import ProtocolRefused, QuotaRefused, StoreError
from fedmed.hub.looklog import KEPT_S, Given, LookLog
from fedmed.hub.looks import (
    BUSY_S,
    FORGET_S,
    GRACE_S,
    LOOK_S,
    METHODS,
    MOST_FAILURES,
    MOST_HELD,
    MOST_OPEN,
    MOST_TENSOR,
    NOW,
    OFF,
    ON,
    TASK,
    Look,
    asker_in,
    digest_of,
    name_of,
)
from fedmed.hub.messages import DIGEST, MOST_BODY, Message, rows, text, whole
from fedmed.hub.placing import LOOK, look_task
from fedmed.hub.whereabouts import Whereabouts
from fedmed.placement.events import Claim, Failed, Finished, Instruction, Start, Submitted, Withdrawn, Yielded
from fedmed.placement.state import State
from fedmed.placement.tasks import Precision
from fedmed.placement.told import Measure

MOST_ATTEMPT = 1 << 40
SWEEPS_S = 3600.0
COUNTED = ("asked", "answered", "moved", "given-back", "failed", "refused")
OUTCOMES = ("done", "failed", "given-back")
_OUTCOME, _PRECISION = re.compile("|".join(OUTCOMES)), re.compile("|".join(each.value for each in Precision))
Record = Callable[..., None]


class Lending:
    """Safe from any thread: all of it happens within the placement's own turn."""

    def __init__(self, where: Whereabouts, log: LookLog, clock: Clock, hub: Hub, record: Record) -> None:
        """`record` writes the clinic's audit log."""
        self._where, self._log, self._clock, self._record = where, log, clock, record
        self._is_on, self._late_s = hub.elsewhere.places != "none", LOOK_S + hub.beat_s
        self._looks: dict[str, Look] = {}
        self._coming: dict[str, tuple[str, int, bytearray]] = {}
        """Answers that have not come whole, one a node."""
        self._asked: dict[str, float] = {}
        self._since, self._sweeps_at = clock.now(), 0.0
        self.counts: dict[str, Counter[str]] = {}
        """Of each device that asked, by `COUNTED`."""
        where.carry = self._carry

    @property
    def word(self) -> str:
        """What a heartbeat's answer says of looks."""
        if not self._is_on:
            return OFF
        last = max(self._asked.values(), default=float("-inf"))
        asks = any(each.asks for each in self._where.placed.told.values())
        return NOW if asks or self._looks or self._clock.now() - last < BUSY_S else ON

    def call(self, method: str, device: str, request: Message) -> Message:
        """Answer a device's call. Raises ProtocolRefused, QuotaRefused, StoreError, DeviceRefused."""
        if not self._is_on:
            raise ProtocolRefused("no image is looked at elsewhere in this clinic; its hub.yaml says places: none")
        head, body = request.head, request.body
        with self._where.turn:
            if method == "ask":
                return self._ask(device, head, body)
            if method == "unask":
                return self._unask(device, head)
            if method == "work":
                return self._work(device, head)
            if method == "input":
                return self._input(device, head)
            if method == "answer":
                return self._answer(device, head, body)
        raise ProtocolRefused(f"a call {method[:40]!r}; allowed are {', '.join(METHODS)}")

    # Who asks.

    def _ask(self, device: str, head: Mapping[str, Any], body: bytes) -> Message:
        package, task, size = text(head, "package", DIGEST), text(head, "task", DIGEST), whole(head, "size", MOST_TENSOR)
        offset, start = whole(head, "offset", MOST_TENSOR), whole(head, "from", MOST_TENSOR)
        name, now = name_of(device, task), self._clock.now()
        look = self._looks.get(name)
        if look is None:
            known = self._log.of(name)
            if known.node and now - self._since < GRACE_S:
                return Message({"state": "waiting", "why": f"{known.node} has it, and the hub was started anew"})
            begun = Look(name, task, package, size, now, attempt=known.attempt, node=known.node, failures=known.failures)
            if begun.failed >= MOST_FAILURES:
                return Message({"state": "failed", "why": f"{begun.failed} had it, and none of them answered"})
            look = self._begun(device, begun)
        self._asked[device] = look.asked_at = now
        if not look.is_whole:
            self._take_in(look, offset, body)
        return self._stands(look, start)

    def _begun(self, device: str, look: Look) -> Look:
        told = self._where.placed.told.get(device)
        if told is None or told.package != look.package:
            raise ProtocolRefused(
                f"a look with the package {look.package[:12]}, and {device} says that it runs "
                f"{told.package[:12] if told and told.package else 'none'}; a device asks for its own package's"
            )
        if look.size < 4:
            raise ProtocolRefused(f"an input of {look.size} bytes; it has 4 to {MOST_TENSOR}")
        mine = sum(asker_in(name) == device for name in self._looks)
        if mine >= MOST_OPEN:
            raise QuotaRefused(f"{device} has {mine} looks open, as many as it may; fetch one first")
        self._check_room(look.size)
        if device not in self._asked:
            self._record("start.elsewhere", f"images of {device}", reason="it asks that others look at them")
        self._looks[look.name] = look
        self._count(look.name, "asked")
        return look

    def _check_room(self, more: int) -> None:
        held = sum(each.held for each in self._looks.values()) + sum(len(each[2]) for each in self._coming.values())
        if held + more > MOST_HELD:
            raise QuotaRefused(f"looks of {held} bytes are under way, and {more} more are beyond {MOST_HELD}; ask later")

    def _take_in(self, look: Look, offset: int, body: bytes) -> None:
        if offset != len(look.content) or not body:
            return  # the answer tells where to go on
        if offset + len(body) > look.size:
            del self._looks[look.name]
            raise ProtocolRefused(f"{len(body)} bytes at {offset} of an input of {look.size}")
        look.content += body
        if not look.is_whole:
            return
        if digest_of(look.package, hashlib.sha256(look.content).hexdigest()) != look.task:
            del self._looks[look.name]
            raise ProtocolRefused("an input with another digest than the look was named by; send it anew")

    def _stands(self, look: Look, start: int) -> Message:
        if look.answer is not None:
            told = {"by": look.by, "precision": look.precision, "size": len(look.answer), "offset": start, "state": "done"}
            return Message(told, look.answer[start : start + MOST_BODY])
        if not look.is_whole:
            return Message({"state": "more", "offset": len(look.content)})
        if not self._knows(look.name):
            self._submit(look)
        state = self._state
        if look.name in state.running:
            return Message({"state": "running", "by": state.running[look.name].nodes[0]})
        if look.name in state.parked:
            return Message({"state": "failed", "why": state.parked[look.name].why})
        waiting = state.waiting.get(look.name)
        return Message({"state": "waiting", "why": waiting.why if waiting else "the hub has too many tasks"})

    def _submit(self, look: Look) -> None:
        not_on = frozenset((asker_in(look.name), *look.refused))
        asked = look_task(self._where.placed, look.name, look.package, not_on)
        self._where.step(lambda now: Submitted(asked, now, look.attempt))

    def _unask(self, device: str, head: Mapping[str, Any]) -> Message:
        look = self._looks.get(name_of(device, text(head, "task", DIGEST)))
        if look is None:
            return Message({})
        if head.get("refused") is True and look.answer is not None and look.size:
            look.refused |= {look.by}
            look.answer = None
            self._count(look.name, "refused")
            self._where.tell(
                f"device {device} takes no answer of {look.by}: it is none; another is asked, look after {look.by}"
            )
            return Message({})
        self._give_up(look)
        return Message({})

    def _give_up(self, look: Look) -> None:
        """Nobody wants it any more; whoever looks at it is told to stop."""
        self._looks.pop(look.name, None)
        failures = look.failures if look.name in self._state.running else look.failed
        if self._knows(look.name):
            self._where.step(lambda now: Withdrawn(look.name, now))
        if look.node:
            self._log.note(look.name, Given(look.attempt, "", failures), self._clock.unix())

    # Who looks.

    def _work(self, device: str, head: Mapping[str, Any]) -> Message:
        runs = [Claim(text(row, "task", TASK), whole(row, "attempt", MOST_ATTEMPT)) for row in rows(head, "runs")]
        return Message({"elsewhere": self.word, "orders": self.orders(device, whole(head, "waits", 1 << 40), runs)})

    def orders(self, node: str, waits: int, runs: Sequence[Claim]) -> list[dict[str, Any]]:
        """What a node is to do, which has `runs` under way and so many images of its own waiting.

        All of it follows from the state, so that an answer that was lost costs nothing.
        """
        with self._where.turn:
            self._where.worked(node, waits)
            return [*self._starts(node), *self._ends(node, runs)]

    def _starts(self, node: str) -> Iterator[dict[str, Any]]:
        for name in self._state.on.get(node, ()):
            look, grant = self._looks.get(name), self._state.running[name]
            if look is not None and (look.node, look.attempt) == (node, grant.held.attempt):
                told = {"attempt": look.attempt, "package": look.package, "size": look.size}
                yield {"do": "start", "task": name, **told}

    def _ends(self, node: str, runs: Sequence[Claim]) -> Iterator[dict[str, Any]]:
        for claim in runs:
            if not self._is_given(node, claim.task, claim.attempt):
                waiting = self._state.waiting.get(claim.task)
                gives = waiting is not None and waiting.held.attempt == claim.attempt
                yield {"do": "yield" if gives else "stop", "task": claim.task, "attempt": claim.attempt}

    def _input(self, device: str, head: Mapping[str, Any]) -> Message:
        name, attempt = text(head, "task", TASK), whole(head, "attempt", MOST_ATTEMPT)
        look, offset = self._given(device, name, attempt), whole(head, "offset", MOST_TENSOR)
        with memoryview(look.content) as content:
            return Message({"size": look.size, "offset": offset}, bytes(content[offset : offset + MOST_BODY]))

    def content(self, node: str, name: str, attempt: int) -> bytes:
        """The input of a look that was given to this node. Raises ProtocolRefused for any other."""
        with self._where.turn:
            return bytes(self._given(node, name, attempt).content)

    def _given(self, node: str, name: str, attempt: int) -> Look:
        look = self._looks.get(name)
        if look is None or not look.is_whole or not self._is_given(node, name, attempt):
            raise ProtocolRefused(f"attempt {attempt} of {name[:80]} is not {node}'s, or not any more; ask for work again")
        return look

    def _answer(self, device: str, head: Mapping[str, Any], body: bytes) -> Message:
        name, attempt = text(head, "task", TASK), whole(head, "attempt", MOST_ATTEMPT)
        outcome, why = text(head, "outcome", _OUTCOME), text(head, "why", most=400)
        if outcome != "done":
            is_taken = self.not_done(device, name, attempt, why, outcome == "failed")
            return Message({"state": "taken" if is_taken else "dropped"})
        size, precision = whole(head, "size", MOST_TENSOR), text(head, "precision", _PRECISION)
        if not self._may_answer(device, name, attempt):
            self._coming.pop(device, None)
            return Message({"state": "dropped"})
        come = self._piece(device, name, attempt, whole(head, "offset", MOST_TENSOR), body, size)
        if len(come) < size:
            return Message({"state": "more", "offset": len(come)})
        del self._coming[device]
        return Message({"state": "taken" if self.done(device, name, attempt, bytes(come), precision) else "dropped"})

    def _piece(self, node: str, name: str, attempt: int, offset: int, body: bytes, size: int) -> bytearray:
        known = self._coming.get(node)
        if known is None or known[:2] != (name, attempt):
            known = self._coming[node] = (name, attempt, bytearray())
        come = known[2]
        if size < 4 or len(come) + len(body) > size:
            del self._coming[node]
            raise ProtocolRefused(
                f"{len(come)} + {len(body)} bytes of logits that have {size}; they have 4 to {MOST_TENSOR}"
            )
        self._check_room(len(body))
        if offset == len(come):
            come += body
        return come

    def done(self, node: str, name: str, attempt: int, logits: bytes, precision: str) -> bool:
        """A node has looked; whether that counts."""
        with self._where.turn:
            if not self._may_answer(node, name, attempt):
                return False
            look = self._looks.get(name)
            if look is None:  # given out by the hub that ran before this one
                look = self._looks[name] = Look(name, "", "", 0, self._clock.now(), attempt=attempt, node=node)
            elif self._knows(name):
                self._where.step(lambda now: Finished(name, attempt, node, now))
                if self._knows(name):
                    return False
            look.answer, look.by, look.precision = logits, node, precision
            self._count(name, "answered")
            self._note_end(look)
            return True

    def not_done(self, node: str, name: str, attempt: int, why: str, is_failure: bool) -> bool:
        """A node could not look, or gives it back since its own images come first; whether that was asked of it."""
        with self._where.turn:
            if not self._may_answer(node, name, attempt):
                return False
            self._count(name, "failed" if is_failure else "given-back")
            look = self._looks.get(name)
            if look is not None and not is_failure:
                look.is_given_back = True
            if is_failure:
                self._where.step(lambda now: Failed(name, attempt, node, why, now))
            else:
                self._where.step(lambda now: Yielded(name, attempt, node, "", now))
            return True

    def _may_answer(self, node: str, name: str, attempt: int) -> bool:
        """Whether a node was given this attempt and no other was given out since, by this hub or the one before it."""
        look = self._looks.get(name)
        if look is not None:
            return look.answer is None and (look.node, look.attempt) == (node, attempt)
        known = self._log.of(name)
        return (known.node, known.attempt) == (node, attempt) and self._clock.now() - self._since < GRACE_S

    def _is_given(self, node: str, name: str, attempt: int) -> bool:
        grant = self._state.running.get(name)
        return grant is not None and grant.nodes == (node,) and grant.held.attempt == attempt

    # The placement's word, and time.

    def _carry(self, due: Sequence[Instruction]) -> None:
        """Attempts are in the journal before a node can hear of them; one that is not is never given out, and fails."""
        for each in due:
            look = self._looks.get(each.task.name) if isinstance(each, Start) else None
            if look is None or not isinstance(each, Start):
                continue
            failures = look.failed
            try:
                self._log.note(look.name, Given(each.attempt, each.node, failures), self._clock.unix())
            except StoreError as error:
                self._where.tell(f"{look.name} waits: {error}")
                continue
            if look.node:
                self._count(look.name, "moved")
            look.attempt, look.node, look.failures, look.is_given_back = each.attempt, each.node, failures, False

    def _note_end(self, look: Look) -> None:
        try:
            self._log.note(look.name, Given(look.attempt), self._clock.unix())
        except StoreError as error:  # a later hub may have it done again, and no more
            self._where.tell(str(error))

    def tend(self) -> None:
        """Give up what nobody asks for, and what nobody answered in time. Raises StoreError."""
        with self._where.turn:
            now = self._clock.now()
            for look in [each for each in self._looks.values() if now - each.asked_at > FORGET_S]:
                self._give_up(look)
            for name, grant in list(self._state.running.items()):
                if name.startswith(LOOK) and now - grant.started > self._late_s:
                    self._overdue(name, grant.held.attempt, grant.nodes[0])
            self._coming = {node: each for node, each in self._coming.items() if self._may_answer(node, *each[:2])}
            self._asked = {name: at for name, at in self._asked.items() if now - at < BUSY_S}
            if now >= self._sweeps_at:
                self._sweeps_at = now + SWEEPS_S
                self._log.forget(self._clock.unix() - KEPT_S)

    def _overdue(self, name: str, attempt: int, node: str) -> None:
        self._count(name, "failed")
        self._where.step(lambda now: Failed(name, attempt, node, f"no answer within {self._late_s:.0f} s", now))

    def told(self) -> dict[str, Any]:
        """For the status: how often, of each device that asked."""
        with self._where.turn:
            return {name: dict(sorted(each.items())) for name, each in sorted(self.counts.items())}

    def measures(self) -> list[Measure]:
        """For Prometheus: numbers alone, no device's name."""
        with self._where.turn:
            totals = sum(self.counts.values(), Counter())
        about = "Images that devices asked others to look at, by what became of them."
        return [("fedmed_looks_total", about, "", {"what": what}, float(totals[what])) for what in COUNTED]

    def close(self) -> None:
        """Be done with the journal."""
        self._log.close()

    @property
    def _state(self) -> State:
        return self._where.placed.state

    def _knows(self, name: str) -> bool:
        state = self._state
        return name in state.running or name in state.waiting or name in state.parked

    def _count(self, name: str, what: str) -> None:
        self.counts.setdefault(asker_in(name), Counter())[what] += 1
