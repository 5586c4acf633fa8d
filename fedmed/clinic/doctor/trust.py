"""Judges TLS, in the order in which it can be wrong: spoken at all, whose authority, dates and name, clocks."""

from __future__ import annotations

from datetime import datetime, timezone

from fedmed.clinic.doctor.finding import Finding, fail, ok, skipped
from fedmed.clinic.doctor.shaking import DATES, NAMES, Handshake
from fedmed.identity.shown import Shown
from fedmed.report.formats import duration
from fedmed.wire.visible import visible

SKEW_S = 300.0
"""Clocks may differ by this much; join files, heads of the log and certificates bear times."""
_13 = "TLSv1.3"


def tls(found: Handshake) -> Finding:
    """Whether TLS 1.3 is spoken there."""
    allowed = "TLS 1.3"
    if found.version == _13:
        return ok("tls", "TLS 1.3", allowed)
    if found.version:
        todo = "the center speaks 1.3 and nothing older: something between ends TLS; have it leave this connection alone"
        return fail("tls", f"{found.version.replace('v', ' ')} at most", allowed, todo)
    if found.is_silent:
        todo = (
            "this is not the center's port, or something between swallows TLS: compare host and port, then ask the firewall"
        )
        return fail("tls", f"the port takes the connection and says nothing ({found.said})", allowed, todo)
    return fail("tls", f"no TLS there ({visible(found.said)})", allowed, "compare host and port with the center's")


def authority(found: Handshake) -> Finding:
    """Whether the federation's own authority made the certificate; an inspecting proxy shows one of its own."""
    who = visible(found.shown.issuer) if found.shown else "nobody who can be read"
    if found.fault == 0 or found.fault in DATES | NAMES:
        return ok("authority", f"issued by {who}")
    return fail(
        "authority",
        f"the certificate shown was issued by {who} ({visible(found.said)})",
        "the federation's own authority",
        "TLS is opened on the way, or another machine answers: have the firewall or proxy exempt this host from inspection. "
        "Nothing of the clinic's was sent",
    )


def certificate(found: Handshake, now_unix: float) -> Finding:
    """Dates and name of the center's certificate, by this machine's clock."""
    if found.fault in NAMES:
        todo = "dial the center by a name that its certificate has, or have the center add this one"
        return fail("certificate", f"it does not name this host ({visible(found.said)})", "the host's name", todo)
    if found.shown is None:
        return fail("certificate", "it cannot be read", "an X.509 certificate", "ask the center's operator")
    span = f"valid {_day(found.shown.begins)} to {_day(found.shown.ends)}"
    if found.shown.begins <= now_unix <= found.shown.ends and found.fault not in DATES:
        return ok("certificate", span)
    late = now_unix > found.shown.ends
    todo = f"set this machine's clock if it is {'ahead' if late else 'behind'}; where it is right the center must renew"
    what = f"{'expired' if late else 'not valid yet'}: {span}, and here it is {_day(now_unix)}"
    return fail("certificate", what, "a certificate that is valid now", todo)


def clock(ahead_s: float | None, shown: Shown | None, now_unix: float) -> Finding:
    """How far this machine's clock is from the center's; `ahead_s` is None where the center told no time."""
    allowed = f"{SKEW_S:.0f} s"
    if ahead_s is None:
        if shown is None:
            return skipped("clock", "the center told no time, and its certificate cannot be read")
        return ok("clock", f"{_day(now_unix)}, within the certificate's dates; the center told no time", allowed)
    size = duration(abs(ahead_s))
    got = f"{size} {'ahead of' if ahead_s > 0 else 'behind'} the center"
    if abs(ahead_s) <= SKEW_S:
        return ok("clock", got, allowed)
    todo = f"set it {'back' if ahead_s > 0 else 'forward'} by {size} and start NTP (timedatectl set-ntp true)"
    return fail("clock", got, allowed, todo)


def _day(unix: float) -> str:
    return datetime.fromtimestamp(unix, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
