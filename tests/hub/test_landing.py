from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedmed.errors import ProtocolRefused, QuotaRefused, StoreError
from fedmed.hub.landing import ARRIVING, KNOWN_S, STALE_S, Arrived, Landing
from fedmed.hub.messages import HELD, MOST_PARTS
from fedmed.hub.serving import folder_keeper, study_keeper
from fedmed.store.studies import Studies
from tests.hub.clinic import Skewed, piece_of


def landing(path, kept: list[Arrived], open_bytes: int = 10**9, clock=None) -> Landing:
    return Landing(path, {"study": kept.extend}, open_bytes, clock or Skewed())


def test_parts_in_order_make_a_whole_also_after_a_restart(tmp_path):
    kept: list[Arrived] = []
    content = b"abcdefgh" * 10
    piece = piece_of(content)
    first = landing(tmp_path, kept)
    assert first.take("echo", [(piece, 0, content[:30])]) == [30]
    assert first.take("echo", [(piece, 50, content[50:])]) == [30]  # the right one is told
    second = landing(tmp_path, kept)
    assert second.offset("echo", piece) == 30
    assert second.offset("mri", piece) == 0
    assert second.take("echo", [(piece, 30, content[30:])]) == [HELD]
    assert [each.content for each in kept] == [content]
    assert second.take("echo", [(piece, 0, content)]) == [HELD]
    assert len(kept) == 1


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 25)), max_size=20))
def test_whatever_comes_in_whatever_order_is_whole_and_right(tmp_path_factory, sent):
    kept: list[Arrived] = []
    here, content = landing(tmp_path_factory.mktemp("l"), kept), bytes(range(60))
    piece, at = piece_of(content), 0
    for offset, length in sent:
        [answer] = here.take("echo", [(piece, offset, content[offset : offset + length])])
        assert isinstance(answer, int)
        at = answer
    while at != HELD:
        [at] = here.take("echo", [(piece, at, content[at : at + 7])])
    assert [each.content for each in kept] == [content]
    here.receipts.close()


def test_a_wrong_whole_begins_anew(tmp_path):
    kept: list[Arrived] = []
    here, piece = landing(tmp_path, kept), piece_of(b"right-" * 4)
    here.take("echo", [(piece, 0, b"wrong-")])
    [refused] = here.take("echo", [(piece, 6, b"wrong-" * 3)])
    assert isinstance(refused, ProtocolRefused)
    assert here.offset("echo", piece) == 0
    assert here.take("echo", [(piece, 0, b"right-" * 4)]) == [HELD]
    [refused] = here.take("echo", [(piece_of(b"ab"), 1, b"bc")])
    assert "2 bytes at 1 of an object of 2" in str(refused)


def test_a_keeper_that_fails_leaves_nothing_acknowledged(tmp_path):
    def full(_):
        raise StoreError("no room")

    here = Landing(tmp_path, {"study": full, "update": lambda _: None}, 10**9, Skewed())
    one, two = piece_of(b"one"), piece_of(b"two", "update")
    answers = here.take("echo", [(one, 0, b"one"), (two, 0, b"two")])
    assert isinstance(answers[0], StoreError)
    assert answers[1] == HELD
    assert here.offset("echo", one) == 0
    assert here.receipts.count() == 1


def test_what_is_begun_has_limits(tmp_path):
    here = landing(tmp_path, [], open_bytes=100)
    pieces = [piece_of(bytes([number]) * 60) for number in range(2)]
    assert here.take("echo", [(pieces[0], 0, b"\0")]) == [1]
    [refused] = here.take("echo", [(pieces[1], 0, b"\1" * 50)])
    assert refused == 50  # 1 + 60 bytes of 100
    assert isinstance(here.take("echo", [(piece_of(b"\2" * 60), 0, b"\2")])[0], QuotaRefused)
    assert here.take("mri", [(piece_of(b"\2" * 60), 0, b"\2")]) == [1]
    many = landing(tmp_path / "many", [])
    for number in range(MOST_PARTS):
        content = number.to_bytes(4, "big")
        assert many.take("echo", [(piece_of(content), 0, content[:1])]) == [1]
    assert isinstance(many.take("echo", [(piece_of(b"more"), 0, b"m")])[0], QuotaRefused)


def test_what_is_stale_or_of_a_device_that_is_gone_is_removed(tmp_path):
    here, content = landing(tmp_path, []), b"abcd"
    here.take("echo", [(piece_of(content), 0, b"a")])
    here.sweep()
    [begun] = (tmp_path / ARRIVING / "echo").iterdir()
    os.utime(begun, (0, 0))
    assert Skewed().unix() > STALE_S
    here.sweep()
    assert not begun.exists()
    whole = piece_of(b"whole")
    here.take("echo", [(piece_of(content), 0, b"a"), (whole, 0, b"whole")])
    landing(tmp_path, [], clock=Skewed(KNOWN_S - 60)).sweep()
    assert here.receipts.count() == 1
    landing(tmp_path, [], clock=Skewed(KNOWN_S + 60)).sweep()
    assert here.receipts.count() == 0
    here.take("echo", [(piece_of(content), 0, b"a")])
    here.forget("echo")
    here.forget("nobody")
    assert not begun.exists()


def test_a_receipt_book_that_is_damaged_says_so(tmp_path):
    (tmp_path / "held.sqlite").write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreError, match="put a copy of it back"):
        landing(tmp_path, [])


def test_keepers_have_it_on_the_disk_once(tmp_path):
    arrived = [Arrived("echo", piece_of(content, series="a"), content) for content in (b"one", b"two")]
    for _ in range(2):
        folder_keeper(tmp_path / "files")(arrived)
    assert sorted(path.name for path in (tmp_path / "files" / "echo").iterdir()) == sorted(
        name for each in arrived for name in (each.piece.digest, f"{each.piece.digest}.json")
    )
    studies = Studies(tmp_path / "store", bytes(32))
    for _ in range(2):
        study_keeper(studies)(arrived)
    found = {studies.get(address): studies.facts(address) for address in studies.addresses()}
    assert found == {each: {"series": "a", "device": "echo"} for each in (b"one", b"two")}
