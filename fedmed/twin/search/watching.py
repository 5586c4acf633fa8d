"""What must never happen, whatever goes wrong: every message, sum, commit and start is held against it.

The watch knows what nobody in a federation knows: all plain vectors and all secrets. It reckons sums itself, in whole
numbers, and takes no node's word for anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fedmed.identity.heads import AHEAD_MS, SignedHead
from fedmed.privacy.secagg.client import State
from fedmed.privacy.secagg.round_messages import Header, Revealed
from fedmed.privacy.secagg.rounding import Lanes
from fedmed.privacy.secagg.schedule import SELF_BYTES
from fedmed.store.commits import Commit
from fedmed.wire import merkle

MODEL = "model"
LANES = 16
Place = tuple[int, int]
"""A member and a round of the protocol, numbered through all epochs."""

COUNTED = "each update is counted once or not at all"
SUM = "an opened sum is that of the members named"
NAMED = "no round is short or incomplete without saying so"
RISES = "rounds rise one by one"
AUDIT = "the audit log verifies and its head never goes back"
COMMITTED = "the commit after a crash is the last one synced, whole"
CLEAR = "nothing is read in clear"
ONE_SHARE = "no member reveals both shares of one other in a round"
ONE_MASK = "no member masks two vectors for one round"
FORGETS = "a keystore never goes back, and forgets a round that was revealed"
OPENS = "a keystore opens after any crash, unless its disk said synced and was not"
SAME = "the same request has the same answer"
STANDS = "whatever comes is answered or refused"
GOES_ON = "once faults are over, the next rounds are committed"


class Broken(AssertionError):
    """An invariant does not hold."""

    def __init__(self, invariant: str, detail: str) -> None:
        super().__init__(f"{invariant}: {detail}")
        self.invariant, self.detail = invariant, detail


@dataclass
class Watch:
    """What one seed's world has shown so far."""

    plain: dict[bytes, Lanes] = field(default_factory=dict)
    """By digest of the masked vector: the plain one."""
    left: dict[Place, bytes] = field(default_factory=dict)
    """Digest of the masked vector that left."""
    shares: dict[tuple[int, int, int], int] = field(default_factory=dict)
    """(holder, round, dealer) -> length of the share revealed."""
    answers: dict[tuple[int, bytes], bytes] = field(default_factory=dict)
    """(member, request of a round) -> the answer that left."""
    secrets: dict[int, tuple[bytes, ...]] = field(default_factory=dict)
    """By member, of all its rounds."""
    newest: dict[int, Place] = field(default_factory=dict)
    """Member -> epoch and the newest round that anything of it left in."""
    revealed: dict[int, Place] = field(default_factory=dict)
    head: SignedHead | None = None
    entries: int = 0
    committed: int = 0
    models: dict[int, list[bytes]] = field(default_factory=dict)
    """Round -> models that were ever written as its commit."""

    def knows(self, member: int, state: State) -> None:
        """A member's secrets, right after its set-up."""
        kept = state.epoch.secrets.values() if state.epoch is not None else ()
        self.secrets[member] = tuple(part for each in kept for part in (each.own, each.key))

    def sends(self, member: int, content: bytes, plain: Iterable[Lanes] = ()) -> None:
        """What leaves a member. Raises Broken."""
        if any(secret in content for secret in self.secrets.get(member, ())):
            raise Broken(CLEAR, f"a secret of member {member} stands in what it sends")
        if any(each.tobytes() in content for each in plain):
            raise Broken(CLEAR, f"the plain vector of member {member} stands in what it sends")

    def made(self, digest: bytes, plain: Lanes) -> None:
        """A vector has its masks, and this digest."""
        self.plain[digest] = plain

    def masked(self, member: int, number: int, digest: bytes) -> None:
        """A masked vector leaves. Raises Broken."""
        before = self.left.setdefault((member, number), digest)
        if before != digest:
            raise Broken(ONE_MASK, f"member {member} sent two vectors in round {number} of the protocol")
        if digest not in self.plain:
            raise Broken(SAME, f"member {member} sent a vector that it never made, in round {number} of the protocol")

    def answered(self, member: int, request: bytes, answer: bytes) -> None:
        """An answer leaves. Raises Broken where the same request had another."""
        if self.answers.setdefault((member, request), answer) != answer:
            raise Broken(SAME, f"member {member} answered one request in two ways")

    def reveals(self, member: int, epoch: int, header: Header, holds: Sequence[int], answer: bytes) -> None:
        """Shares leave; `holds`: the dealers whose shares the member has. Raises Broken."""
        dealers = [dealer for dealer in header.cohort if dealer in holds]
        shares, serial = Revealed.decode(answer).shares, epoch << 8 | header.number
        for dealer, share in zip(dealers, shares, strict=True):
            before = self.shares.setdefault((member, serial, dealer), len(share))
            if before != len(share):
                raise Broken(
                    ONE_SHARE,
                    f"member {member} revealed {before} and {len(share)} bytes ({SELF_BYTES} are of its mask) of member "
                    f"{dealer} in round {header.number} of the protocol",
                )
        self.revealed[member] = max(self.revealed.get(member, (0, 0)), (epoch, header.number))

    def is_in(self, member: int, epoch: int, number: int) -> None:
        """Something of this round left a member."""
        self.newest[member] = max(self.newest.get(member, (0, 0)), (epoch, number))

    def starts(self, member: int, state: State) -> None:
        """A member has started, or answered, with this state on its disk. Raises Broken."""
        epoch = state.epoch
        at = (0, 0) if epoch is None else (epoch.terms.epoch, epoch.last)
        if at < self.newest.get(member, (0, 0)):
            raise Broken(FORGETS, f"member {member} is at {at}, and was at {self.newest[member]}")
        opened = self.revealed.get(member, (0, 0))
        if epoch is not None and epoch.terms.epoch == opened[0]:
            kept = [each for each in epoch.secrets if each <= opened[1]]
            if kept:
                raise Broken(FORGETS, f"member {member} has revealed round {opened[1]} and keeps secrets of {kept}")

    def opens(self, number: int, members: Sequence[int], total: Lanes) -> None:
        """A sum was opened over these members. Raises Broken."""
        parts = [self.plain[self.left[each, number]] for each in members if (each, number) in self.left]
        if len(parts) != len(members) or not np.array_equal(total, np.sum(parts, 0, dtype=np.uint32)):
            raise Broken(SUM, f"round {number} of the protocol over members {list(members)} is another sum")

    def closes(self, cohort: Sequence[str], joined: Sequence[str], missing: Mapping[str, str], enough: bool) -> None:
        """A round is taken as good. Raises Broken."""
        if sorted((*joined, *missing)) != sorted(cohort) or not all(missing.values()):
            raise Broken(NAMED, f"joined {sorted(joined)}, missing {sorted(missing)}, of {sorted(cohort)}")
        if not enough:
            raise Broken(NAMED, f"{len(joined)} of {len(cohort)} clinics are less than the quorum")

    def commits(self, commit: Commit) -> None:
        """A round is about to be committed. Raises Broken."""
        self.whole(commit)
        if commit.round > self.committed + 1:
            raise Broken(RISES, f"round {commit.round} is committed after round {self.committed}")
        self.models.setdefault(commit.round, []).append(_bytes_of(commit))

    def whole(self, commit: Commit) -> None:
        """The model holds each update named once, and no other. Raises Broken."""
        history: list[dict[str, Any]] = commit.state["history"]
        if [each["round"] for each in history] != list(range(1, commit.round + 1)):
            raise Broken(RISES, f"the rounds of commit {commit.round} are {[each['round'] for each in history]}")
        numbers = [each["number"] for each in history]
        if len(set(numbers)) != len(numbers):
            raise Broken(COUNTED, f"a round of the protocol stands twice in commit {commit.round}: {numbers}")
        total = np.zeros(LANES, np.uint32)
        for each in history:
            for member in each["members"]:
                total += self.plain[self.left[member, each["number"]]]
        if _bytes_of(commit) != total.tobytes():
            raise Broken(COUNTED, f"the model of commit {commit.round} is not the sum of the updates that it names")

    def committed_is(self, number: int) -> None:
        """A commit was acknowledged."""
        self.committed = number

    def restarts(self, latest: Commit | None, was_lied_to: bool) -> None:
        """The center has started, and goes on from `latest`. Raises Broken."""
        found = latest.round if latest is not None else 0
        if latest is not None:
            if _bytes_of(latest) not in self.models.get(found, []):
                raise Broken(COMMITTED, f"commit {found} was never written so")
            self.whole(latest)
        if found < self.committed and not was_lied_to:
            raise Broken(COMMITTED, f"commit {self.committed} was synced, and {found} is the last one there")
        self.committed = found

    def signed(self, head: SignedHead, now: float) -> None:
        """The center signed its audit log's head at `now`, by its own clock. Raises Broken where it is an older one.

        A clock that was set back by more than clinics let pass makes a head that is dated back, which they see.
        """
        before, self.head = self.head, head
        if head.size < self.entries:
            raise Broken(AUDIT, f"a head of {head.size} entries was signed, and {self.entries} are in writing")
        self.logged(head.size)
        if before is not None and head.size < before.size:
            raise Broken(AUDIT, f"a head of {head.size} entries was signed after one of {before.size}")
        if before is not None and head.unix_ms < before.unix_ms <= now * 1000 + AHEAD_MS:
            raise Broken(AUDIT, f"a head is dated {before.unix_ms - head.unix_ms} ms before the one that was signed before")

    def logged(self, entries: int) -> None:
        """So many entries were acknowledged."""
        self.entries = max(self.entries, entries)

    def verified(self, entries: int, root: bytes, proof: merkle.Path) -> None:
        """The log after a crash; `proof` is from the newest head that was signed. Raises Broken."""
        if entries < self.entries:
            raise Broken(AUDIT, f"{entries} entries are left of {self.entries}")
        if (head := self.head) is not None and not merkle.verify_consistency(head.size, entries, head.root, root, proof):
            raise Broken(AUDIT, f"the log of {entries} entries does not go on from that of {head.size}")

    def went_back(self) -> None:
        """A person put an older copy of the center back: what it had said since is not held against it."""
        self.head, self.entries = None, 0


def _bytes_of(commit: Commit) -> bytes:
    return commit.tensors[MODEL].tobytes()
