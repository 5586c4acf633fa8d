"""What every certificate authority of ours does: a key, a certificate of its own, members' certificates, a folder.

`fedmed.identity.authority` has the one for simulations, `fedmed.identity.transport` the one of a federation,
`fedmed.identity.deviceca` the one of a clinic's devices.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.x509.oid import ExtendedKeyUsageOID

from fedmed.clock import Clock
from fedmed.errors import ConfigError, ProtocolRefused
from fedmed.identity import binding, files
from fedmed.identity.files import KeyRefused
from fedmed.identity.member import MemberKeys, pem, public_der
from fedmed.identity.requests import Request

if TYPE_CHECKING:
    from typing_extensions import Self

MAX_BYTES = 4096
"""A certificate of ours has some 700."""
MOST_DAYS = 825
SKEW_S = 3600
"""A certificate is valid from an hour before it was issued: clocks of clinics differ."""
AUTHORITY_DAYS = 3650


class Authority:
    """A P-384 key and its certificate, in memory or in one folder, the key in a file that only its owner can read."""

    kind: ClassVar[str]
    key_file: ClassVar[str]
    certificate_file: ClassVar[str]

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: bytes, clock: Clock) -> None:
        self._key, self.certificate, self._clock = key, certificate, clock

    @classmethod
    def generate(cls, clock: Clock, entropy: bytes | None = None, name: str | None = None) -> Self:
        """A new authority, with the same key for the same `entropy` (32 bytes or more)."""
        key = MemberKeys.generate(entropy).transport
        issuer = common_name(name or cls.kind)
        builder = (
            dated(issuer, issuer, clock.unix(), AUTHORITY_DAYS, secrets.token_bytes)
            .public_key(key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage(digital_signature=False, key_cert_sign=True, crl_sign=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        return cls(key, builder.sign(key, SHA384()).public_bytes(serialization.Encoding.DER), clock)

    @property
    def public(self) -> bytes:
        """The authority's public key, SubjectPublicKeyInfo in DER: what `read_certificate` checks with."""
        return public_der(self._key)

    def issue(self, request: Request, days: int, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> bytes:
        """A certificate in DER for both keys of a request that `read_request` let pass. Raises ConfigError for the days."""
        proof = x509.UnrecognizedExtension(binding.OID, request.binding)
        builder = self._leaf(request.name, p384_public(request.transport_public), days, random_bytes)
        return self._signed(builder.add_extension(proof, critical=False))

    def server(self, hosts: Sequence[str], public: bytes, days: int) -> bytes:
        """A certificate in DER for the port at `hosts` (names and addresses) with the P-384 key `public` (DER)."""
        builder = self._leaf(hosts[0][:64], p384_public(public), days, secrets.token_bytes)
        names = x509.SubjectAlternativeName([_general(host) for host in hosts])
        use = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        return self._signed(builder.add_extension(names, critical=False).add_extension(use, critical=False))

    def _leaf(
        self, name: str, public: ec.EllipticCurvePublicKey, days: int, random_bytes: Callable[[int], bytes]
    ) -> x509.CertificateBuilder:
        """What every certificate by this authority holds: it is of no authority, and its key signs."""
        if not 1 <= days <= MOST_DAYS:
            raise ConfigError(f"a certificate for {days} days; allowed are 1 to {MOST_DAYS}")
        issuer = x509.load_der_x509_certificate(self.certificate).subject
        return (
            dated(common_name(name), issuer, self._clock.unix(), days, random_bytes)
            .public_key(public)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage(digital_signature=True), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )

    def _signed(self, builder: x509.CertificateBuilder) -> bytes:
        return builder.sign(self._key, SHA384()).public_bytes(serialization.Encoding.DER)

    def save(self, folder: Path) -> None:
        """Write key and certificate (PEM) into `folder`. Raises KeyRefused where an authority is there already."""
        files.write_new(folder / self.key_file, pem(self._key))
        files.write_new(folder / self.certificate_file, certificate_pem(self.certificate))

    @classmethod
    def load(cls, folder: Path, clock: Clock) -> Self:
        """The authority in `folder`. Raises KeyRefused where there is none, or one whose key others can read."""
        try:
            secret = files.read(folder / cls.key_file, MAX_BYTES)
            public = files.read(folder / cls.certificate_file, MAX_BYTES, files.OTHERS_CHANGE)
            key = serialization.load_pem_private_key(secret, None)
            certificate = x509.load_pem_x509_certificate(public)
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise KeyRefused(
                f"{folder}: holds no authority ({type(error).__name__}); make one in an empty folder"
            ) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or certificate.public_key() != key.public_key():
            raise KeyRefused(f"{folder}: {cls.key_file} is not the key of {cls.certificate_file}; put the right one back")
        return cls(key, certificate.public_bytes(serialization.Encoding.DER), clock)


def certificate_pem(der: bytes) -> bytes:
    """The same certificate in PEM, as TLS takes it."""
    return x509.load_der_x509_certificate(der).public_bytes(serialization.Encoding.PEM)


def der_of_pem(content: bytes) -> bytes:
    """The certificate in DER that `content` holds in PEM. Raises ProtocolRefused where it holds none."""
    with binding.parsing("a certificate"):
        return x509.load_pem_x509_certificate(content).public_bytes(serialization.Encoding.DER)


def public_of(der: bytes) -> bytes:
    """The public key of a certificate, SubjectPublicKeyInfo in DER, whoever signed it."""
    key = x509.load_der_x509_certificate(der).public_key()
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def p384_public(der: bytes) -> ec.EllipticCurvePublicKey:
    """The P-384 key of a SubjectPublicKeyInfo. Raises ProtocolRefused for any other kind."""
    public = serialization.load_der_public_key(der)
    if not isinstance(public, ec.EllipticCurvePublicKey):
        raise ProtocolRefused("a certificate for a key that is not of P-384, the only kind allowed")
    return public


def common_name(name: str) -> x509.Name:
    """A subject of one part."""
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def dated(
    subject: x509.Name, issuer: x509.Name, now: float, days: int, random_bytes: Callable[[int], bytes]
) -> x509.CertificateBuilder:
    """A certificate to be, valid from an hour ago for `days`, with a serial number of 17 bytes."""
    begins = datetime.fromtimestamp(int(now), timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .serial_number(int.from_bytes(b"\1" + random_bytes(16), "big"))
        .not_valid_before(begins - timedelta(seconds=SKEW_S))
        .not_valid_after(begins + timedelta(days=days))
    )


def usage(digital_signature: bool, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    """What a key may be used for."""
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


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
