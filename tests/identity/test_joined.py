from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from fedmed.errors import StoreError
from fedmed.identity.joined import JoinedFolder, put
from tests.identity.parties import Standing, authority

OLD, NEW = authority(1).certificate, authority(2).certificate


@dataclass(frozen=True)
class Guest(JoinedFolder):
    keys_file, certificate_file, authority_file, joined_with = "a.keys", "a.crt", "ca.crt", "a new card"


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    made = Guest(tmp_path, Standing())
    made.keep(OLD)
    return made


def test_the_newest_certificate_is_read_and_only_its_owners(guest):
    assert guest.certificate() == OLD
    guest.keep(NEW)
    assert guest.certificate() == NEW
    (guest.path / "a.crt").chmod(0o666)
    with pytest.raises(StoreError, match="chmod"):
        guest.certificate()


@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN CERTIFICATE-----\n", b"x" * (1 << 20)])
def test_what_is_no_certificate_is_named_with_what_to_join_with(guest, content):
    if content is not None:
        (guest.path / "ca.crt").write_bytes(content)
    with pytest.raises(StoreError, match=r"ca\.crt holds no certificate .* join anew with a new card"):
        guest.authority()


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "in").write_bytes(b"a file")
    with pytest.raises(StoreError, match="cannot be written"):
        put(tmp_path / "in" / "x", b"")
