"""A certificate authority for simulations and tests, and the reading of certificates.

A certificate lets a member onto the transport. It never lets it into a roster: that takes a pin at each clinic
(`fedmed.identity.pins`), since whoever holds an authority's key could otherwise admit as many members as it likes.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA384

from fedmed.clock import Clock
from fedmed.errors import ConfigError, ProtocolRefused
from fedmed.identity import binding, files
from fedmed.identity.files import KeyRefused
from fedmed.identity.member import Identity, MemberKeys, is_p384, pem, public_der
from fedmed.identity.requests import Request

MAX_BYTES = 4096
"""A certificate of ours has some 700."""
MOST_DAYS = 825
SKEW_S = 3600
"""A certificate is valid from an hour before it was issued: clocks of clinics differ."""
AUTHORITY_DAYS = 3650
KEY_FILE, CERTIFICATE_FILE = "authority.key", "authority.crt"
EXTENSIONS = {x509.BasicConstraints.oid, x509.KeyUsage.oid, x509.AuthorityKeyIdentifier.oid, binding.OID}
"""All that a member's certificate holds."""
_WHAT = "a certificate"


@dataclass(frozen=True)
class PublicMember(Identity):
    """A member as its certificate tells."""

    not_after: float
    """Seconds since 1970 until which the certificate is valid."""


