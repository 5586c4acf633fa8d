"""TLS handshakes that fail at a service's port: why, in words of ours, in the audit log, and as numbers."""

from __future__ import annotations

import ssl
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from fedmed.clock import Clock
from fedmed.store.audit.event import Event
from fedmed.store.audit.floods import Floods, Kind

MOST = 64
"""Pairs of address and reason that are told apart within a minute; a scan from many addresses is one entry more."""
WHAT = "TLS handshake"


class Fault(Enum):
    """Why a handshake failed. What is said to people is in `advice`."""

    NO_CERTIFICATE = "no-certificate"
    UNKNOWN_AUTHORITY = "unknown-authority"
    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"
    UNFIT = "unfit-certificate"
    TOO_OLD = "tls-too-old"
    NOTHING_IN_COMMON = "nothing-in-common"
    NOT_TLS = "not-tls"
    REFUSED_BY_PEER = "refused-by-peer"
    GONE = "gone"
    """The line was closed or silent before the end: a scan, a look whether the port is open, a cut."""
    OTHER = "other"


@dataclass(frozen=True)
class Callers:
    """Who is let in at a port, in the words of whoever serves it."""

    gets_one: str
    """How one gets a certificate."""
    authority: str
    """Whose it has to be."""
    again: str
    """What who was let in before does."""
    server: str
    doctor: str
    """Where to look where the other side refuses."""


def advice(fault: Fault, callers: Callers) -> str:
    """One sentence: what was got, and what to do."""
    proxy, again = "let no proxy on the way take TLS apart", callers.again
    return {
        Fault.NO_CERTIFICATE: f"no client certificate; {callers.gets_one}, and {proxy}",
        Fault.UNKNOWN_AUTHORITY: f"a certificate of an authority that is not {callers.authority}; {again}",
        Fault.EXPIRED: f"a certificate that has run out; {again}, unless this machine's clock is ahead",
        Fault.NOT_YET_VALID: "a certificate that is not valid yet; this machine's clock is behind, set it by NTP",
        Fault.UNFIT: f"a certificate that is not whole, or not made for clients; {again}",
        Fault.TOO_OLD: f"TLS older than 1.3; use TLS 1.3, and {proxy}",
        Fault.NOTHING_IN_COMMON: "no cipher, group or signature in common; use the software of this federation",
        Fault.NOT_TLS: "bytes that are no TLS; use TLS 1.3",
        Fault.REFUSED_BY_PEER: f"the other side refuses {callers.server}; {callers.doctor} at its clock and its way here",
        Fault.GONE: "closed, or silent, before the handshake's end; there is nothing to do",
        Fault.OTHER: f"a handshake that cannot be read; {callers.doctor}",
    }[fault]


_VERIFYING = {
    9: Fault.NOT_YET_VALID,
    10: Fault.EXPIRED,
    **dict.fromkeys((2, 7, 18, 19, 20, 21, 24, 30), Fault.UNKNOWN_AUTHORITY),
}
"""X509_V_ERR_* of openssl/x509_vfy.h; an authority of the same name with another key is 7, bad signature."""
_SAYING = (
    ("PEER_DID_NOT_RETURN_A_CERTIFICATE", Fault.NO_CERTIFICATE),
    ("UNSUPPORTED_PROTOCOL", Fault.TOO_OLD),
    ("VERSION_TOO_LOW", Fault.TOO_OLD),
    ("NO_SHARED", Fault.NOTHING_IN_COMMON),
    ("NO_SUITABLE", Fault.NOTHING_IN_COMMON),
    ("HTTP_REQUEST", Fault.NOT_TLS),
    ("HTTPS_PROXY_REQUEST", Fault.NOT_TLS),
    ("WRONG_VERSION_NUMBER", Fault.NOT_TLS),
    ("RECORD_LAYER_FAILURE", Fault.NOT_TLS),
    ("PACKET_LENGTH_TOO_LONG", Fault.NOT_TLS),
    ("UNEXPECTED_MESSAGE", Fault.NOT_TLS),
    ("UNEXPECTED_EOF", Fault.GONE),
    ("ALERT", Fault.REFUSED_BY_PEER),
)
"""What the reason that OpenSSL gives (openssl/sslerr.h) holds, the first that fits."""


def fault_of(error: OSError) -> Fault:
    """The fault that ended a handshake."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _VERIFYING.get(error.verify_code, Fault.UNFIT)
    if not isinstance(error, ssl.SSLError):
        return Fault.GONE
    said = error.reason or ""
    return next((fault for part, fault in _SAYING if part in said), Fault.OTHER)


class Handshakes:
    """Those that failed since the service began; safe from any thread."""

    def __init__(
        self,
        node: tuple[str, str],
        callers: Callers,
        clock: Clock,
        record: Callable[[Event], object],
        count: Callable[[str], None] = lambda fault: None,
    ) -> None:
        """`node`: name and role of whoever serves; `count` is given each fault's value."""
        self._callers, self._clock, self._count = callers, clock, count
        self.floods = Floods(*node, clock, record, "refuse.handshake", Kind("others", WHAT, "several"), MOST)
        self._counts: Counter[str] = Counter()
        self._newest: Mapping[str, Any] = {}
        self._lock = threading.Lock()

    def note(self, address: str, error: OSError) -> None:
        """Write down, or count, that `error` ended a handshake with `address`.

        Who went before its end is counted and not in the log: monitors look every few seconds whether a port is open.
        """
        fault = fault_of(error)
        self._count(fault.value)
        with self._lock:
            self._counts[fault.value] += 1
            if fault is not Fault.GONE:
                self._newest = {"unix": self._clock.unix(), "peer": address, "code": fault.value}
        if fault is not Fault.GONE:
            detail = f" ({error})" if fault in (Fault.OTHER, Fault.UNFIT) else ""
            self.floods.note(Kind(address, WHAT, fault.value), advice(fault, self._callers) + detail)

    def standing(self) -> dict[str, Any]:
        """How many of each fault there were, and the newest that is in the log: JSON."""
        with self._lock:
            return {"counts": dict(sorted(self._counts.items())), "newest": dict(self._newest)}
