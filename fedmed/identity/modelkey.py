"""The key that a center signs its models with: P-384, for this alone, certified by the center's own signing key.

The signature of a model is what OpenSSF Model Signing 1.0 writes for a key: a Sigstore bundle 0.3 with a DSSE envelope
(github.com/secure-systems-lab/dsse, v1.0.0) around an in-toto statement that names each file's SHA-256, signed with ECDSA
and SHA-384. `model_signing verify key` reads it. It is written here because that package loads a client of Sigstore's
servers to sign without them, and asks for a package (pyOpenSSL) that it does not name.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA384

from fedmed.errors import ProtocolRefused
from fedmed.identity import files
from fedmed.identity.files import KeyRefused
from fedmed.identity.member import MemberKeys, is_p384, joined, pem, public_der, verify
from fedmed.wire.canonical import canonical

MAX_BYTES = 1 << 16
"""Of a signature and of a certificate."""
_BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD = "application/vnd.in-toto+json"
_STATEMENT, _PREDICATE = "https://in-toto.io/Statement/v1", "https://model_signing/signature/v1.0"
_SERIALIZATION = {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": []}
_KIND = "fedmed-model-key"
_HASHED = ec.ECDSA(SHA384())


@dataclass(frozen=True)
class ModelPublic:
    """What models are verified with."""

    der: bytes
    """SubjectPublicKeyInfo."""

    def pem(self) -> bytes:
        """For `model_signing verify key --public_key`."""
        return _key(self.der).public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    def is_signed(self, signature: bytes, message: bytes) -> bool:
        """Whether the key signed the message with ECDSA and SHA-384."""
        try:
            _key(self.der).verify(signature, message, _HASHED)
        except InvalidSignature:
            return False
        return True

    def check(self, bundle: bytes, digests: Mapping[str, str]) -> None:
        """Raises ProtocolRefused where the bundle is not this key's signature over just these files (SHA-256, in hex)."""
        payload, signature, hint = _opened(bundle)
        if hint != hashlib.sha256(self.pem()).hexdigest():
            raise ProtocolRefused("it was made with another key")
        if not self.is_signed(signature, _encoded(payload)):
            raise ProtocolRefused("its signature does not fit what it signs")
        signed = _signed_files(payload)
        if signed != dict(digests):
            wrong = sorted(name for name in {*signed, *digests} if signed.get(name) != digests.get(name))
            raise ProtocolRefused(f"it was made over another {' and another '.join(wrong)}")


@dataclass(frozen=True)
class ModelKey:
    """The secret key."""

    secret: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def generate(cls) -> ModelKey:
        """A new key."""
        return cls(ec.generate_private_key(ec.SECP384R1()))

    @property
    def public(self) -> ModelPublic:
        """The public half."""
        return ModelPublic(public_der(self.secret))

    def save(self, path: Path) -> None:
        """Write it into a new file that only its owner can read. Raises KeyRefused."""
        files.write_new(path, pem(self.secret))

    @classmethod
    def load(cls, path: Path) -> ModelKey:
        """The key in a file. Raises KeyRefused for one that is not there, that others can read, or that holds none."""
        try:
            secret = serialization.load_pem_private_key(files.read(path, MAX_BYTES), None)
        except OSError as error:
            raise KeyRefused(f"{path}: no key for models can be read there ({error.strerror})") from error
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise KeyRefused(f"{path}: holds no secret key in PEM; put a copy of the file back") from error
        if not isinstance(secret, ec.EllipticCurvePrivateKey) or not is_p384(secret):
            raise KeyRefused(f"{path}: holds a key of another kind; models are signed with P-384")
        return cls(secret)

    def sign(self, message: bytes) -> bytes:
        """ECDSA with SHA-384, in DER."""
        return self.secret.sign(message, _HASHED)

    def signature(self, name: str, digests: Mapping[str, str]) -> bytes:
        """The bundle (JSON) over files, each by its name and SHA-256 in hex; `name` is what the model is called."""
        payload = canonical(_statement(name, digests))
        envelope = {
            "payload": _base64(payload),
            "payloadType": _PAYLOAD,
            "signatures": [{"sig": _base64(self.sign(_encoded(payload))), "keyid": ""}],
        }
        material = {"publicKey": {"hint": hashlib.sha256(self.public.pem()).hexdigest()}, "tlogEntries": []}
        return canonical({"mediaType": _BUNDLE, "verificationMaterial": material, "dsseEnvelope": envelope})


