"""Judges TLS, in the order in which it can be wrong: spoken at all, whose authority, dates and name, clocks."""

from __future__ import annotations

from datetime import datetime, timezone

from fedmed.identity.shown import Shown
from fedmed.operation.doctor.finding import Finding, fail, ok, skipped
from fedmed.operation.doctor.peer import CENTER, Other
from fedmed.operation.doctor.shaking import DATES, NAMES, Handshake
from fedmed.report.formats import duration
from fedmed.wire.visible import visible

SKEW_S = 300.0
"""Clocks may differ by this much; join files, heads of the log and certificates bear times."""
_13 = "TLSv1.3"


def tls(found: Handshake, other: Other = CENTER) -> Finding:
    """Whether TLS 1.3 is spoken there."""
    allowed = "TLS 1.3"
    if found.version == _13:
        return ok("tls", "TLS 1.3", allowed)
    if found.version:
        todo = f"the {other.name} speaks nothing older: something between ends TLS; have it leave this connection alone"
        return fail("tls", f"{found.version.replace('v', ' ')} at most", allowed, todo)
    if found.is_silent:
        todo = (
            f"this is not the {other.name}'s port, or something between swallows TLS: compare host and port, then ask the "
            "firewall"
        )
        return fail("tls", f"the port takes the connection and says nothing ({found.said})", allowed, todo)
    return fail("tls", f"no TLS there ({visible(found.said)})", allowed, f"compare host and port with the {other.name}'s")


def authority(found: Handshake, other: Other = CENTER) -> Finding:
    """Whether the authority that is known here made the certificate; an inspecting proxy shows one of its own."""
    who = visible(found.shown.issuer) if found.shown else "nobody who can be read"
    if found.fault == 0 or found.fault in DATES | NAMES:
        return ok("authority", f"issued by {who}")
    return fail(
        "authority",
        f"the certificate shown was issued by {who} ({visible(found.said)})",
        other.authority,
        "TLS is opened on the way, or another machine answers: have the firewall or proxy exempt this host from inspection. "
        "Nothing of this machine's was sent",
    )


def is_dated(found: Handshake, now_unix: float) -> bool:
    """Whether the other end's certificate is out of date by this machine's clock, and nothing else is wrong with it."""
    if found.shown is None or found.fault not in DATES | {0}:
        return False
    return found.fault in DATES or not found.shown.begins <= now_unix <= found.shown.ends


def certificate(found: Handshake, now_unix: float, ahead_s: float | None = None, other: Other = CENTER) -> Finding:
    """Dates and name of the other end's certificate; `ahead_s`: this machine's clock less its, where that is known."""
    if found.fault in NAMES:
        todo = f"dial the {other.name} by a name that its certificate has, or have the {other.name} add this one"
        return fail("certificate", f"it does not name this host ({visible(found.said)})", "the host's name", todo)
    if found.shown is None:
        return fail("certificate", "it cannot be read", "an X.509 certificate", f"ask {other.owner}")
    span = f"valid {_day(found.shown.begins)} to {_day(found.shown.ends)}"
    if not is_dated(found, now_unix):
        return ok("certificate", span)
    late = now_unix > found.shown.ends
    what = f"{'expired' if late else 'not valid yet'}: {span}, and here it is {_day(now_unix)}"
    how, todo = _dated(late, max(now_unix - found.shown.ends, found.shown.begins - now_unix), ahead_s, other)
    return fail("certificate", f"{what}; {how}", "a certificate that is valid now", todo)


def _dated(late: bool, least_s: float, ahead_s: float | None, other: Other) -> tuple[str, str]:
    """How wrong this clock is, and what to do."""
    if ahead_s is None:
        side = "ahead" if late else "behind"
        todo = f"set this machine's clock if it is {side}, and start NTP; where it is right the {other.name} must renew"
        return f"the clock is {side} by {duration(least_s)} or more, or the certificate is wrong", todo
    if abs(ahead_s) <= SKEW_S:
        return f"the {other.name}'s clock says the same", f"the {other.name} must renew its certificate"
    return _off(ahead_s, other)


def _off(ahead_s: float, other: Other) -> tuple[str, str]:
    size = duration(abs(ahead_s))
    todo = f"set it {'back' if ahead_s > 0 else 'forward'} by {size} and start NTP (timedatectl set-ntp true)"
    return f"this machine's clock is {size} {'ahead of' if ahead_s > 0 else 'behind'} the {other.name}'s", todo


def clock(ahead_s: float | None, shown: Shown | None, now_unix: float, other: Other = CENTER) -> Finding:
    """How far this machine's clock is from the other end's; `ahead_s` is None where that told no time."""
    allowed = f"{SKEW_S:.0f} s"
    if ahead_s is None:
        if shown is None:
            return skipped("clock", f"the {other.name} told no time, and its certificate cannot be read")
        return ok("clock", f"{_day(now_unix)}, within the certificate's dates; the {other.name} told no time", allowed)
    got, todo = _off(ahead_s, other)
    return ok("clock", got, allowed) if abs(ahead_s) <= SKEW_S else fail("clock", got, allowed, todo)


def _day(unix: float) -> str:
    return datetime.fromtimestamp(unix, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
