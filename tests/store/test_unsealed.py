from __future__ import annotations

import pytest

from fedmed.errors import StoreError
from fedmed.store.unsealed import UnsealedKeystore


@pytest.fixture
def path(tmp_path):
    return tmp_path / "clinic.state"


def test_another_process_finds_state_and_message(path):
    one, other = UnsealedKeystore(path), UnsealedKeystore(path)
    one.save(b"joining")
    assert other.load() == b"joining"
    other.commit(1, b"sent", b"masked")
    assert one.load() == b"sent"
    assert one.sent(1) == b"masked"
    one.erase(b"over", 1)
    assert (other.load(), other.sent(1)) == (b"over", None)
    with pytest.raises(StoreError, match="committed or erased already"):
        other.commit(1, b"sent", b"another")


def test_whoever_looked_before_another_wrote_changes_nothing(path):
    one, other = UnsealedKeystore(path), UnsealedKeystore(path)
    one.save(b"confirmed without it")
    for change in (
        lambda: other.save(b"late"),
        lambda: other.commit(1, b"late", b"masked"),
        lambda: other.erase(b"late", 1),
    ):
        with pytest.raises(StoreError, match="another process has answered"):
            change()
    assert (one.load(), one.sent(1)) == (b"confirmed without it", None)
    assert other.load() == b"confirmed without it"
    other.save(b"it looked")


def test_a_state_that_is_half_written_is_none(path):
    store = UnsealedKeystore(path)
    store.commit(1, b"whole", b"masked")
    path.with_name(f"{path.name}.new").write_bytes(b"half")
    path.with_name(f"{path.name}.2").write_bytes(b"half a message")
    again = UnsealedKeystore(path)
    assert (again.load(), again.sent(1), again.sent(2)) == (b"whole", b"masked", None)
    again.commit(2, b"next", b"a message")
    assert (again.load(), again.sent(1), again.sent(2)) == (b"next", None, b"a message")


def test_only_the_last_message_takes_room(path):
    store = UnsealedKeystore(path)
    for number in (1, 2, 3):
        store.commit(number, b"s", b"m")
    store.erase(b"s", 3)
    assert sorted(each.name for each in path.parent.iterdir()) == ["clinic.state", "clinic.state.lock"]
