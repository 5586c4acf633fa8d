"""A clinic watches the center's audit log: it countersigns only heads that go on from each other, and compares.

    Offered   the center's newest head, with a proof that it goes on from the one countersigned last
              -> Countersign, or Refuse; Accuse where two signed heads contradict each other
    Heard     another clinic's countersigned head, as the center hands it out
              -> nothing where it is the same history; Ask where only a proof can tell; Accuse
    Answered  the center's proof that joins two heads that were asked about
              -> nothing where it does; Accuse
    Silence   the center gave no such proof within the time that the caller allows
              -> Accuse

`step` takes a state and an event and says what to do; it reads no clock, no disk and no key. The state has to be on the disk
before what it says is done. Once two signed heads contradict each other nothing is countersigned any more: people decide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from fedmed.errors import ProtocolRefused
from fedmed.identity.heads import AHEAD_MS, Countersigned, SignedHead
from fedmed.wire.merkle import EMPTY, Path, verify_consistency

MOST_ASKED, MOST_KEPT = 256, 16
"""Questions open at a time, and accusations kept of each sort: the first that are proof, the last that are not."""


@dataclass(frozen=True)
class Offered:
    """The center's head; `proof` joins it to the one that the state has as `newest`."""

    head: SignedHead
    proof: Path
    now_ms: int


@dataclass(frozen=True)
class Heard:
    """Another member's countersigned head."""

    countersigned: Countersigned
    now_ms: int


@dataclass(frozen=True)
class Answered:
    """The proof that joins the two heads of an `Ask`."""

    ask: Ask
    proof: Path


@dataclass(frozen=True)
class Silence:
    """An `Ask` that was not answered in time."""

    ask: Ask


Event = Offered | Heard | Answered | Silence


@dataclass(frozen=True)
class Countersign:
    """Sign this head and give it to the center."""

    head: SignedHead


@dataclass(frozen=True)
class Refuse:
    """Sign nothing, and tell the center why."""

    reason: str


@dataclass(frozen=True)
class Ask:
    """Ask the center for the proof that joins these heads, the smaller first."""

    old: SignedHead
    new: SignedHead


@dataclass(frozen=True)
class Accuse:
    """Tell the clinic's staff: here are two heads that one honest log does not have."""

    kind: str
    """`split view` and `rewritten`: the two signatures prove it to anybody. `not joined`: no proof was given."""
    first: SignedHead
    second: SignedHead
    reason: str

    @property
    def is_proof(self) -> bool:
        """Whether the two heads alone convict whoever signed them."""
        return self.kind != "not joined"


Instruction = Countersign | Refuse | Ask | Accuse


@dataclass(frozen=True)
class State:
    """What a clinic knows of one log."""

    log: bytes
    """Fingerprint of its owner."""
    newest: SignedHead | None = None
    """Countersigned last."""
    others: Mapping[bytes, Countersigned] = field(default_factory=dict)
    """The newest of each other member."""
    asked: tuple[Ask, ...] = ()
    """Not answered yet."""
    accusations: tuple[Accuse, ...] = ()


def step(state: State, event: Event, members: Mapping[bytes, bytes]) -> tuple[State, tuple[Instruction, ...]]:
    """The next state, and what to do. `members`: fingerprint -> Ed25519 key of all that are pinned, the log's owner too.

    Raises ProtocolRefused, the state being as before, for what no member signed.
    """
    match event:
        case Offered():
            return _offered(state, event, members)
        case Heard():
            return _heard(state, event, members)
        case Answered(ask, proof):
            left = _without(state, ask)
            return (left, ()) if _joins(ask.old, ask.new, proof) else _accuse(left, _unjoined(ask, "the proof joins others"))
        case Silence(ask):
            return _accuse(_without(state, ask), _unjoined(ask, "no proof was given"))


def silent(state: State, members: Mapping[bytes, bytes], me: bytes, since_ms: int) -> list[bytes]:
    """Members whose countersigned head was not heard since then: a center may hold back what would give it away."""
    heard = {member for member, each in state.others.items() if each.unix_ms >= since_ms}
    return sorted(set(members) - heard - {me, state.log})


def _offered(state: State, event: Offered, members: Mapping[bytes, bytes]) -> tuple[State, tuple[Instruction, ...]]:
    head, newest = event.head, state.newest
    _check_head(state.log, head, members, event.now_ms)
    if convicted := next((each for each in state.accusations if each.is_proof), None):
        return state, (Refuse(f"{convicted.reason}; nothing of this log is countersigned until people have looked at it"),)
    if newest is None:
        return replace(state, newest=head), (Countersign(head),)
    if (found := _contradiction(newest, head)) is not None:
        return _accuse(state, found)
    if head.size < newest.size or head.unix_ms < newest.unix_ms:
        return state, (Refuse(f"an old head: {head}; countersigned already: {newest}. Offer the newest one"),)
    if not _joins(newest, head, event.proof):
        after, said = _accuse(state, _unjoined(Ask(newest, head), "the proof that came with it joins others"))
        return after, (*said, Refuse(f"the proof does not join {head} to {newest}; offer the proof from that size"))
    return replace(state, newest=head), (Countersign(head),)


