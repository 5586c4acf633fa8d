"""The terms of an epoch: what the center proposes, what follows from it, and what a clinic insists on.

Everything that security rests on (quorum, least sum, threshold, graph) follows from the roster and the number of colluders
by the formulas below, on both sides: it is not sent, so it cannot be lied about.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from fedmed.privacy.secagg import graph
from fedmed.privacy.secagg.attacks import Attack, Refused
from fedmed.privacy.secagg.encoding import DIGEST_BYTES, Reader, Writer, sha256

Mode = Literal["malicious", "hbc"]
MODES: tuple[Mode, ...] = ("malicious", "hbc")
KIND = 1
MAX_NAME, MAX_MEMBERS, MAX_ROUNDS, MAX_EPOCH = 200, 4096, 128, 2**32 - 1
MAX_BYTES = 2 * MAX_NAME + DIGEST_BYTES * MAX_MEMBERS + 100
LEAST_SUM = 3  # a sum of two tells each of the two the other's update


def least_colluders(members: int) -> int:
    """Colluding members that are always reckoned with: none of 3, one from 4, a tenth of more."""
    return 0 if members < 4 else max(1, members // 10)


@dataclass(frozen=True)
class Parameters:
    """The terms of one epoch, the same for everybody."""

    federation: str
    run: str
    epoch: int
    """Counted from 1; a clinic never goes back."""
    roster: tuple[bytes, ...]
    """Fingerprints of the members, ascending; a member's index is its place, counted from 1."""
    colluders: int
    """Members that may work with the center without any other's update being learned."""
    dropouts: int
    """Members that may be gone in a round; beyond 128 members the graph is made for it."""
    rounds: int
    """Rounds that keys are shared for; training and evaluation use one each."""
    least: int = LEAST_SUM
    """Members that a sum has at least, beside what the formulas ask for (differential privacy asks for more)."""
    mode: Mode = "malicious"

    def __post_init__(self) -> None:
        """Raises Refused for terms that make no sense for anybody."""
        if fault := self._fault():
            raise Refused(Attack.STRANGE_TERMS, fault)

    def _fault(self) -> str | None:
        count = len(self.roster)
        if not LEAST_SUM <= count <= MAX_MEMBERS:
            return f"the roster has {count} members; allowed: {LEAST_SUM} to {MAX_MEMBERS}"
        if list(self.roster) != sorted(set(self.roster)) or any(len(each) != DIGEST_BYTES for each in self.roster):
            return "the roster is not a sorted list of different fingerprints"
        if not 1 <= self.rounds <= MAX_ROUNDS or not 1 <= self.epoch <= MAX_EPOCH:
            return f"epoch {self.epoch} of {self.rounds} rounds; allowed: from 1, of 1 to {MAX_ROUNDS} rounds"
        if not least_colluders(count) <= self.colluders <= (count - 1) // 3:
            bounds = f"{least_colluders(count)} to {(count - 1) // 3}"
            return f"{self.colluders} of {count} members are reckoned to collude; allowed: {bounds}"
        if not 0 <= self.dropouts < count or not LEAST_SUM <= self.least <= count:
            return f"{self.dropouts} dropouts, sums of {self.least} and more, of {count} members"
        if self.mode == "hbc" and count > graph.COMPLETE:
            return f"mode hbc with {count} members; allowed: up to {graph.COMPLETE}, where the threshold alone limits a lie"
        if self.mode not in MODES or not all(0 < len(each.encode()) <= MAX_NAME for each in (self.federation, self.run)):
            return f"mode {self.mode!r}, names of 1 to {MAX_NAME} bytes; allowed modes: {', '.join(MODES)}"
        return None

    @property
    def members(self) -> int:
        """Members of the roster, N."""
        return len(self.roster)

    @property
    def quorum(self) -> int:
        """Signatures that a survivor set needs: two such sets share an honest member, hence are the same set."""
        return (self.members + self.colluders) // 2 + 1

    def least_survivors(self, cohort: int) -> int:
        """Members that the sum of a cohort of this size has at least; of three members, all three."""
        if self.members == LEAST_SUM:
            return LEAST_SUM
        return max(LEAST_SUM, self.least, self.colluders + 2, math.ceil(cohort / 2))

    @cached_property
    def design(self) -> graph.Design:
        """Who shares with how many; complete up to 128 members."""
        return graph.design(self.members, self.colluders, self.dropouts, self.quorum)

    @property
    def draws_graph(self) -> bool:
        """Whether the graph is drawn from committed nonces."""
        return not self.design.is_complete

    def index_of(self, fingerprint: bytes) -> int:
        """A member's index. Raises Refused for a stranger."""
        if fingerprint not in self.roster:
            raise Refused(Attack.SYBIL, f"member {fingerprint.hex()[:16]} is not in the roster of {self.members}")
        return self.roster.index(fingerprint) + 1

    def encode(self) -> bytes:
        """Canonical bytes."""
        writer = Writer(KIND).text(self.federation.encode()).text(self.run.encode()).number(self.epoch, 4)
        writer.number(MODES.index(self.mode), 1).number(self.colluders, 2).number(self.dropouts, 2)
        writer.number(self.rounds, 1).number(self.least, 2).number(self.members, 2)
        return writer.fixed(b"".join(self.roster)).bytes()

    @cached_property
    def context(self) -> bytes:
        """Digest of the terms, in everything that is signed or derived in the epoch."""
        return sha256(b"fedmed/sa/v1", self.encode())


