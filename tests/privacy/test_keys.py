from __future__ import annotations

import os

import pytest

from fedmed.privacy import keys
from fedmed.privacy.keys import KeyRefused, SiteKey, create, derived, read


def test_a_key_is_read_back_and_only_its_owner_may(tmp_path):
    path = tmp_path / "deep" / "site.key"
    made = create(path)
    assert read(path) == made
    assert path.stat().st_mode & 0o777 == 0o600
    assert create(tmp_path / "other.key") != made


def test_a_key_is_never_written_over(tmp_path):
    create(tmp_path / "site.key")
    before = (tmp_path / "site.key").read_bytes()
    with pytest.raises(KeyRefused, match="never written over"):
        create(tmp_path / "site.key")
    assert (tmp_path / "site.key").read_bytes() == before


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660, 0o602, 0o644])
def test_a_key_that_others_can_read_or_change_is_refused(tmp_path, mode):
    path = tmp_path / "site.key"
    create(path)
    path.chmod(mode)
    with pytest.raises(KeyRefused, match="chmod 600"):
        read(path)


def test_what_is_no_key_file_is_refused(tmp_path):
    with pytest.raises(KeyRefused, match="fedmed data key"):
        read(tmp_path / "none.key")
    with pytest.raises(KeyRefused, match="no file"):
        read(tmp_path)
    create(tmp_path / "site.key")
    (tmp_path / "link.key").symlink_to(tmp_path / "site.key")
    with pytest.raises(KeyRefused):
        read(tmp_path / "link.key")
    for content in (
        b"",
        b"secret",
        b"fedmed-site-key-1:",
        b"fedmed-site-key-1:AAAA",
        b"fedmed-site-key-1:" + b"!" * 44,
        os.urandom(5000),
    ):
        path = tmp_path / "bad.key"
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(KeyRefused, match="holds no key"):
            read(path)


def test_a_key_is_not_shown():
    assert "65" not in repr(SiteKey(b"A" * 32))
    assert "AAA" not in repr(SiteKey(b"A" * 32))


def test_each_use_has_its_own_key():
    key = SiteKey(bytes(32))
    labels = (keys.ORIGINALS, keys.DEIDENTIFIED, keys.UIDS, keys.IDENTIFIERS, keys.DATES)
    assert len({key.derive(label) for label in labels}) == 5
    assert key.derive(keys.UIDS) != SiteKey(b"\1" + bytes(31)).derive(keys.UIDS)


def test_derivation_is_hkdf_of_rfc_5869():
    import hashlib
    import hmac

    secret, label = bytes(range(32)), "uid pseudonyms"
    for salt, real in ((None, bytes(32)), (b"salt", b"salt")):
        prk = hmac.new(real, secret, hashlib.sha256).digest()
        info = b"fedmed/1/" + label.encode()
        first = hmac.new(prk, info + b"\1", hashlib.sha256).digest()
        second = hmac.new(prk, first + info + b"\2", hashlib.sha256).digest()
        assert derived(secret, label, salt, 39) == (first + second)[:39]
