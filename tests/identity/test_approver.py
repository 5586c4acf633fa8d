from __future__ import annotations

from pathlib import Path

import pytest

from fedmed.errors import ConfigError
from fedmed.identity import files
from fedmed.identity.approver import FILE, MOST_APPROVERS, ApproverKey, Approvers
from fedmed.identity.files import KeyRefused
from fedmed.identity.member import MemberKeys, verify
from tests.clinic.staff import key

PASSPHRASE = "correct horse battery staple"


def test_a_key_signs_what_its_public_half_verifies(tmp_path: Path):
    made = ApproverKey.generate()
    made.save(tmp_path / "a.key", PASSPHRASE)
    again = ApproverKey.load(tmp_path / "a.key", PASSPHRASE)
    assert verify(made.public, again.sign(b"x"), b"x")
    assert repr(made.key) not in repr(made)
    with pytest.raises(KeyRefused, match="never written over"):
        made.save(tmp_path / "a.key", PASSPHRASE)
    with pytest.raises(KeyRefused, match="no approver's key can be read"):
        ApproverKey.load(tmp_path / "none.key", PASSPHRASE)


def test_other_files_than_an_approvers(tmp_path: Path):
    files.write_new(tmp_path / "p384.pem", MemberKeys.generate().transport_pem())
    files.write_new(tmp_path / "noise", b"noise")
    for name in ("p384.pem", "noise"):
        with pytest.raises(KeyRefused):
            ApproverKey.load(tmp_path / name, PASSPHRASE)


def test_a_chain_of_vouchers_comes_back(tmp_path: Path):
    keys = {name: key() for name in ("a", "b", "c")}
    list_ = Approvers(tmp_path / FILE)
    assert len(list_) == 0
    list_.add("a", keys["a"].public)
    list_.add("b", keys["b"].public, "a", keys["a"])
    list_.add("c", keys["c"].public, "b", keys["b"])
    assert dict(Approvers(tmp_path / FILE)) == {name: each.public for name, each in keys.items()} == dict(list_)
    for name, public in (("a", key().public), ("d", keys["b"].public)):
        with pytest.raises(ConfigError, match="already"):
            list_.add(name, public, "a", keys["a"])
    with pytest.raises(ConfigError, match="an approver cannot be called"):
        list_.add("Dr. A", key().public, "a", keys["a"])


@pytest.mark.parametrize("place", range(0, 700, 23))
def test_no_byte_of_the_list_can_change(tmp_path: Path, place):
    first, path = key(), tmp_path / FILE
    Approvers(path).add("a", first.public)
    Approvers(path).add("b", key().public, "a", first)
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(KeyRefused):
        Approvers(path)


def test_a_full_list(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("fedmed.identity.approver.MOST_APPROVERS", 1)
    assert MOST_APPROVERS == 64
    first, path = key(), tmp_path / FILE
    Approvers(path).add("a", first.public)
    with pytest.raises(ConfigError, match="all that there may be"):
        Approvers(path).add("b", key().public, "a", first)
