"""Judges what the line carries: whether the center answers this clinic, large packets, speed."""

from __future__ import annotations

from collections.abc import Sequence

from fedmed.clinic.doctor.traffic import Exchange, Sent
from fedmed.operation.doctor.finding import Finding, fail, ok, warn
from fedmed.operation.doctor.speed import Speed, judged
from fedmed.report.formats import data_size, duration
from fedmed.wire.visible import visible

LEAST_MTU = 1280
"""Octets; the smallest that IPv6 allows (RFC 8200, 5). A VPN inside a VPN comes close."""

_HOLE = (
    "large packets are lost on the way (MTU black hole): let ICMP 'fragmentation needed' through, clamp the MSS at the VPN "
    "or firewall, or set this interface's MTU to 1280"
)
_CUT = "the upload was cut off or refused: raise the limit on uploads at the proxy or firewall"


def answer(found: Exchange) -> Finding:
    """Whether the center takes this clinic's certificate and answers."""
    allowed = "an answer of the center"
    if found.kind == "answered" and found.status == 200:
        return ok("answer", f"the center knows this clinic, {duration(found.seconds)}")
    said = visible(found.said)
    if found.kind == "closed":
        todo = (
            "expired, revoked, or of another federation: see its dates, and ask the center's operator for a new join file; "
            "where it is right, something between cuts the connection, or loses large packets (try an MTU of 1280)"
        )
        return fail("answer", f"the center does not take this clinic's certificate, or is cut off ({said})", allowed, todo)
    if found.kind == "answered":
        todo = "ask the center's operator; a center without a measuring path is older than this clinic's software"
        return fail("answer", f"refused with status {found.status} ({said})", allowed, todo)
    todo = "TLS came through and the answer did not: ask who runs the firewall whether long or quiet connections are cut"
    return fail("answer", f"no answer ({said})", allowed, todo)


def packets(sent: Sequence[Sent], mtu: int | None) -> Finding:
    """Large bodies that stall where small ones pass: packets of full size are lost, and nobody says so (RFC 4821)."""
    allowed = "bodies of " + ", ".join(data_size(each.size) for each in sent)
    known = f"path MTU {mtu}" if mtu else "path MTU unknown"
    last = sent[-1]
    if last.seconds is None:
        passed = [data_size(each.size) for each in sent if each.seconds is not None]
        if not passed:
            return fail(
                "packets", f"not even {data_size(last.size)} arrive ({visible(last.said)})", allowed, "see the firewall"
            )
        got = f"{' and '.join(passed)} arrive, {data_size(last.size)} do not ({visible(last.said)}); {known}"
        return fail("packets", got, allowed, _HOLE if last.is_stalled else _CUT)
    got = f"{data_size(last.size)} in {duration(last.seconds)}; {known}"
    if mtu is not None and mtu < LEAST_MTU:
        return warn("packets", got, f"path MTU {LEAST_MTU} and more", "look for a tunnel in a tunnel on the way")
    return ok("packets", got, allowed)


def speed(found: Speed | str) -> Finding:
    """Both ways, warned of where a small practice has more."""
    again = "run it again; where it stays so, ask the center's operator"
    return judged(found, again, "rounds will wait for this line: use 16-bit lanes, or a faster line")