class DevelopmentAuthority:
    """An authority in memory or in one folder, its key beside it: for simulations and tests, not for a federation."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: bytes, clock: Clock) -> None:
        self._key, self.certificate, self._clock = key, certificate, clock

    @classmethod
    def generate(cls, clock: Clock, entropy: bytes | None = None, name: str = "fedmed development") -> DevelopmentAuthority:
        """A new authority, with the same key for the same `entropy` (32 bytes or more)."""
        key = MemberKeys.generate(entropy).transport
        usage = _usage(digital_signature=False, key_cert_sign=True, crl_sign=True)
        issuer = _common(name)
        builder = (
            _builder(issuer, issuer, clock.unix(), AUTHORITY_DAYS, secrets.token_bytes)
            .public_key(key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        return cls(key, builder.sign(key, SHA384()).public_bytes(serialization.Encoding.DER), clock)

    @property
    def public(self) -> bytes:
        """The authority's public key, SubjectPublicKeyInfo in DER: what `read_certificate` checks with."""
        return public_der(self._key)

    def issue(self, request: Request, days: int, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> bytes:
        """A certificate in DER for both keys of a request that `read_request` let pass. Raises ConfigError for the days."""
        if not 1 <= days <= MOST_DAYS:
            raise ConfigError(f"a certificate for {days} days; allowed are 1 to {MOST_DAYS}")
        issuer = x509.load_der_x509_certificate(self.certificate).subject
        public = serialization.load_der_public_key(request.transport_public)
        if not isinstance(public, ec.EllipticCurvePublicKey):
            raise ProtocolRefused("a certificate for a key that is not of P-384, the only kind allowed")
        builder = (
            _builder(_common(request.name), issuer, self._clock.unix(), days, random_bytes)
            .public_key(public)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .add_extension(x509.UnrecognizedExtension(binding.OID, request.binding), critical=False)
        )
        return builder.sign(self._key, SHA384()).public_bytes(serialization.Encoding.DER)

    def save(self, folder: Path) -> None:
        """Write key and certificate (PEM) into `folder`. Raises KeyRefused where an authority is there already."""
        files.write_new(folder / KEY_FILE, pem(self._key))
        certificate = x509.load_der_x509_certificate(self.certificate)
        files.write_new(folder / CERTIFICATE_FILE, certificate.public_bytes(serialization.Encoding.PEM))

    @classmethod
    def load(cls, folder: Path, clock: Clock) -> DevelopmentAuthority:
        """The authority in `folder`. Raises KeyRefused where there is none, or one whose key others can read."""
        try:
            secret = files.read(folder / KEY_FILE, MAX_BYTES)
            public = files.read(folder / CERTIFICATE_FILE, MAX_BYTES, files.OTHERS_CHANGE)
            key = serialization.load_pem_private_key(secret, None)
            certificate = x509.load_pem_x509_certificate(public)
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise KeyRefused(
                f"{folder}: holds no authority ({type(error).__name__}); make one in an empty folder"
            ) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or certificate.public_key() != key.public_key():
            raise KeyRefused(f"{folder}: {KEY_FILE} is not the key of {CERTIFICATE_FILE}; put the right one back")
        return cls(key, certificate.public_bytes(serialization.Encoding.DER), clock)


def read_certificate(der: bytes, ca_public: bytes, now_unix: float) -> PublicMember:
    """The member that a certificate names, if the authority with the public key `ca_public` (DER) signed it.

    Raises ProtocolRefused for a certificate that is damaged, by another authority, out of date, of an authority, or whose
    Ed25519 key was not bound by its owner to this P-384 key and name.
    """
    if len(der) > MAX_BYTES:
        raise ProtocolRefused(f"{_WHAT} of {len(der)} bytes; allowed are {MAX_BYTES}")
    with binding.parsing(_WHAT):
        certificate = x509.load_der_x509_certificate(der)
        _check_signature(certificate, ca_public, der)
        extensions = {each.oid: each for each in certificate.extensions}
        begins, ends = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
        subject, key = certificate.subject, certificate.public_key()
    constraints = extensions.get(x509.BasicConstraints.oid)
    if constraints is None or constraints.value != x509.BasicConstraints(ca=False, path_length=None):
        raise ProtocolRefused(f"{_WHAT} of an authority, where one of a member is needed")
    if set(extensions) != EXTENSIONS:
        raise ProtocolRefused(f"{_WHAT} with other extensions than a member's has, or without the one with its signing key")
    found = binding.bound(_WHAT, subject, key, extensions[binding.OID])
    if not begins <= now_unix <= ends:
        raise ProtocolRefused(_dated(found.name, begins, ends, now_unix))
    return PublicMember(found.name, found.transport_public, found.signing_public, ends)


def _check_signature(certificate: x509.Certificate, ca_public: bytes, der: bytes) -> None:
    key = serialization.load_der_public_key(ca_public)
    if not isinstance(key, ec.EllipticCurvePublicKey) or not is_p384(key):
        raise ProtocolRefused("the authority's key is not of P-384, the only kind allowed")
    of_this_kind = certificate.signature_algorithm_oid == x509.SignatureAlgorithmOID.ECDSA_WITH_SHA384
    if not of_this_kind or not binding.ends_in(der, certificate.signature):
        raise ProtocolRefused(f"{_WHAT} that is not signed with ECDSA and SHA-384, the only kind allowed")
    try:
        key.verify(certificate.signature, certificate.tbs_certificate_bytes, ec.ECDSA(SHA384()))
    except InvalidSignature as error:
        raise ProtocolRefused(
            f"{_WHAT} that this authority did not sign: it was changed, or is of another authority"
        ) from error


def _dated(name: str, begins: float, ends: float, now: float) -> str:
    if now > ends:
        return (
            f"{_WHAT} of {name!r} that was valid until {_day(ends)}; have the authority issue a new one for the same keys: "
            "the fingerprint, hence every pin, stays"
        )
    return f"{_WHAT} of {name!r} that is valid from {_day(begins)}, and it is {_day(now)}: set this machine's clock right"


def _day(unix: float) -> str:
    return datetime.fromtimestamp(unix, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def _common(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, now: float, days: int, random_bytes: Callable[[int], bytes]
) -> x509.CertificateBuilder:
    begins = datetime.fromtimestamp(int(now), timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .serial_number(int.from_bytes(b"\1" + random_bytes(16), "big"))
        .not_valid_before(begins - timedelta(seconds=SKEW_S))
        .not_valid_after(begins + timedelta(days=days))
    )


def _usage(digital_signature: bool, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )
