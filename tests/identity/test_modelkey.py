from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fedmed.errors import ProtocolRefused
from fedmed.identity.files import KeyRefused
from fedmed.identity.member import MemberKeys
from fedmed.identity.modelkey import ModelKey, certify, read_certified

KEY = ModelKey.generate()


@pytest.fixture
def model(tmp_path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "lineage.json").write_bytes(b"{}")
    return folder


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def stock(tmp_path: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The stock program. It imports OpenSSL for certificates, undeclared; signing with keys never calls it."""
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    if importlib.util.find_spec("OpenSSL") is None:
        (tmp_path / "stub" / "OpenSSL").mkdir(parents=True, exist_ok=True)
        (tmp_path / "stub" / "OpenSSL" / "__init__.py").write_text("crypto = None\n")
        environment["PYTHONPATH"] = str(tmp_path / "stub")
    command = [sys.executable, "-m", "model_signing", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, cwd=tmp_path)


def verified(tmp_path: Path, model: Path) -> subprocess.CompletedProcess[str]:
    (tmp_path / "pub.pem").write_bytes(KEY.public.pem())
    return stock(
        tmp_path, "verify", "key", model, "--signature", tmp_path / "model.sig", "--public_key", tmp_path / "pub.pem"
    )


def test_the_stock_program_verifies_what_is_signed_here(tmp_path, model):
    pytest.importorskip("sigstore_models")
    (tmp_path / "model.sig").write_bytes(KEY.signature("study-3", digests(model)))
    done = verified(tmp_path, model)
    assert done.returncode == 0, done.stderr
    (model / "lineage.json").write_bytes(b"[]")
    done = verified(tmp_path, model)
    assert done.returncode != 0
    assert "lineage.json" in done.stdout + done.stderr


def test_what_the_stock_program_signs_is_verified_here(tmp_path, model):
    pytest.importorskip("sigstore_models")
    KEY.save(tmp_path / "models.key")
    done = stock(
        tmp_path, "sign", "key", model, "--private_key", tmp_path / "models.key", "--signature", tmp_path / "model.sig"
    )
    assert done.returncode == 0, done.stderr
    bundle = (tmp_path / "model.sig").read_bytes()
    KEY.public.check(bundle, digests(model))
    (model / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(ProtocolRefused, match=r"over another model\.safetensors"):
        KEY.public.check(bundle, digests(model))


def test_each_alteration_of_a_signature_is_refused():
    told = {"lineage.json": "ab" * 32, "model.safetensors": "cd" * 32}
    bundle = KEY.signature("study-3", told)
    KEY.public.check(bundle, told)
    with pytest.raises(ProtocolRefused, match="another key"):
        ModelKey.generate().public.check(bundle, told)
    with pytest.raises(ProtocolRefused, match="another extra"):
        KEY.public.check(bundle, {**told, "extra": "ef" * 32})
    said = json.loads(bundle)
    other = json.loads(KEY.signature("study-3", {**told, "lineage.json": "00" * 32}))
    said["dsseEnvelope"]["payload"] = other["dsseEnvelope"]["payload"]
    with pytest.raises(ProtocolRefused, match="does not fit"):
        KEY.public.check(json.dumps(said).encode(), told)


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 9000, b"\xff", b'{"dsseEnvelope": 1}', b"null"])
def test_what_is_no_signature(content):
    with pytest.raises(ProtocolRefused, match="no signature"):
        KEY.public.check(content, {})


def test_a_key_in_a_file(tmp_path):
    KEY.save(tmp_path / "models.key")
    assert ModelKey.load(tmp_path / "models.key").public == KEY.public
    with pytest.raises(KeyRefused, match="never written over"):
        KEY.save(tmp_path / "models.key")
    (tmp_path / "models.key").chmod(0o644)
    with pytest.raises(KeyRefused, match="others can read"):
        ModelKey.load(tmp_path / "models.key")
    with pytest.raises(KeyRefused, match="no key for models"):
        ModelKey.load(tmp_path / "none.key")
    MemberKeys.generate().save(tmp_path / "member.keys")
    (tmp_path / "empty").touch(0o600)
    with pytest.raises(KeyRefused, match="in PEM"):
        ModelKey.load(tmp_path / "empty")


def test_a_certified_key_hangs_on_the_centers_signing_key():
    center, other = MemberKeys.generate(), MemberKeys.generate()
    content = certify(center, KEY.public)
    assert read_certified(content, center.signing_public, "models.pub") == KEY.public
    with pytest.raises(ProtocolRefused, match="did not certify"):
        read_certified(content, other.signing_public, "models.pub")
    altered = content.replace(KEY.public.der.hex().encode(), ModelKey.generate().public.der.hex().encode())
    with pytest.raises(ProtocolRefused, match="did not certify"):
        read_certified(altered, center.signing_public, "models.pub")
    for damaged in (b"", b"{}", content.replace(b'"key":"30', b'"key":"31')):
        with pytest.raises(ProtocolRefused, match=r"models\.pub holds no"):
            read_certified(damaged, center.signing_public, "models.pub")
