"""A member's request for a certificate (PKCS#10): one file that proves that its sender holds both keys."""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.hashes import SHA384

from fedmed.errors import ProtocolRefused
from fedmed.identity import binding
from fedmed.identity.member import Identity, MemberKeys, check_name

MAX_BYTES = 4096
"""A request of ours has some 500."""
_WHAT = "a certificate request"


@dataclass(frozen=True)
class Request(Identity):
    """A name and two public keys whose secret halves the sender was shown to hold, both."""

    binding: bytes = field(repr=False)
    """The extension's value, which goes into the certificate as it is."""


def certificate_request(keys: MemberKeys, name: str) -> bytes:
    """A request in DER, signed with the P-384 key; `fedmed.identity.binding` tells its extension.

    Raises ConfigError for a name that no member may have.
    """
    check_name(name)
    builder = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .add_extension(binding.bind(keys, name), critical=False)
    )
    return builder.sign(keys.transport, SHA384()).public_bytes(serialization.Encoding.DER)


def read_request(der: bytes) -> Request:
    """The request in `der`, both proofs checked.

    Raises ProtocolRefused for what is larger than 4,096 bytes, no request, not signed with its own P-384 key, holds other
    extensions than ours, or whose Ed25519 key did not sign this P-384 key under this name.
    """
    if len(der) > MAX_BYTES:
        raise ProtocolRefused(f"{_WHAT} of {len(der)} bytes; allowed are {MAX_BYTES}")
    with binding.parsing(_WHAT):
        request = x509.load_der_x509_csr(der)
        signed = request.signature_algorithm_oid == x509.SignatureAlgorithmOID.ECDSA_WITH_SHA384
        signed = signed and request.is_signature_valid and binding.ends_in(der, request.signature)
        subject, key, extensions = request.subject, request.public_key(), list(request.extensions)
        attributes = len(request.attributes)
    if not signed:
        raise ProtocolRefused(f"{_WHAT} that is not signed by its own key with ECDSA and SHA-384: it was changed, or copied")
    if [each.oid for each in extensions] != [binding.OID] or attributes != 1:
        raise ProtocolRefused(f"{_WHAT} with other extensions than the one that holds the signing key")
    found = binding.bound(_WHAT, subject, key, extensions[0])
    value: x509.UnrecognizedExtension = extensions[0].value
    return Request(found.name, found.transport_public, found.signing_public, value.value)
