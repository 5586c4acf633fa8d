from __future__ import annotations

from fedmed.store.spool.ballast import NAME, Ballast


def test_room_is_taken_once_and_given_back_once(tmp_path):
    ballast = Ballast(tmp_path, 100_000)
    assert ballast.take()
    assert (tmp_path / NAME).stat().st_blocks * 512 >= 100_000
    assert ballast.take()
    assert ballast.let_go()
    assert not ballast.let_go()
    assert not (tmp_path / NAME).exists()


def test_one_of_another_size_is_replaced(tmp_path):
    Ballast(tmp_path, 50_000).take()
    assert Ballast(tmp_path, 100_000).take()
    assert (tmp_path / NAME).stat().st_size == 100_000


def test_nothing_is_taken_of_a_disk_that_has_little(small_disk):
    assert not Ballast(small_disk, 900_000).take()
    assert not (small_disk / NAME).exists()
