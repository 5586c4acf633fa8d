"""Members, an authority and a clock that stands still, for the tests of identities."""

from __future__ import annotations

from dataclasses import dataclass

from fedmed.identity.authority import DevelopmentAuthority
from fedmed.identity.member import Identity, MemberKeys

NOW = 1_790_000_000.0


@dataclass
class Standing:
    """A clock that shows what it was set to."""

    at: float = NOW

    def now(self) -> float:
        return self.at

    def unix(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds


def keys(number: int) -> MemberKeys:
    return MemberKeys.generate(number.to_bytes(32, "big"))


def identity(number: int, name: str | None = None) -> Identity:
    made = keys(number)
    return Identity(name or f"clinic-{number}", made.transport_public, made.signing_public)


def authority(number: int = 1000) -> DevelopmentAuthority:
    return DevelopmentAuthority.generate(Standing(), number.to_bytes(32, "big"))
