from __future__ import annotations

import base64

import pytest

from fedmed.errors import ConfigError, StoreError
from fedmed.privacy import wrapping
from fedmed.privacy.keys import SiteKey
from fedmed.privacy.wrapping import WrongKey, for_passphrase, for_recipient, opened, recipient

SECRET, KEY, OTHER = b"s" * 32, SiteKey(b"k" * 32), SiteKey(b"o" * 32)


def test_a_passphrase():
    header = for_passphrase(SECRET, "correct horse battery")
    assert opened(header, "correct horse battery", None) == SECRET
    assert for_passphrase(SECRET, "correct horse battery") != header
    with pytest.raises(WrongKey, match="passphrase does not open"):
        opened(header, "incorrect horse battery", None)
    with pytest.raises(ConfigError, match="opens with a passphrase"):
        opened(header, None, KEY)
    with pytest.raises(ConfigError, match="12 or more"):
        for_passphrase(SECRET, "short")


def test_a_recipient():
    to = recipient(KEY)
    header = for_recipient(SECRET, to)
    assert opened(header, None, KEY) == SECRET
    assert KEY.secret not in base64.b64decode(to.removeprefix("fedmed-backup-1:"))
    with pytest.raises(WrongKey, match="key does not open"):
        opened(header, None, OTHER)
    with pytest.raises(ConfigError, match=to[20:40].replace("+", r"\+")):
        opened(header, "correct horse battery", None)
    for wrong in ("", "fedmed-backup-1:AAAA", "fedmed-backup-1:!", "someone@example.org"):
        with pytest.raises(ConfigError, match="no recipient"):
            for_recipient(SECRET, wrong)


@pytest.mark.parametrize("field", ["salt", "wrapped", "fresh", "by"])
def test_a_header_that_was_altered(field):
    for header in (for_passphrase(SECRET, "correct horse battery"), for_recipient(SECRET, recipient(KEY))):
        if field in header:
            for value in ("", "AAAA", None, 7, header[field][::-1]):
                with pytest.raises(StoreError):
                    opened({**header, field: value}, "correct horse battery", KEY)
    with pytest.raises(StoreError, match="damaged"):
        opened({}, None, None)


def test_the_low_order_point_is_no_recipient():
    zero = "fedmed-backup-1:" + base64.b64encode(bytes(32)).decode()
    with pytest.raises(ConfigError, match="no recipient"):
        wrapping.for_recipient(SECRET, zero)