def certify(keys: MemberKeys, public: ModelPublic) -> bytes:
    """The center's word that models are signed with this key: who knows the center's signing key needs no other."""
    said = {"kind": _KIND, "version": 1, "center": keys.signing_public.hex(), "key": public.der.hex()}
    return canonical({**said, "signature": keys.sign(_certified(public.der)).hex()}) + b"\n"


def read_certified(content: bytes, signing_public: bytes, what: str) -> ModelPublic:
    """The key that the center with this Ed25519 key certified. Raises ProtocolRefused, naming `what`."""
    try:
        said = json.loads(content[:MAX_BYTES])
        der, signature = bytes.fromhex(said["key"]), bytes.fromhex(said["signature"])
        _key(der)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ProtocolRefused(f"{what} holds no certified key for models; put a copy of the file back") from error
    if not verify(signing_public, signature, _certified(der)):
        raise ProtocolRefused(f"{what}: this center did not certify the key in it; take the file from the center's operator")
    return ModelPublic(der)


def _certified(der: bytes) -> bytes:
    return joined(b"fedmed/model key/1", der)


def _key(der: bytes) -> ec.EllipticCurvePublicKey:
    try:
        found = serialization.load_der_public_key(der)
    except UnsupportedAlgorithm as error:
        raise ValueError("a key of an unknown kind") from error
    if not isinstance(found, ec.EllipticCurvePublicKey) or not is_p384(found):
        raise ValueError("a key of another kind than P-384")
    return found


def _statement(name: str, digests: Mapping[str, str]) -> dict[str, Any]:
    ordered = sorted(digests.items())
    whole = hashlib.sha256(b"".join(bytes.fromhex(digest) for _, digest in ordered)).hexdigest()
    resources = [{"name": file, "algorithm": "sha256", "digest": digest} for file, digest in ordered]
    return {
        "_type": _STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": whole}}],
        "predicateType": _PREDICATE,
        "predicate": {"serialization": _SERIALIZATION, "resources": resources},
    }


def _encoded(payload: bytes) -> bytes:
    """DSSE v1, PAE: what is signed."""
    return b"DSSEv1 %d %s %d %s" % (len(_PAYLOAD), _PAYLOAD.encode(), len(payload), payload)


def _opened(bundle: bytes) -> tuple[bytes, bytes, str]:
    """Payload, signature, and which key it says."""
    try:
        said = json.loads(bundle)
        envelope = said["dsseEnvelope"]
        [one] = envelope["signatures"]
        if said["mediaType"] != _BUNDLE or envelope["payloadType"] != _PAYLOAD:
            raise ValueError("of another kind")
        payload, signature = (base64.b64decode(text, validate=True) for text in (envelope["payload"], one["sig"]))
        return payload, signature, str(said["verificationMaterial"]["publicKey"]["hint"])
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
        raise ProtocolRefused("it is no signature of a model made with a key") from error


def _signed_files(payload: bytes) -> dict[str, str]:
    try:
        said = json.loads(payload)
        predicate, resources = said["predicate"], said["predicate"]["resources"]
        signed = {str(one["name"]): str(one["digest"]) for one in resources if one["algorithm"] == "sha256"}
        if (said["_type"], said["predicateType"]) != (_STATEMENT, _PREDICATE) or len(signed) != len(resources):
            raise ValueError("of another kind")
        if predicate["serialization"]["method"] != "files":
            raise ValueError("not over whole files")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ProtocolRefused("it signs something else than a model's files by SHA-256") from error
    return signed


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
