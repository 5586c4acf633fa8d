from __future__ import annotations

import pytest

from fedmed.errors import DataError
from fedmed.wire.samples import refuse_key


@pytest.mark.parametrize("key", ["a", "0", "A-b_9", "x" * 90])
def test_plain_keys_are_taken(key):
    refuse_key(key, "")


@pytest.mark.parametrize("key", ["", ".", "a.b", "..", "a/b", "a\\b", "a b", "ä", "x" * 91, "a\n"])
def test_keys_that_webdataset_or_a_disk_would_misread_are_refused(key):
    with pytest.raises(DataError, match="cannot be used"):
        refuse_key(key, "")


@pytest.mark.parametrize(("key", "before"), [("a", "a"), ("a", "b"), ("10", "9")])
def test_order_keeps_keys_unique_without_remembering_them(key, before):
    with pytest.raises(DataError, match="ascending order"):
        refuse_key(key, before)
