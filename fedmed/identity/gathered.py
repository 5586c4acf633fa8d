"""The center's side: the countersigned heads of its own log, the newest of each member, and who is given which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fedmed.errors import ProtocolRefused
from fedmed.identity.heads import Countersigned


@dataclass(frozen=True)
class Gathered:
    """Newest countersigned head by the fingerprint of who countersigned it."""

    newest: Mapping[bytes, Countersigned] = field(default_factory=dict)

    def taken(self, said: Countersigned, log: bytes, members: Mapping[bytes, bytes]) -> Gathered:
        """With one more; an older one changes nothing. `members`: fingerprint -> Ed25519 key, the owner `log` among them.

        Raises ProtocolRefused for a head that is not of this log, and for signatures that its members did not make.
        """
        who = said.witness.hex()[:16]
        if said.head.log != log or not said.head.is_signed_by(members.get(log, b"")):
            raise ProtocolRefused(f"{who} countersigned a head that this log's owner never signed; offer it the newest one")
        if said.witness not in members or said.witness == log or not said.is_signed_by(members[said.witness]):
            raise ProtocolRefused(f"{who} is no member, or did not sign this; only a member's own signature is taken")
        before = self.newest.get(said.witness)
        if before is not None and (said.head.size, said.unix_ms) <= (before.head.size, before.unix_ms):
            return self
        return Gathered({**self.newest, said.witness: said})

    def for_member(self, fingerprint: bytes) -> tuple[Countersigned, ...]:
        """Those of all others, by fingerprint."""
        return tuple(each for who, each in sorted(self.newest.items()) if who != fingerprint)