def _heard(state: State, event: Heard, members: Mapping[bytes, bytes]) -> tuple[State, tuple[Instruction, ...]]:
    said, who = event.countersigned, event.countersigned.witness
    _check_countersigned(state.log, said, members, event.now_ms)
    before, mine = state.others.get(who), state.newest
    known = [head for head in (mine, before.head if before is not None else None) if head is not None]
    for head in known:
        if (found := _contradiction(head, said.head)) is not None:
            return _accuse(state, found)
    if mine is None or (before is not None and (said.head.size, said.unix_ms) <= (before.head.size, before.unix_ms)):
        return state, ()  # nothing to compare with yet; or nothing new
    after = replace(state, others={**state.others, who: said})
    if (said.head.size, said.head.root) in {(head.size, head.root) for head in known}:
        return after, ()
    old, new = sorted((mine, said.head), key=lambda head: head.size)
    if (ask := Ask(old, new)) in state.asked:
        return after, ()
    if len(state.asked) == MOST_ASKED:
        return state, ()  # not kept, so that it is asked about when it is heard again
    return replace(after, asked=(*state.asked, ask)), (ask,)


def _contradiction(first: SignedHead, second: SignedHead) -> Accuse | None:
    """What the two signatures alone prove, if anything."""
    if first.size == second.size and first.root != second.root:
        return Accuse("split view", first, second, f"one size, two roots: {first}; and {second}")
    early, late = sorted((first, second), key=lambda head: head.unix_ms)
    if early.unix_ms < late.unix_ms and early.size > late.size:
        return Accuse("rewritten", early, late, f"the log became shorter: {early}; and later {late}")
    return None


def _joins(old: SignedHead, new: SignedHead, proof: Path) -> bool:
    return verify_consistency(old.size, new.size, old.root, new.root, proof)


def _unjoined(ask: Ask, why: str) -> Accuse:
    return Accuse("not joined", ask.old, ask.new, f"{why}: {ask.old}; and {ask.new}")


def _accuse(state: State, found: Accuse) -> tuple[State, tuple[Instruction, ...]]:
    if found in state.accusations:
        return state, (found,)
    proofs = tuple(each for each in state.accusations if each.is_proof)
    rest = tuple(each for each in state.accusations if not each.is_proof)
    if found.is_proof:
        return replace(state, accusations=((*proofs, found)[:MOST_KEPT] + rest)), (found,)
    return replace(state, accusations=proofs + (*rest, found)[-MOST_KEPT:]), (found,)


def _without(state: State, ask: Ask) -> State:
    if ask not in state.asked:
        raise ProtocolRefused(f"a proof for sizes {ask.old.size} and {ask.new.size}, which was not asked for; leave it out")
    return replace(state, asked=tuple(each for each in state.asked if each != ask))


def _check_head(log: bytes, head: SignedHead, members: Mapping[bytes, bytes], now_ms: int) -> None:
    if head.log != log:
        raise ProtocolRefused(f"a head of the log {head.log.hex()[:16]}; watched is {log.hex()[:16]}. Offer that one's")
    if not head.is_signed_by(members.get(log, b"")):
        raise ProtocolRefused(f"the head of {head} was not signed by the log's owner {log.hex()[:16]}; somebody forged it")
    if head.unix_ms > now_ms + AHEAD_MS:
        raise ProtocolRefused(
            f"a head from the future: {head}, {(head.unix_ms - now_ms) / 1000:.0f} s ahead; allowed are "
            f"{AHEAD_MS // 1000} s. Set the clocks right, here and there"
        )
    if head.size == 0 and head.root != EMPTY:
        raise ProtocolRefused(f"a head of no entries with the root {head.root.hex()}; an empty log has {EMPTY.hex()}")


def _check_countersigned(log: bytes, said: Countersigned, members: Mapping[bytes, bytes], now_ms: int) -> None:
    who = said.witness.hex()[:16]
    _check_head(log, said.head, members, now_ms)
    if said.witness not in members or said.witness == log:
        raise ProtocolRefused(f"a head countersigned by {who}; only members that are pinned, the owner aside, are heard")
    if not said.is_signed_by(members[said.witness]):
        raise ProtocolRefused(f"{who} did not countersign {said.head}; somebody forged it")
    if said.unix_ms > now_ms + AHEAD_MS:
        raise ProtocolRefused(f"{who} countersigned {(said.unix_ms - now_ms) / 1000:.0f} s from now; set the clocks right")
