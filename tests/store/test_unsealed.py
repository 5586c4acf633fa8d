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
    again = UnsealedKeystore(path)
    assert (again.load(), again.sent(1), again.sent(2)) == (b"whole", b"masked", None)
    path.with_name(f"{path.name}.message").write_bytes((2).to_bytes(8, "big") + b"half a mess")
    assert (again.load(), again.sent(1), again.sent(2)) == (b"whole", None, None)
    again.commit(2, b"next", b"a message")
    assert (again.load(), again.sent(1), again.sent(2)) == (b"next", None, b"a message")


def test_only_the_last_message_takes_room(path):
    store = UnsealedKeystore(path)
    for number, message in ((1, b"long message"), (2, b"short"), (3, b"m")):
        store.commit(number, b"s", message)
        assert store.sent(number) == message
    store.erase(b"s", 3)
    assert {each.name: each.stat().st_size for each in path.parent.iterdir() if each != path} == {
        "clinic.state.lock": 0,
        "clinic.state.message": 9,
    }
    assert store.sent(3) is None
