from __future__ import annotations

import pytest

from fedmed.errors import DataError
from fedmed.store.spool import entry
from fedmed.store.spool.entry import KINDS, New
from tests.store.spool.spools import new


class Long(bytes):
    def __len__(self) -> int:
        return entry.MOST_CONTENT + 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (New("image", "g", 1, {}, b""), "of kind 'image'; a spool holds instance, series, result, study, update"),
        (New("study", "", 1, {}, b""), "a group of 0 letters; name one with 1 to 256"),
        (New("study", "g" * 257, 1, {}, b""), "a group of 257 letters"),
        (New("study", "g", 1001, {}, b""), "a priority of 1001; allowed is -1000 to 1000"),
        (New("study", "g", 1, {}, Long()), "split it"),
        (New("study", "g", 1, {"a": b"bytes"}, b""), "are no JSON"),
        (New("study", "g", 1, {"a": float("nan")}, b""), "are no JSON"),
        (New("study", "g", 1, {"a": "x" * 70_000}, b""), "put what is long into the content"),
    ],
)
def test_what_a_spool_does_not_hold_is_refused_by_name(wrong, said):
    with pytest.raises(DataError) as refused:
        wrong.checked()
    assert said in str(refused.value)


def test_a_content_is_known_by_its_sha256():
    assert new("abc").digest == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert all(New(kind, "g", 1, {}, b"").checked() == b"{}" for kind in KINDS)
