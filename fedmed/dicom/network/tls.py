"""Lines under TLS after the profile that PS3.15 annex B takes over from BCP 195 (RFC 8996, RFC 9325).

TLS 1.2 or newer, forward secrecy and authenticated encryption alone, and a certificate of either side: what an AE title only
says, a certificate proves. Nothing is resumed and nothing renegotiated, so that each connection is proved anew.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from fedmed.errors import ConfigError
from fedmed.wire.tls import serving

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2 (RFC 9325 section 4.2)."""
REFUSALS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it showed no certificate; those who send here need one",
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not one of the authority that senders' certificates come from",
    "UNSUPPORTED_PROTOCOL": "it speaks no TLS 1.2 or newer",
    "NO_PROTOCOLS_AVAILABLE": "it speaks no TLS 1.2 or newer",
    "VERSION_TOO_LOW": "it speaks no TLS 1.2 or newer",
    "WRONG_VERSION_NUMBER": "it speaks no TLS; this port takes nothing else",
    "HTTP_REQUEST": "it speaks HTTP without TLS; this port takes DICOM under TLS",
    "NO_SHARED_CIPHER": "it offers no cipher with forward secrecy and authenticated encryption",
}


@dataclass(frozen=True)
class ReceiverTls:
    """Files (PEM) of a receiver under TLS."""

    certificate: Path
    """Our own, with those above it."""
    key: Path
    callers: Path
    """The authority, or several, that a sender's certificate must come from; none of the system's is believed."""

    def context(self) -> ssl.SSLContext:
        """Raises ConfigError for files that are not what they should be."""
        try:
            made = serving(self.certificate, self.key, oldest=ssl.TLSVersion.TLSv1_2)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise ConfigError(
                f"{self.certificate} and {self.key} are no certificate (PEM) and its key without a password ({_said(error)})"
            ) from error
        made.set_ciphers(CIPHERS)
        made.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
        made.verify_mode = ssl.CERT_REQUIRED
        try:
            made.load_verify_locations(self.callers)
        except OSError as error:
            raise ConfigError(
                f"{self.callers} is no certificate (PEM) of an authority for senders ({_said(error)})"
            ) from error
        return made


def refusal(error: OSError) -> str:
    """Why a handshake came to nothing, in words."""
    if isinstance(error, TimeoutError):
        return "its TLS handshake did not come to an end in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"{REFUSALS['CERTIFICATE_VERIFY_FAILED']} ({error.verify_message})"
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError) and error.reason:
        return REFUSALS.get(error.reason, f"its TLS handshake failed ({error.reason.lower().replace('_', ' ')})")
    return "it left in the midst of its TLS handshake"


def _said(error: Exception) -> str:
    return str(getattr(error, "strerror", "") or error)
