"""Who may do what: four roles, one table, and one interface that says who a caller is.

    operator     runs the center: invites, admits, revokes, starts runs
    researcher   starts runs and reads what they made
    auditor      reads the record, and changes nothing
    site         a clinic: answers what it is asked, and renews its own certificate

None of them can add a member to encryption: that takes a pin at each clinic (`fedmed.identity.pins`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from fedmed.errors import FederationError


class Role(str, Enum):
    """What somebody is to a federation."""

    OPERATOR = "operator"
    RESEARCHER = "researcher"
    AUDITOR = "auditor"
    SITE = "site"


class Action(str, Enum):
    """What somebody may do at a center."""

    INVITE = "invite a clinic"
    ADMIT = "admit or refuse a clinic"
    REVOKE = "revoke a clinic"
    SEE_SITES = "see the clinics"
    RUN = "start and stop runs"
    SEE_RUNS = "see runs and models"
    READ_AUDIT = "read the audit log"
    ANSWER = "answer tasks"
    RENEW = "renew its own certificate"


ALLOWED: dict[Role, frozenset[Action]] = {
    Role.OPERATOR: frozenset(set(Action) - {Action.ANSWER, Action.RENEW}),
    Role.RESEARCHER: frozenset({Action.SEE_SITES, Action.RUN, Action.SEE_RUNS}),
    Role.AUDITOR: frozenset({Action.SEE_SITES, Action.SEE_RUNS, Action.READ_AUDIT}),
    Role.SITE: frozenset({Action.ANSWER, Action.RENEW}),
}


class NotAllowed(FederationError):
    """The caller's roles do not allow what it asked for."""


@dataclass(frozen=True)
class Caller:
    """Somebody whose identity was established."""

    name: str
    roles: frozenset[Role]

    def may(self, action: Action) -> bool:
        """Whether any of the caller's roles allows it."""
        return any(action in ALLOWED[role] for role in self.roles)

    def require(self, action: Action) -> None:
        """Raises NotAllowed, which names the roles that would do."""
        if not self.may(action):
            enough = ", ".join(role.value for role in Role if action in ALLOWED[role])
            held = ", ".join(sorted(role.value for role in self.roles)) or "none"
            raise NotAllowed(f"{self.name!r} may not {action.value}: its roles are {held}; it takes one of: {enough}")


class IdentityProvider(Protocol):
    """Says who a caller is. One for a hospital's own directory, over OIDC or LDAP, implements this and nothing else."""

    def identify(self, evidence: bytes) -> Caller:
        """The caller who shows `evidence`: whatever this provider goes by, such as the certificate of a TLS connection.

        Empty where a command was typed on this machine. Raises NotAllowed for somebody unknown.
        """
