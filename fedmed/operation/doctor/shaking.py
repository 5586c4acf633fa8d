"""Probe of TLS: once as it will be spoken; where that fails once more, believing anything, to see who answers."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace

from fedmed.errors import ConfigError, ProtocolRefused
from fedmed.identity.shown import Shown, shown
from fedmed.operation.doctor.connecting import NotConnected
from fedmed.operation.doctor.peer import Settings

SHAKE_S = 8.0
DATES = frozenset({9, 10})
"""X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED"""
NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of openssl/x509_vfy.h, which Python has no name for."""
NAMES = frozenset({62, 64})
"""X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH"""


@dataclass(frozen=True)
class Handshake:
    """What was seen of TLS."""

    version: str = ""
    """As negotiated, "TLSv1.3"; empty where no handshake came to its end."""
    shown: Shown | None = None
    """What the other end's certificate says."""
    fault: int = 0
    """OpenSSL's X509_V_ERR number; 0 where the authority's chain, dates and name are right."""
    said: str = ""
    """Why there was no handshake, or OpenSSL's words about the certificate."""
    is_silent: bool = False


def context(settings: Settings, is_timeless: bool = False) -> ssl.SSLContext:
    """What this machine shakes hands with: the other end's authority alone, TLS 1.3; `is_timeless`: whatever the date is.

    Raises ConfigError for the files.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.hostname_checks_common_name = False
    if settings.protocols:
        made.set_alpn_protocols(list(settings.protocols))
    if is_timeless:
        made.verify_flags |= NO_CHECK_TIME
    try:
        made.load_verify_locations(settings.ca)
        if settings.certificate is not None:
            made.load_cert_chain(settings.certificate, settings.key)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(
            f"{settings.ca} is no certificate (PEM) of an authority, or {settings.certificate} and {settings.key} are no "
            f"certificate and its key ({error.strerror or error})"
        ) from error
    return made


def shake(settings: Settings, strict: ssl.SSLContext, opened: Callable[[], socket.socket]) -> Handshake:
    """What TLS to the other end looks like; `opened` connects anew. No secret is shown to who is somebody else."""
    first = _try(strict, settings.named or settings.host, opened)
    if first.version and not first.fault:
        return first
    if first.is_silent:
        return first
    second = _try(believing(), settings.host, opened)
    return replace(second, fault=first.fault, said=first.said or second.said)


def believing() -> ssl.SSLContext:
    """What believes anything, to see who answers."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    return made


def _try(shaking: ssl.SSLContext, host: str, opened: Callable[[], socket.socket]) -> Handshake:
    try:
        with opened() as plain:
            plain.settimeout(SHAKE_S)
            with shaking.wrap_socket(plain, server_hostname=host) as made:
                return Handshake(made.version() or "", _read(made.getpeercert(binary_form=True)))
    except ssl.SSLCertVerificationError as error:
        return Handshake(fault=error.verify_code or -1, said=error.verify_message or str(error))
    except NotConnected as error:
        return Handshake(said=f"a second connection was not made: {error}")
    except TimeoutError:
        return Handshake(is_silent=True, said=f"nothing in {SHAKE_S:.0f} s")
    except ssl.SSLError as error:
        return Handshake(said=error.reason or str(error))
    except (OSError, ValueError) as error:
        return Handshake(said=f"the connection ended ({getattr(error, 'strerror', None) or type(error).__name__})")


def _read(der: bytes | None) -> Shown | None:
    try:
        return shown(der or b"")
    except ProtocolRefused:
        return None
