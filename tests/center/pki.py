"""A development authority, server and member certificates in files, and a plain TLS client, for tests of the port."""

from __future__ import annotations

import datetime
import http.client
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fedmed.center.tls import Tls
from fedmed.clock import SystemClock
from fedmed.identity.authority import KEY_FILE, DevelopmentAuthority
from fedmed.identity.member import MemberKeys
from fedmed.identity.requests import certificate_request, read_request

PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class Client:
    """One member's files."""

    keys: MemberKeys
    der: bytes
    chain_pem: Path
    key_pem: Path


class Authority:
    """One transport authority in a folder, which also certifies servers."""

    def __init__(self, folder: Path, clock: SystemClock | None = None) -> None:
        folder.mkdir(parents=True)
        self.folder, self.own = folder, DevelopmentAuthority.generate(clock or SystemClock())
        self.own.save(folder)
        self.pem = folder / "ca.pem"
        self.pem.write_bytes(_pem(self.own.certificate))

    def server(self, name: str = "server") -> Tls:
        """Certificate and key for 127.0.0.1 and localhost."""
        key = ec.generate_private_key(ec.SECP384R1())
        issuer = x509.load_der_x509_certificate(self.own.certificate)
        secret = serialization.load_pem_private_key((self.folder / KEY_FILE).read_bytes(), None)
        now = datetime.datetime.now(datetime.timezone.utc)
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
            .issuer_name(issuer.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(secret, hashes.SHA384())  # type: ignore[arg-type]
        )
        files = Tls(self.folder / f"{name}.pem", self.folder / f"{name}.key", self.pem)
        files.chain_pem.write_bytes(certificate.public_bytes(PEM))
        files.key_pem.write_bytes(key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        return files

    def client(self, name: str, keys: MemberKeys | None = None, days: int = 1) -> Client:
        """A member's certificate and P-384 key."""
        keys = keys or MemberKeys.generate()
        der = self.own.issue(read_request(certificate_request(keys, name)), days)
        made = Client(keys, der, self.folder / f"{name}.pem", self.folder / f"{name}.key")
        made.chain_pem.write_bytes(_pem(der))
        made.key_pem.write_bytes(keys.transport_pem())
        return made


def _pem(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(PEM)


def context(authority: Authority, client: Client | None = None) -> ssl.SSLContext:
    """What a client shakes hands with."""
    made = ssl.create_default_context(cafile=str(authority.pem))
    if client is not None:
        made.load_cert_chain(client.chain_pem, client.key_pem)
    return made


def connect(port: int, shaking: ssl.SSLContext) -> http.client.HTTPSConnection:
    """A connection to the port, opened at the first request."""
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=shaking)


def ask(port: int, shaking: ssl.SSLContext, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
    """Status and body of one answer."""
    connection = connect(port, shaking)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        found = connection.getresponse()
        return found.status, found.read()
    finally:
        connection.close()