def decode(data: bytes) -> Parameters:
    """Read the terms. Raises Refused."""
    reader = Reader(data, KIND, MAX_BYTES)
    try:
        federation, run = (reader.text(MAX_NAME).decode() for _ in range(2))
    except UnicodeDecodeError as error:
        raise Refused(Attack.MALFORMED, "a name is no UTF-8") from error
    epoch, mode = reader.number(4, MAX_EPOCH), MODES[reader.number(1, len(MODES) - 1)]
    colluders, dropouts = reader.number(2, MAX_MEMBERS), reader.number(2, MAX_MEMBERS)
    rounds, least, members = reader.number(1, MAX_ROUNDS), reader.number(2, MAX_MEMBERS), reader.number(2, MAX_MEMBERS)
    roster = tuple(reader.fixed(DIGEST_BYTES) for _ in range(members))
    reader.end()
    return Parameters(federation, run, epoch, roster, colluders, dropouts, rounds, least, mode)


@dataclass(frozen=True)
class Policy:
    """What one clinic insists on, from its own files alone."""

    federation: str
    pins: Mapping[bytes, bytes] = field(repr=False)
    """Fingerprint -> Ed25519 key of each member that this clinic itself has approved."""
    least_members: int = LEAST_SUM
    least_survivors: int = LEAST_SUM
    modes: tuple[Mode, ...] = ("malicious",)

    def check(self, terms: Parameters) -> None:
        """Raise Refused where the terms are weaker than the clinic's own."""
        if unpinned := [each for each in terms.roster if each not in self.pins]:
            raise Refused(
                Attack.SYBIL,
                f"{len(unpinned)} of {terms.members} members were never approved here, the first is "
                f"{unpinned[0].hex()[:16]}; compare its six words by telephone, then approve it",
            )
        if terms.federation != self.federation:
            raise Refused(Attack.STRANGE_TERMS, f"got federation {terms.federation!r}, allowed: {self.federation!r}")
        if terms.members < self.least_members or terms.least < self.least_survivors:
            raise Refused(
                Attack.STRANGE_TERMS,
                f"got {terms.members} members and sums of {terms.least} or more; this clinic takes part with "
                f"{self.least_members} members and sums of {self.least_survivors} or more",
            )
        if terms.mode not in self.modes:
            raise Refused(
                Attack.STRANGE_TERMS,
                f"got mode {terms.mode}, which is weaker (it trusts the center to tell everybody the same survivors); "
                f"allowed here: {', '.join(self.modes)}",
            )
