"""When a clinic renews its certificate, and how: for the same keys, so that no pin breaks."""

from __future__ import annotations

from dataclasses import dataclass

from fedmed.clinic.folder import ClinicFolder
from fedmed.clinic.joining import certificate_in, own_certificate
from fedmed.identity.authority import PublicMember, day
from fedmed.identity.issuing import public_of
from fedmed.identity.requests import certificate_request

RENEW = "/fedmed/renew"
LEFT, SPREAD = 1 / 3, 1 / 12
"""Of the lifetime: what is left when the first clinics renew, and over how much the others are spread after them."""
FIRST_RETRY_S, MOST_WAIT_S = 60.0, 3600.0


@dataclass(frozen=True)
class Decision:
    """What to do about the certificate now."""

    renew: bool
    wait_s: float
    """Until this is to be asked again, where nothing is renewed or the renewal fails."""
    warning: str = ""
    """What a person should look at; empty where all is well."""


def due_at(member: PublicMember) -> float:
    """When to renew (seconds since 1970): a third of the lifetime is left, less a part of a twelfth drawn from the keys.

    Drawn from the keys, and so the same after each restart, lest all clinics come at once.
    """
    lifetime = member.not_after - member.not_before
    share = int.from_bytes(member.fingerprint[-4:], "big") / 2**32
    return member.not_after - lifetime * (LEFT - SPREAD * share)


def decide(member: PublicMember, now: float, failures: int = 0) -> Decision:
    """Whether to renew at `now`, after so many tries that failed in a row; asked at least every hour."""
    if now < member.not_before:
        said = f"the clock here says {day(now)}, and the certificate began at {day(member.not_before)}; set it right"
        return Decision(False, MOST_WAIT_S, said)
    if now > member.not_after:
        said = f"the certificate ended at {day(member.not_after)}; where the clock is right, ask for a new join file"
        return Decision(True, MOST_WAIT_S, said)
    due = due_at(member)
    if now < due:
        return Decision(False, min(due - now, MOST_WAIT_S))
    left = member.not_after - now
    wait = min(FIRST_RETRY_S * 2 ** min(failures, 6), MOST_WAIT_S, max(FIRST_RETRY_S, left / 10))
    late = left < (member.not_after - due) / 2
    return Decision(True, wait, f"the certificate ends at {day(member.not_after)} and is not renewed yet" if late else "")


def renew(folder: ClinicFolder) -> PublicMember:
    """Ask for a new certificate and keep it, on the disk before this returns.

    Raises Unreachable where the center does not answer, JoinRefused where it refuses or answers with something else,
    StoreError where the certificate cannot be written: the old one stays.
    """
    keys, name = folder.keys(), folder.config.name
    _, found = folder.line().ask("POST", RENEW, certificate_request(keys, name))
    certificate = certificate_in(found.get("chain"))
    member = own_certificate(certificate, public_of(folder.authority()), keys, name, folder.clock.unix())
    folder.keep(certificate)
    return member
