from __future__ import annotations

import os
from pathlib import Path

import pytest

from fedmed.errors import ConfigError, MissingPart, StoreError
from fedmed.privacy import keys
from fedmed.privacy.keys import KeyRefused
from fedmed.store import keysource
from fedmed.store.keysource import counter_from, key_from, keystore_at, same_mount, weaknesses
from fedmed.store.keystore import RolledBack
from tests.identity.parties import Standing

RAW = bytes(range(32))


def other_mount(tmp_path: Path) -> Path:
    """A folder on another file system than `tmp_path`."""
    for place in (Path("/dev/shm"), Path.home(), Path("/var/tmp")):
        if place.is_dir() and os.access(place, os.W_OK) and not same_mount(place, tmp_path):
            return place
    pytest.skip("no second mounted file system that this user can write to")


@pytest.fixture
def medium(tmp_path):
    folder = other_mount(tmp_path) / f"fedmed-test-{os.getpid()}"
    folder.mkdir()
    yield folder
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def test_a_file_on_another_mount(medium, tmp_path):
    key = keys.create(medium / "key")
    source = f"file:{medium / 'key'}"
    assert key_from(source) == key_from(source, tmp_path / "keystore") == key.secret
    assert weaknesses(source, tmp_path / "keystore") == []


def test_a_keystore_with_its_key_and_counter_on_another_mount(medium, tmp_path):
    keys.create(medium / "key")
    source, folder = f"file:{medium / 'key'}", tmp_path / "keystore"
    with keystore_at(folder, source, Standing()) as store:
        store.save(b"one")
        copy = {path: path.read_bytes() for path in folder.iterdir()}
        store.save(b"two")
    assert {path.name for path in medium.iterdir()} == {"key", "key.counter"}
    for path, content in copy.items():
        path.write_bytes(content)
    with keystore_at(folder, source, Standing()) as store, pytest.raises(RolledBack):
        store.load()


def test_a_file_on_the_same_mount_is_refused_unless_it_is_asked_for(tmp_path):
    key = keys.create(tmp_path / "key")
    source, folder = f"file:{tmp_path / 'key'}", tmp_path / "not" / "yet" / "there"
    with pytest.raises(StoreError, match=r"same mount.*Put the key on another medium"):
        key_from(source, folder)
    with pytest.raises(StoreError, match="same mount"):
        keystore_at(folder, source, Standing())
    assert key_from(source, folder, allow_same_mount=True) == key.secret
    with keystore_at(folder, source, Standing(), allow_same_mount=True) as store:
        store.save(b"s")
    [said] = weaknesses(source, folder)
    assert "own disk" in said


def test_a_key_file_that_others_can_read(tmp_path):
    keys.create(tmp_path / "key")
    (tmp_path / "key").chmod(0o644)
    with pytest.raises(KeyRefused, match="chmod 600"):
        key_from(f"file:{tmp_path / 'key'}")
    with pytest.raises(KeyRefused, match=r"no key can be read there .*; put it back, or, where there never was one"):
        key_from(f"file:{tmp_path / 'none'}")


def test_a_systemd_credential(tmp_path, monkeypatch):
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "fedmed.key").write_bytes(RAW)
    (tmp_path / "fedmed.key").chmod(0o440)
    assert key_from("credential:fedmed.key", tmp_path / "keystore") == RAW
    made = keys.create(tmp_path / "line")
    assert key_from("credential:line") == made.secret
    assert counter_from("credential:line", RAW) is None
    assert "nothing counts" in weaknesses("credential:line", tmp_path)[0]
    with pytest.raises(StoreError, match="LoadCredentialEncrypted=none"):
        key_from("credential:none")
    for content in (b"", RAW[:31], RAW + b"\n", b"x" * 10_000):
        (tmp_path / "bad").write_bytes(content)
        (tmp_path / "bad").chmod(0o600)
        with pytest.raises(KeyRefused, match="holds no key"):
            key_from("credential:bad")


def test_without_systemd_there_is_no_credential(monkeypatch):
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(StoreError, match="start it as a service"):
        key_from("credential:fedmed")


@pytest.fixture
def tpm(tmp_path, monkeypatch):
    """A program in the place of `tpm2_unseal`: there is no TPM to test with. It shows how ours calls it and reads it."""

    def put(script: str) -> None:
        program = tmp_path / keysource.UNSEAL
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    return put


def test_a_tpm_that_gives_the_key(tpm):
    tpm('test "$#" = 2 && test "$1" = -c && test "$2" = 0x81000001 && printf %032d 7')
    assert key_from("tpm:0x81000001") == b"0" * 31 + b"7"
    assert counter_from("tpm:0x81000001", RAW) is None


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'ERROR: Esys_Unseal(0x99D)' >&2; exit 1", r"ended with 1: ERROR: Esys_Unseal\(0x99D\)"),
        ("exit 3", "ended with 3"),
        ("printf short", "gave: holds no key"),
        ("sleep 5", "TimeoutExpired"),
    ],
)
def test_a_tpm_that_does_not(tpm, monkeypatch, script, said):
    monkeypatch.setattr(keysource, "_TPM_SECONDS", 0.2 if "sleep" in script else 30)
    tpm(script)
    with pytest.raises(StoreError, match=said):
        key_from("tpm:/etc/fedmed/key.ctx")


def test_a_tpm_without_its_program(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingPart, match="install tpm2-tools"):
        key_from("tpm:0x81000001")


@pytest.mark.parametrize(
    "source",
    [
        "",
        "file:",
        "file:relative",
        "key",
        "/path",
        "credential:",
        "credential:../x",
        "credential:a/b",
        "tpm:",
        "tpm:--help",
        "tpm:0x8100",
        "env:KEY",
    ],
)
def test_sources_written_otherwise(source):
    with pytest.raises(ConfigError, match="allowed are credential:NAME"):
        key_from(source)


def test_the_nearest_parent_tells_the_mount(tmp_path):
    assert same_mount(tmp_path / "a" / "b" / "c", tmp_path)
    assert not same_mount(Path("/proc/self"), tmp_path)
