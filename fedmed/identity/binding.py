"""What ties the Ed25519 key to the P-384 key: one extension, in a member's request and in the certificate alike.

The extension's value is a DER OCTET STRING of 97 bytes:

    version 1 | Ed25519 public key 32 | Ed25519 signature 64

The signature is over `joined("fedmed/member binding/1", P-384 SubjectPublicKeyInfo, name)`: whoever holds the Ed25519 key
agreed to this P-384 key under this name. The P-384 key signs the request that holds the extension: proof of the other half.
The object identifier is the UUID e125bf28-8799-45e9-904f-855f0a30af29 in seven parts under the arc that Microsoft keeps for
identifiers made of UUIDs: free for all, no registry, and no part is too long for any parser (2.25 and the whole UUID is).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fedmed.errors import ProtocolRefused
from fedmed.identity.member import NAME, SIGNING_KEY, Identity, MemberKeys, is_p384, joined, verify

OID = x509.ObjectIdentifier("1.2.840.113556.1.8000.2554.57637.48936.34713.17897.36943.8740618.3190569")
VERSION = 1
_HEADER = bytes((0x04, 97, VERSION))  # OCTET STRING of 97 bytes, the first of which is the version
SIZE = len(_HEADER) + 32 + 64

# All that the parser of `cryptography` raises for bytes that are no certificate; `Warning` where warnings are errors.
PARSING = (
    ValueError,
    TypeError,
    LookupError,
    UnsupportedAlgorithm,
    InvalidSignature,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    Warning,
)


@contextmanager
def parsing(what: str) -> Iterator[None]:
    """Turn what the parser raises into ProtocolRefused."""
    try:
        yield
    except PARSING as error:
        raise ProtocolRefused(
            f"{what} cannot be read: {type(error).__name__}; it is damaged or was made by another program. Ask for it again"
        ) from error


def ends_in(der: bytes, signature: bytes) -> bool:
    """Whether the signature is written with no bits to spare, as DER has it; the parser lets others pass."""
    return der.endswith(b"\0" + signature)


def bind(keys: MemberKeys, name: str) -> x509.UnrecognizedExtension:
    """The extension for these keys under this name."""
    proof = keys.sign(_statement(keys.transport_public, name))
    return x509.UnrecognizedExtension(OID, _HEADER + keys.signing_public + proof)


def bound(what: str, subject: x509.Name, key: object, extension: x509.Extension[x509.ExtensionType]) -> Identity:
    """The identity that a subject, a P-384 key and the extension make together.

    Raises ProtocolRefused for a name that is not allowed, another kind of key, and an extension that was not made for this
    key and this name.
    """
    name = _name(what, subject)
    if not isinstance(key, ec.EllipticCurvePublicKey) or not is_p384(key):
        raise ProtocolRefused(f"{what} of {name!r}: its key is not of P-384, the only kind allowed")
    public = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    value = extension.value.value if isinstance(extension.value, x509.UnrecognizedExtension) else b""
    if len(value) != SIZE or not value.startswith(_HEADER):
        raise ProtocolRefused(f"{what} of {name!r}: its signing key is not in version {VERSION} of our extension")
    signing, proof = value[len(_HEADER) :][:SIGNING_KEY], value[len(_HEADER) + SIGNING_KEY :]
    if not verify(signing, proof, _statement(public, name)):
        raise ProtocolRefused(
            f"{what} of {name!r}: the signing key in it was not bound to this transport key and name by its owner; "
            "somebody put another key or name in"
        )
    return Identity(name, public, signing)


def _statement(transport_public: bytes, name: str) -> bytes:
    return joined(b"fedmed/member binding/1", transport_public, name.encode())


def _name(what: str, subject: x509.Name) -> str:
    parts = list(subject)
    if len(parts) != 1 or parts[0].oid != x509.NameOID.COMMON_NAME:
        raise ProtocolRefused(f"{what}: its subject has {len(parts)} parts; allowed is a common name alone")
    name = str(parts[0].value)
    if not NAME.fullmatch(name):
        raise ProtocolRefused(
            f"{what}: a member cannot be called {name[:64]!r}; allowed are 1 to 64 of a-z, 0-9, '_', '.', '-', a letter "
            "or digit first"
        )
    return name
