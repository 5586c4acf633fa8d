"""Whether the holder of a certificate is a member now: the question that the fence asks at every request."""

from __future__ import annotations

from fedmed.clock import Clock
from fedmed.errors import JoinRefused, ProtocolRefused, StoreError
from fedmed.identity.authority import PublicMember, day, read_certificate
from fedmed.identity.enrolment import MOST_SEATS, reason_against
from fedmed.store.enrolments import Enrolments


class Admissions:
    """Reads the roll anew as soon as it changes, so that a revocation holds from the next request on."""

    def __init__(self, enrolments: Enrolments, authority_public: bytes, clock: Clock) -> None:
        self._enrolments, self._authority, self._clock = enrolments, authority_public, clock
        self._read: dict[bytes, PublicMember] = {}

    def is_admitted(self, certificate: bytes | None) -> str | None:
        """Why the holder of this certificate (DER) is not let in; None where it is a member."""
        try:
            self.admit(certificate)
        except ProtocolRefused as error:
            return str(error)
        return None

    def admit(self, certificate: bytes | None) -> PublicMember:
        """The member whose certificate (DER) this is, as the fence asks. Raises ProtocolRefused where it is none now."""
        try:
            return self.member(certificate)
        except JoinRefused as error:
            raise ProtocolRefused(str(error)) from error
        except StoreError as error:  # who is a member cannot be known, so nobody is
            raise ProtocolRefused("the center cannot read who its members are; its operator can mend that") from error

    def member(self, certificate: bytes | None) -> PublicMember:
        """The member whose certificate this is. Raises JoinRefused where it is none now, StoreError."""
        if certificate is None:
            raise JoinRefused("no certificate was shown; dial with the one that the clinic got when it joined")
        known = self._known(certificate)
        if not known.not_before <= (now := self._clock.unix()) <= known.not_after:
            raise JoinRefused(
                f"the certificate of {known.name!r} is valid from {day(known.not_before)} to {day(known.not_after)}, and it "
                f"is {day(now)} at the center; where the clocks are right, ask for a new join file: the clinic's keys stay"
            )
        if (reason := reason_against(self._enrolments.roll(), known.name, known.fingerprint.hex())) is not None:
            raise JoinRefused(reason)
        return known

    def _known(self, certificate: bytes) -> PublicMember:
        known = self._read.get(certificate)
        if known is None:
            try:
                known = read_certificate(certificate, self._authority, self._clock.unix())
            except ProtocolRefused as error:
                raise JoinRefused(str(error)) from error
            if len(self._read) >= 2 * MOST_SEATS:
                self._read.clear()
            self._read[certificate] = known
        return known
