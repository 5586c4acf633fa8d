"""A member's side of the protocol, as values: who it is, what it knows in an epoch, and what its shell has to do.

The rules are in `joining` (an epoch's set-up) and `taking_part` (its rounds); `client` puts them together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from fedmed.privacy.secagg.graph import Graph
from fedmed.privacy.secagg.masks import Stream
from fedmed.privacy.secagg.messages import KEY_BYTES
from fedmed.privacy.secagg.parameters import Parameters, Policy
from fedmed.privacy.secagg.reckoning import Reckon, alone

Entropy = Callable[[int], bytes]
"""So many random bytes from a cryptographic generator."""


class Signer(Protocol):
    """The enrolled identity; it signs and never shows its key."""

    @property
    def fingerprint(self) -> bytes:
        """32 bytes."""

    def sign(self, message: bytes) -> bytes:
        """An Ed25519 signature."""


@dataclass(frozen=True)
class Member:
    """Who takes part, under which terms of its own."""

    signer: Signer
    policy: Policy
    entropy: Entropy
    reckon: Reckon = alone

    def key_of(self, terms: Parameters, index: int) -> bytes:
        """The pinned signing key of a member of the roster."""
        return self.policy.pins[terms.roster[index - 1]]

    def keys_of(self, terms: Parameters) -> tuple[bytes, ...]:
        """Those of the whole roster, in its order."""
        return tuple(map(self.policy.pins.__getitem__, terms.roster))


@dataclass(frozen=True)
class RoundSecrets:
    """What a member keeps for one round until the round is over."""

    own: bytes = field(repr=False)
    """Secret of its own mask, 16 bytes."""
    key: bytes = field(repr=False)
    """X25519 secret for the masks shared with others."""
    held: Mapping[int, bytes] = field(repr=False)
    """Dealer -> this member's share of both secrets of the dealer, 48 bytes."""


@dataclass(frozen=True)
class Current:
    """The round that a member is in, or was in last."""

    number: int
    header: bytes
    digest: bytes
    uploaded: bytes | None = None
    """The envelope that went with the masked vector."""
    survivors: tuple[int, ...] | None = None
    confirmed: bytes | None = None
    revealed: bytes | None = None
    """Answers as they were sent: the same request has the same answer."""


@dataclass(frozen=True)
class Epoch:
    """What a member knows once an epoch is set up; all that its keystore holds."""

    terms: Parameters
    index: int
    transcript: bytes
    graph: Graph
    keys: Mapping[int, bytes]
    """Neighbour -> its X25519 public keys of all rounds."""
    secrets: Mapping[int, RoundSecrets]
    """Round -> secrets, of the rounds that are left."""
    last: int = 0
    """The newest round that anything was sent in."""
    current: Current | None = None

    def key_for(self, neighbour: int, number: int) -> bytes:
        """The neighbour's X25519 public key of a round."""
        return self.keys[neighbour][KEY_BYTES * (number - 1) : KEY_BYTES * number]

    def forgetting(self, number: int) -> Epoch:
        """The epoch without the secrets of rounds up to `number`."""
        return replace(self, secrets={each: kept for each, kept in self.secrets.items() if each > number})


@dataclass(frozen=True)
class Save:
    """Write the state to the keystore, synced, before anything else."""


@dataclass(frozen=True)
class Commit:
    """Write the state and the masked vector of this round as one, synced; only those bytes are ever sent for it."""

    number: int


@dataclass(frozen=True)
class Erase:
    """Write the state in place of the old one, which must not be readable any more, and drop the round's vector."""

    number: int


@dataclass(frozen=True)
class Mask:
    """Add these streams to the vector, then tell its digest."""

    streams: tuple[Stream, ...]


@dataclass(frozen=True)
class Unmask:
    """Add these streams to the vector that was committed for this round, now or never: it is the plain one again.

    It is in no sum and never will be; whether it is still of use is the shell's to say.
    """

    number: int
    streams: tuple[Stream, ...]


@dataclass(frozen=True)
class Resend:
    """Send what was committed for this round again, nothing else."""

    number: int


@dataclass(frozen=True)
class Reply:
    """Answer the center."""

    message: bytes


Instruction = Save | Commit | Erase | Mask | Unmask | Resend | Reply
